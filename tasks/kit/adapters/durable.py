"""An agent whose requests and tool calls are steps of its job: what was answered is not asked, paid and told again.

The rule is kept in one place: whatever an agent tells the job, it tells inside the step in which it happens, and what it uses
is counted there (`Metered` is wrapped). A step that is passed over, because it was finished in another invocation or before a
crash, says nothing and counts nothing, and the run goes on with what was recorded of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from pydantic_ai import ModelRetry, RunContext, ToolFailed
from pydantic_ai import messages as m
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset

from common.tasks import Context


@dataclass
class Run:
    """One run of an agent, from the prompt to its answer. `name` tells the runs of one job apart."""

    ctx: Context
    name: str = ""
    #: How many requests were made so far, by this run or in its place by one before it.
    requests: int = 0
    #: Where the calls of the latest answer stand, by their ids: a provider may use an id again in a later answer.
    _places: dict[str, str] = field(default_factory=dict)
    #: Calls that were told in this run, and whose results were not.
    _open: set[str] = field(default_factory=set)
    _shown: str = ""

    async def ask(
        self, messages: Sequence[m.ModelMessage], ask: Callable[[], Awaitable[m.ModelResponse]]
    ) -> m.ModelResponse:
        """The answer to the next request: made, told and counted once in the life of the job."""

        async def asking(_: Any) -> Any:
            self.show("thinking", self.requests - 1)
            response = told_apart(await ask())
            for call in response.tool_calls:
                self.ctx.tool_call(call.tool_name, call.args_as_dict(), call.tool_call_id)
                self._open.add(call.tool_call_id)
            return m.ModelMessagesTypeAdapter.dump_python([response], mode="json")

        self._tell_refused(messages[-1])
        self.requests += 1
        recorded = await self.ctx.step("model", asking, conversation(messages), key=self._key(self.requests))
        (response,) = m.ModelMessagesTypeAdapter.validate_python(recorded)
        assert isinstance(response, m.ModelResponse), response.kind
        self._places = {call.tool_call_id: self._place(number) for number, call in enumerate(response.tool_calls, 1)}
        return response

    async def call(self, name: str, arguments: dict[str, Any], call_id: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The tool's result, or what it tells the model instead: called and told once in the life of the job.

        Raises ModelRetry and ToolFailed, the first time and any other time; other errors are the job's, and not recorded.
        """

        async def calling(_: Any) -> dict[str, Any]:
            self.show(f"calling {name}", self.requests)
            outcome = await _outcome(call)
            self._open.discard(call_id)
            told = outcome["result"] if "result" in outcome else {"error": outcome["message"]}
            self.ctx.tool_result(name, told, call_id)
            self.show("thinking", self.requests)
            return outcome

        outcome = await self.ctx.step(f"tool:{name}", calling, arguments, key=self._places[call_id])
        if "result" in outcome:
            return outcome["result"]
        raise (ModelRetry if outcome["retry"] else ToolFailed)(outcome["message"])

    def tell(self, event: m.ModelResponseStreamEvent) -> None:
        """A piece of an answer, as it comes."""
        match event:
            case (
                m.PartStartEvent(part=m.TextPart(content=text))
                | m.PartDeltaEvent(delta=m.TextPartDelta(content_delta=text))
            ) if text:
                self.ctx.output(text)
                self.show("answering", self.requests)
            case m.PartStartEvent(part=m.ThinkingPart()):
                self.show("thinking", self.requests)
            case m.PartEndEvent(part=m.ThinkingPart(content=text)) if text:
                self.ctx.thought(text)

    def show(self, doing: str, requests: int) -> None:
        """Nobody knows how many requests an agent will need: each one counts for less than the one before."""
        if doing != self._shown:
            self._shown = doing
            self.ctx.progress(100 * requests / (requests + 3), message=doing)

    def _tell_refused(self, message: m.ModelMessage) -> None:
        """What became of calls that reached no tool: there is none of that name, or the arguments do not fit."""
        for part in message.parts:
            if isinstance(part, m.ToolReturnPart | m.RetryPromptPart) and part.tool_call_id in self._open:
                self._open.discard(part.tool_call_id)
                self.ctx.tool_result(part.tool_name or "", {"error": part.content}, part.tool_call_id)

    def _key(self, place: int | str) -> str:
        return f"{self.name}.{place}" if self.name else str(place)

    def _place(self, number: int) -> str:
        return self._key(f"{self.requests}.{number}")


def told_apart(response: m.ModelResponse) -> m.ModelResponse:
    """With an id for each call. Some models give two calls of one answer the same, and then one result would be both's."""
    taken: set[str] = set()

    def own(part: m.ModelResponsePart) -> m.ModelResponsePart:
        if not isinstance(part, m.ToolCallPart):
            return part
        ids = (part.tool_call_id if n == 1 else f"{part.tool_call_id}-{n}" for n in count(1))
        chosen = next(one for one in ids if one not in taken)
        taken.add(chosen)
        return replace(part, tool_call_id=chosen)

    return replace(response, parts=[own(part) for part in response.parts])


class DurableModel(WrapperModel):
    """Each request is a step of the run. Answers are streamed, into the job's log; the agent gets them whole."""

    def __init__(self, wrapped: Model, run: Run) -> None:
        super().__init__(wrapped)
        self._run = run

    async def request(
        self,
        messages: list[m.ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> m.ModelResponse:
        async def ask() -> m.ModelResponse:
            opened = self.wrapped.request_stream(messages, model_settings, model_request_parameters)
            async with opened as stream:
                async for event in stream:
                    self._run.tell(event)
            return stream.get()

        return await self._run.ask(messages, ask)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[m.ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,  # noqa: ARG002
    ) -> AsyncGenerator[StreamedResponse]:
        response = await self.request(messages, model_settings, model_request_parameters)
        yield CompletedStreamedResponse(response, model_request_parameters=model_request_parameters)


@dataclass
class DurableTools(WrapperToolset[Any]):
    """Each call is a step of the run."""

    run: Run

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        call_id = ctx.tool_call_id or ""
        return await self.run.call(name, tool_args, call_id, lambda: self.wrapped.call_tool(name, tool_args, ctx, tool))


def durable(run: Run, model: Model, tools: AbstractToolset[Any]) -> tuple[DurableModel, DurableTools]:
    """The model and the tools for one agent's run."""
    return DurableModel(model, run), DurableTools(tools, run)


def conversation(messages: Sequence[m.ModelMessage]) -> list[Any]:
    """What makes two requests the same: who said what, which tools were called with what, and what they gave.

    Not what differs whenever a run is gone through again (times, ids of runs), nor which model is asked, and how: the operator
    may change that while jobs are under way.
    """
    return [[message.kind, getattr(message, "instructions", None), *map(_said, message.parts)] for message in messages]


def _said(part: m.ModelRequestPart | m.ModelResponsePart) -> list[Any]:
    return [part.part_kind, *(getattr(part, name, None) for name in ("tool_name", "content", "args"))]


async def _outcome(call: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    try:
        return {"result": await call()}
    except ModelRetry as error:
        return {"retry": True, "message": error.message}
    except ToolFailed as error:
        return {"retry": False, "message": error.message}
