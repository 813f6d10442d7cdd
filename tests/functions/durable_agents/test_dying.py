"""Agents that die, or are longer than an invocation: what was asked and paid is not asked again. Counted at the provider."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from common.jobs import Job, Status
from common.wiring import Services
from tasks.agent import agent
from tasks.chat import chat
from tasks.models import chosen
from tests.aws import Clock
from tests.functions.durable_agents.conftest import Killed
from tests.functions.scripted import given, kinds, log_of, result
from tests.model_server import Breaks, Calls, Fails, ModelServer, Request, Says, Step

CALLS = (
    Calls("calculate", expression="1 + 1").after("First I add."),
    Calls("calculate", expression="2 * 2").and_("read_document", id="missing"),
    Calls("calculate", expression="3 ** 2"),
)
ANSWER = Says("Two, four and nine.")


def check_log(services: Services, job: Job) -> None:
    """Everything once; `log_of` sees to it that the numbers have no gaps."""
    log = log_of(services, job)
    told = [(kind, data) for kind, data in log if kind != "status"]
    assert [kind for kind, _ in told] == [
        *("output", "tool_call", "tool_result"),
        *("tool_call", "tool_call", "tool_result", "tool_result"),
        *("tool_call", "tool_result", "output"),
    ]
    assert [data["text"] for kind, data in told if kind == "output"] == ["First I add.", "Two, four and nine."]
    results = [json.dumps(data["result"]) for kind, data in told if kind == "tool_result"]
    assert sorted(results) == sorted(['"2"', '"4"', '{"error": "No document missing."}', '"9"'])


# ---------------------------------------------------------------------------------------- dying


@pytest.mark.parametrize(
    ("provider", "fourth"),
    [("openai", Fails(503)), ("openai", Breaks("")), ("anthropic", Breaks("")), ("bedrock", Fails(503))],
    ids=repr,
)
def test_a_fourth_call_that_fails_does_not_repeat_the_first_three(
    begin: Callable[..., Job],
    go_on: Callable[..., Job],
    services: Services,
    server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    fourth: Step,
) -> None:
    if provider != "openai":
        monkeypatch.setenv("LONGRUN_MODEL", f"{provider}:eu.anthropic.claude-haiku-4-5-20251001-v1:0")
        monkeypatch.setenv("LONGRUN_MODEL_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    server.script(*CALLS, fourth, ANSWER)
    job = begin(agent, input=given(prompt="Add, multiply, square."))

    once = go_on(job.id)
    assert (once.status, len(server.requests)) == (Status.PENDING, 4)
    ended = go_on(job.id)

    assert len(server.requests) == 5
    assert server.requests[4].body == server.requests[3].body, "the conversation is the same to the letter"
    assert result(services, ended) == {
        "answer": "Two, four and nine.",
        "model": chosen().described(),
        "tool_calls": 3,
        "requests": 4,
    }
    assert ended.attempt == 2
    # Of what breaks off, the request's own tokens are counted, by estimate: it was made, and is made again.
    assert once.usage.input_tokens >= 3 * 12
    assert ended.usage.input_tokens - once.usage.input_tokens == 12
    assert ended.usage.output_tokens - once.usage.output_tokens == 7
    check_log(services, ended)


def test_a_worker_that_dies_in_the_fourth_call_has_not_made_the_first_three_in_vain(
    begin: Callable[..., Job], killed: Killed, services: Services, server: ModelServer
) -> None:
    server.script(*CALLS)
    server.otherwise = lambda _: ANSWER
    ended, requests = killed(begin(agent, input=given(prompt="Add, multiply, square.")))
    assert len(requests) == 5
    assert requests[4].body == requests[3].body
    assert result(services, ended)["answer"] == "Two, four and nine."
    assert ended.attempt == 2
    assert (ended.usage.input_tokens, ended.usage.output_tokens) == (4 * 12, 4 * 7)
    check_log(services, ended)


def test_each_request_and_each_call_of_a_tool_is_a_step(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services, server: ModelServer
) -> None:
    server.script(*CALLS, ANSWER)
    ended = go_on(begin(agent, input=given(prompt="Add, multiply, square.")).id)
    assert set(services.store.steps(ended)) == {
        *("model:1", "model:2", "model:3", "model:4"),
        *("tool:calculate:1.1", "tool:calculate:2.1", "tool:read_document:2.2", "tool:calculate:3.1"),
    }


def test_a_chat_goes_on_too(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services, server: ModelServer
) -> None:
    server.script(Calls("calculate", expression="60 / 2"), Fails(500), Says("Thirty."))
    said = [
        {"role": role, "content": text} for role, text in (("user", "60?"), ("assistant", "Yes."), ("user", "Half?"))
    ]
    job = begin(chat, input=given(session_id="s", messages=said))
    assert go_on(job.id).status is Status.PENDING
    ended = go_on(job.id)
    assert (result(services, ended)["response"], len(server.requests)) == ("Thirty.", 3)
    assert kinds(log_of(services, ended)).count("tool_call") == 1


def test_a_changed_agent_is_found_out(
    begin: Callable[..., Job], go_on: Callable[..., Job], server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script(*CALLS, Fails(503))
    job = begin(agent, input=given(prompt="Add, multiply, square."))
    go_on(job.id)
    monkeypatch.setattr("tasks.kit.running.INSTRUCTIONS", "Guess.")
    ended = go_on(job.id)
    assert ended.error is not None
    assert (ended.status, ended.error.type, len(server.requests)) == (Status.FAILED, "StepMismatch", 4)
    assert "'model:1'" in ended.error.message


# ---------------------------------------------------------------------------------------- longer than an invocation


def test_an_agent_goes_on_over_many_invocations(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services, clock: Clock, server: ModelServer
) -> None:
    """It takes fourteen requests of three seconds each, and a function has thirty."""

    def working(_: Request) -> Step:
        clock.advance(3)
        number = len(server.requests)
        return Calls("calculate", expression=f"{number} * {number}") if number % 14 else Says("Enough.")

    server.otherwise = working
    straight = go_on(begin(agent, input=given(prompt="Square.")).id)
    assert straight.continuations == 0

    job = begin(agent, input=given(prompt="Square."), max_attempts=1)
    found = go_on(job.id, seconds=30)
    while not found.status.is_final and found.continuations < 30:
        assert (found.status, found.attempt) == (Status.PENDING, 1)
        found = go_on(job.id, seconds=30)
    assert found.continuations >= 2
    assert len(server.requests) == 28, "no request is broken off for it, and none made twice"
    assert result(services, found) == result(services, straight)
    assert found.usage == straight.usage

    def said(of: Job) -> list[Any]:
        return [(kind, data.get("result", data.get("text"))) for kind, data in log_of(services, of) if kind != "status"]

    assert len(said(found)) == len(said(straight)) == 2 * 13 + 1
    assert [kind for kind, _ in said(found)] == [kind for kind, _ in said(straight)]
