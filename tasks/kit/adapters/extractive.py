"""The model that is there where no language model is configured. It selects; see tasks/kit/extractive.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponsePart,
    ModelResponseStreamEvent,
    TextPart,
    ToolCallPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from tasks.kit.adapters.choosing import calculated, next_calls
from tasks.kit.adapters.conversation import read_conversation
from tasks.kit.adapters.forms import Form, as_json
from tasks.kit.extractive import answer
from tasks.kit.words import count_words
from tasks.models import Choice

NAME = "extractive"


@asynccontextmanager
async def connect(choice: Choice, environ: Mapping[str, str]) -> AsyncIterator[Model]:  # noqa: ARG001  # as the others
    yield ExtractiveModel()


@dataclass(frozen=True)
class Reply:
    """Calls of tools, or else a text in pieces."""

    calls: tuple[ToolCallPart, ...] = ()
    pieces: tuple[str, ...] = ()

    @property
    def parts(self) -> list[ModelResponsePart]:
        return [*self.calls] or [TextPart("".join(self.pieces))]


class ExtractiveModel(Model[None]):
    """Needs no account and no download. The same conversation gives the same reply, always."""

    def __init__(self) -> None:
        super().__init__(profile=ModelProfile(supports_json_schema_output=True))

    @property
    def model_name(self) -> str:
        return NAME

    @property
    def system(self) -> str:
        return NAME

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        reply = reply_to(messages, parameters)
        return ModelResponse(parts=reply.parts, usage=used(messages, reply), model_name=NAME, provider_name=NAME)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,  # noqa: ARG002
    ) -> AsyncGenerator[StreamedResponse]:
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        reply = reply_to(messages, parameters)
        yield ReplyStream(parameters, reply=reply, cost=used(messages, reply))


@dataclass
class ReplyStream(StreamedResponse):
    """A reply, sentence by sentence."""

    reply: Reply = field(default_factory=Reply)
    cost: RequestUsage = field(default_factory=RequestUsage)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        self._usage = self.cost
        for call in self.reply.calls:
            yield self._parts_manager.handle_tool_call_part(
                vendor_part_id=call.tool_call_id,
                tool_name=call.tool_name,
                args=call.args,
                tool_call_id=call.tool_call_id,
            )
        for piece in self.reply.pieces:
            for event in self._parts_manager.handle_text_delta(vendor_part_id="text", content=piece):
                yield event
            await asyncio.sleep(0)  # a job that is to stop is stopped between two sentences

    async def close_stream(self) -> None:
        """There is no connection."""

    @property
    def model_name(self) -> str:
        return NAME

    @property
    def provider_name(self) -> str:
        return NAME

    @property
    def provider_url(self) -> None:
        return None

    @property
    def timestamp(self) -> datetime:
        return self.started


def reply_to(messages: Sequence[ModelMessage], parameters: ModelRequestParameters) -> Reply:
    """The next step of the conversation: tools first, then the answer in the form that is asked for."""
    talk = read_conversation(messages)
    made = len(talk.calls)
    calls = [
        ToolCallPart(call.tool, call.arguments, tool_call_id=f"call-{len(messages)}-{made + number}")
        for number, call in enumerate(next_calls(talk, parameters.function_tools))
    ]
    if calls:
        return Reply(calls=tuple(calls))
    if parameters.output_tools and not parameters.allow_text_output:
        tool = parameters.output_tools[0]
        filled = Form(talk.question, talk.sources, tool.parameters_json_schema).filled()
        return Reply(calls=(ToolCallPart(tool.name, filled, tool_call_id=f"call-{len(messages)}-output"),))
    if parameters.output_object is not None:
        filled = Form(talk.question, talk.sources, parameters.output_object.json_schema).filled()
        return Reply(pieces=(as_json(filled),))
    if result := calculated(talk, parameters.function_tools):
        return Reply(pieces=(result,))
    return Reply(pieces=tuple(answer(talk.question, talk.sources)))


def used(messages: Sequence[ModelMessage], reply: Reply) -> RequestUsage:
    """Tokens by the rule of thumb of four for three words: what was read costs nothing, but budgets in tokens hold here too."""
    read = [str(getattr(part, "content", "")) for message in messages for part in message.parts]
    said = [*reply.pieces, *(call.args_as_json_str() for call in reply.calls)]
    return RequestUsage(input_tokens=_tokens(read), output_tokens=_tokens(said))


def _tokens(texts: Sequence[str]) -> int:
    return -(-4 * sum(map(count_words, texts)) // 3)
