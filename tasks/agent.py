"""An agent that works on a prompt with tools."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from common.tasks import Context, task
from tasks.kit.library import Library
from tasks.kit.running import run_agent
from tasks.kit.tools import NAMES, ToolName, tools
from tasks.models import chosen, open_model

#: Longest prompt, in characters; more belongs into a document.
MAX_PROMPT = 200_000

ALONE = "You work on the task by yourself and finish it: nobody can answer questions meanwhile."


class Prompt(BaseModel):
    """What the agent is to do. `tools` names those that it may use; by default it may use all."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT)
    instructions: str | None = Field(default=None, max_length=MAX_PROMPT, description="How it is to go about it.")
    tools: list[ToolName] = Field(default=list(NAMES), max_length=len(NAMES))


@task(timeout_seconds=2 * 3_600)
async def agent(ctx: Context, input: Prompt) -> dict[str, Any]:
    """Works on a prompt with tools: reads and searches the stored documents, fetches web pages, calculates.

    Everything it thinks, calls and finds is in the job's events; its answer is streamed there as it comes. Each request to the
    model and each call of a tool is a step: it may take longer than an invocation, and none is made twice.
    """
    choice = chosen()
    async with open_model(choice, ctx) as model:
        ran = await run_agent(
            ctx,
            model,
            input.prompt,
            tools=tools(input.tools, Library(ctx)),
            instructions=[ALONE, *([input.instructions] if input.instructions else [])],
        )
    return {
        "answer": ran.answer,
        "model": choice.described(),
        "tool_calls": ran.tool_calls,
        "requests": ran.requests,
    }
