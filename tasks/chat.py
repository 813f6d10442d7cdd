"""Chats: the agent, with what was said before."""

# ruff: noqa: PLC0415  # libraries are imported where they are needed: the API imports all tasks

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from common.chats import SESSION
from common.tasks import Context, task
from tasks.kit.library import Library
from tasks.kit.running import run_agent
from tasks.kit.tools import NAMES, tools
from tasks.models import chosen, open_model

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

#: Most messages of one chat that are sent along, and the longest of them, in characters.
MAX_MESSAGES = 500
MAX_MESSAGE = 100_000

SESSION_PATTERN = f"^{SESSION.pattern}$"


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant", "system"]
    content: str = Field(min_length=1, max_length=MAX_MESSAGE)


class Chat(BaseModel):
    """A session and what was said in it so far. The last message is the user's."""

    model_config = ConfigDict(extra="forbid")

    session_id: str = Field(pattern=SESSION_PATTERN)
    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)

    @field_validator("messages")
    @classmethod
    def _ends_with_the_user(cls, messages: list[Message]) -> list[Message]:
        if messages[-1].role != "user":
            raise ValueError("the last message must be the user's")
        return messages


@task(timeout_seconds=300)
async def chat(ctx: Context, input: Chat) -> dict[str, Any]:
    """Answers the last message of a chat, and logs the interaction: a job that ends well has done both."""
    started = time.monotonic()
    choice, last = chosen(), input.messages[-1].content
    async with open_model(choice, ctx) as model:
        ran = await run_agent(
            ctx,
            model,
            last,
            tools=tools(NAMES, Library(ctx)),
            instructions=[message.content for message in input.messages if message.role == "system"],
            history=list(_history(input.messages[:-1])),
        )
    latency = round(1000 * (time.monotonic() - started))
    interaction = {"message": last, "response": ran.answer, "latency_ms": latency, "job_id": ctx.job_id}
    await asyncio.to_thread(ctx.remember, input.session_id, interaction)
    return {"response": ran.answer, "model": choice.described()}


def _history(messages: Sequence[Message]) -> Iterator[ModelMessage]:
    from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

    said = [message for message in messages if message.role != "system"]
    if said and said[0].role == "assistant":  # a greeting; some providers want the user to begin
        yield ModelRequest(parts=[UserPromptPart("Hello.")])
    for message in said:
        if message.role == "user":
            yield ModelRequest(parts=[UserPromptPart(message.content)])
        else:
            yield ModelResponse(parts=[TextPart(message.content)])
