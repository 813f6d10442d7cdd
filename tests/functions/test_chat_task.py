"""Chats: the agent with what was said before, and a log of what was asked and answered."""

from __future__ import annotations

from typing import Any

import pytest

from common.jobs import Status
from common.wiring import Services
from tasks.chat import chat
from tests.functions.conftest import Run
from tests.functions.scripted import given, kinds, log_of, result, store
from tests.handlers import Api
from tests.model_server import Calls, Fails, ModelServer, Says


def messages(*said: str) -> list[dict[str, str]]:
    """Question and answer by turns, the last a question."""
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]


def logged(services: Services, session: str = "s") -> list[dict[str, Any]]:
    return services.chats.list("acme", session, services.clock(), limit=10)[0]


def test_the_model_sees_what_was_said_in_its_order(run: Run, services: Services, server: ModelServer) -> None:
    server.script(Says("Thirty."))
    said = [
        {"role": "system", "content": "Speak like a pirate."},
        *messages("How long is a lease?", "Sixty seconds.", "And half of it?"),
    ]
    job = run(chat, input=given(session_id="s", messages=said))

    found = result(services, job)
    assert (found["response"], found["model"]["model"]) == ("Thirty.", "openai:test")
    sent = [(message["role"], message["content"]) for message in server.requests[0].body["messages"]]
    assert [each for each in sent if each[0] != "system"] == [
        ("user", "How long is a lease?"),
        ("assistant", "Sixty seconds."),
        ("user", "And half of it?"),
    ]
    assert "Speak like a pirate." in str([text for role, text in sent if role == "system"])
    assert ("output", {"text": "Thirty."}) in log_of(services, job)


def test_a_chat_may_begin_with_a_greeting(run: Run, server: ModelServer) -> None:
    server.script(Says("Thirty."))
    said = [{"role": "assistant", "content": "How can I help?"}, *messages("Half of sixty?")]
    run(chat, input=given(session_id="s", messages=said))
    roles = [message["role"] for message in server.requests[0].body["messages"]]
    assert [role for role in roles if role != "system"] == ["user", "assistant", "user"]


def test_the_interaction_is_logged_by_the_job(run: Run, services: Services, server: ModelServer) -> None:
    server.script(Says("Thirty."))
    job = run(chat, input=given(session_id="s", messages=messages("Half of sixty?")))
    (entry,) = logged(services)
    assert {**entry, "latency_ms": 0} == {
        "message": "Half of sixty?",
        "response": "Thirty.",
        "latency_ms": 0,
        "job_id": job.id,
    }
    assert entry["latency_ms"] > 0
    assert logged(services, "t") == []


def test_an_attempt_that_failed_is_not_logged(run: Run, services: Services, server: ModelServer) -> None:
    server.script(Fails(500))
    job = run(chat, input=given(session_id="s", messages=messages("Half of sixty?")))
    assert job.status is Status.PENDING
    assert logged(services) == []


def test_it_uses_tools(run: Run, services: Services, server: ModelServer) -> None:
    server.script(Calls("calculate", expression="60 / 2"), Says("Thirty."))
    job = run(chat, input=given(session_id="s", messages=messages("Half of sixty?")))
    assert kinds(log_of(services, job))[2:4] == ["tool_call", "tool_result"]


def test_without_a_model_a_further_question_is_about_the_same(run: Run, services: Services) -> None:
    store(services, "sea", "The sea is salty because rivers carry minerals into it. The desert is dry.")
    said = messages("Why is the sea salty?", "Because of minerals.", "Why, again?")
    found = result(services, run(chat, input=given(session_id="s", messages=said)))
    assert "rivers carry minerals" in found["response"]
    assert found["model"]["language_model"] is False


@pytest.mark.parametrize(
    "input",
    [
        {"session_id": "s", "messages": []},
        {"session_id": "s", "messages": messages("Question", "Answer")},
        {"session_id": "s", "messages": [{"role": "system", "content": "Be nice."}]},
        {"session_id": "s", "messages": [{"role": "tool", "content": "x"}]},
        {"session_id": "s", "messages": [{"role": "user", "content": ""}]},
        {"session_id": "s", "messages": [{"role": "user"}]},
        {"session_id": "s", "messages": [{"role": "user", "content": [{"type": "image"}]}]},
        {"session_id": "", "messages": messages("x")},
        {"session_id": "a#b", "messages": messages("x")},
        {"session_id": "a\n", "messages": messages("x")},
        {"session_id": "x" * 129, "messages": messages("x")},
        {"messages": messages("x")},
    ],
    ids=repr,
)
def test_what_does_not_fit_is_refused_at_submission(api: Api, input: dict[str, Any]) -> None:
    assert api("POST", "/jobs", json={"task": "chat", "input": input}).status == 422
