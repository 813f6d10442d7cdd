"""What a tool did before its agent died is told the model again, and not done again."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import BaseModel

from common.documents import Documents
from common.jobs import Job, Status
from common.tasks import Context
from common.wiring import Services
from tasks.agent import agent
from tasks.kit.running import run_agent
from tasks.models import chosen, open_model
from tests.functions.durable_agents.conftest import until
from tests.functions.scripted import given, kinds, log_of, result, store
from tests.model_server import Calls, Fails, ModelServer, Says


class Nothing(BaseModel):
    pass


def test_what_a_tool_told_the_model_is_told_again_without_calling_it(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services, server: ModelServer
) -> None:
    from pydantic_ai import ModelRetry, Tool, ToolFailed

    called = Counter[str]()

    async def ask_again(question: str) -> str:
        called["ask_again"] += 1
        raise ModelRetry(f"{question} is not clear")

    async def fail(question: str) -> str:
        called["fail"] += 1
        raise ToolFailed(f"{question} is too hard")

    async def trying(ctx: Context, input: Nothing) -> str:
        async with open_model(chosen(), ctx) as model:
            return (await run_agent(ctx, model, "Try.", tools=[Tool(ask_again), Tool(fail)])).answer

    wrong = Calls("fail", number=1).and_("missing", x=1)
    server.script(Calls("ask_again", question="A").and_("fail", question="B"), wrong, Fails(503), Says("No."))
    job = begin(trying)
    go_on(job.id)
    ended = go_on(job.id)
    assert result(services, ended) == "No."
    assert called == {"ask_again": 1, "fail": 1}
    assert server.requests[3].body == server.requests[2].body
    assert "A is not clear" in server.requests[3].text
    assert "B is too hard" in server.requests[3].text
    log = log_of(services, ended)
    told = {data["name"]: data["result"]["error"] for kind, data in log[:7] if kind == "tool_result"}
    assert told == {"ask_again": "A is not clear", "fail": "B is too hard"}
    assert kinds(log)[2:-1] == [*["tool_call"] * 2, *["tool_result"] * 2] * 2 + ["status", "status", "output"]


def test_of_parallel_calls_the_finished_ones_stay(
    begin: Callable[..., Job],
    go_on: Callable[..., Job],
    services: Services,
    server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads, get = Counter[str](), Documents.get
    both = threading.Barrier(2, timeout=30)

    def unreliable(self: Documents, owner: str, document_id: str) -> Any:
        reads[document_id] += 1
        if reads[document_id] == 1:
            both.wait()  # they are read side by side
        if document_id == "bad" and reads["bad"] == 1:
            assert until(lambda: "tool:read_document:1.1" in services.store.steps(job))
            raise ConnectionError("the bucket does not answer")
        return get(self, owner, document_id)

    monkeypatch.setattr(Documents, "get", unreliable)
    store(services, "good", "It is good.")
    store(services, "bad", "It is bad.")
    server.script(Calls("read_document", id="good").and_("read_document", id="bad"), Says("Mixed."))
    job = begin(agent, input=given(prompt="Read both."))
    assert go_on(job.id).status is Status.PENDING
    ended = go_on(job.id)
    assert result(services, ended)["answer"] == "Mixed."
    assert reads == {"good": 1, "bad": 2}
    assert len(server.requests) == 2
    assert kinds(log_of(services, ended)).count("tool_result") == 2


def test_ids_of_calls_may_come_again_and_a_job_may_run_two_agents(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services
) -> None:
    from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

    from tasks.kit.library import Library
    from tasks.kit.tools import tools

    async def twice(messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
        if len(messages) < 5:
            yield {0: DeltaToolCall("calculate", json.dumps({"expression": f"{len(messages)} * 2"}), tool_call_id="0")}
        else:
            yield "Done."

    async def pair(ctx: Context, input: Nothing) -> list[int]:
        model, offered = FunctionModel(stream_function=twice), tools(["calculate"], Library(ctx))
        ran = [await run_agent(ctx, model, "Go.", tools=offered, name=name) for name in ("", "critic")]
        return [each.tool_calls for each in ran]

    ended = go_on(begin(pair).id)
    assert result(services, ended) == [2, 2]
    assert "tool:calculate:critic.2.1" in services.store.steps(ended)


def test_two_calls_of_one_answer_are_told_apart_though_they_have_one_id(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services
) -> None:
    from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

    from tasks.kit.library import Library
    from tasks.kit.tools import tools

    async def both(messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
        if len(messages) == 1:
            for n in (1, 2):
                asked = json.dumps({"expression": f"{n} * 21"})
                yield {n: DeltaToolCall("calculate", asked, tool_call_id="same")}
        else:
            yield "Done."

    async def asking(ctx: Context, input: Nothing) -> int:
        model, offered = FunctionModel(stream_function=both), tools(["calculate"], Library(ctx))
        return (await run_agent(ctx, model, "Go.", tools=offered)).tool_calls

    ended = go_on(begin(asking).id)
    assert result(services, ended) == 2
    told = [data for kind, data in log_of(services, ended) if kind == "tool_result"]
    assert {one["id"]: one["result"] for one in told} == {"same": "21", "same-2": "42"}
