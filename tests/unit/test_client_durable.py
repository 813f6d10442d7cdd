"""Answers, retries and children: what the client asks, for the blocking and the async client."""

from typing import Any

import pytest

import longrun
from longrun import Question
from tests.unit.scripted_service import DROP, Caller, Reply, ScriptedService, job_view, problem

ASKED = {"id": "q1", "question": "Publish?", "schema": {"type": "boolean"}, "expires_at": "2026-02-07T12:00:00Z"}


def child(number: int, status: str | None = "completed", **more: Any) -> dict[str, Any]:
    """A child as its parent's list shows it."""
    shown = {"id": f"c{number}", "step": "part", "number": number, "task": "part", "status": status, "error": None}
    return shown | {"has_children": False} | more


def children(*shown: dict[str, Any], cursor: int | None = None, **step: Any) -> dict[str, Any]:
    """A page of them, all of one step."""
    counts = {"step": "part", "task": "part", "size": len(shown), "ended": len(shown), "failed": 0} | step
    return {"steps": [counts], "children": list(shown), "next_cursor": cursor}


def test_a_job_shows_what_it_asks_and_where_it_belongs(service: ScriptedService, call: Caller) -> None:
    more = {"continuations": 3, "parent": "j0", "has_children": True, "priority": "high"}
    service.on("GET /jobs/j1", job_view("waiting", questions=[ASKED | {"mood": "new"}], **more))
    job = call("get", "j1")
    assert {name: getattr(job, name) for name in more} == more
    [question] = job.questions
    assert (question.id, question.question, question.answer_schema) == ("q1", "Publish?", {"type": "boolean"})
    assert question.expires_at is not None
    assert job.model_dump(mode="json", exclude_unset=True)["questions"] == [ASKED]
    assert Question(id="q", question="?", answer_schema={}).answer_schema == {}
    assert not job.is_final


def test_an_older_service_s_job_asks_nothing(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1", job_view())
    job = call("get", "j1")
    assert (job.questions, job.continuations, job.parent, job.has_children, job.priority) == ((), 0, None, False, None)


def test_waiting_for_a_job_goes_on_while_it_waits(service: ScriptedService, call: Caller) -> None:
    waiting = job_view("waiting", questions=[ASKED], last_event=3)
    ended = job_view("completed", result=1, last_event=6)
    service.on("GET /jobs/j1", waiting, waiting, job_view("pending", last_event=4), ended)
    seen: list[tuple[str, int]] = []
    job = call("wait", "j1", on_change=lambda job: seen.append((job.status, len(job.questions))))
    assert job.result == 1
    assert seen == [("waiting", 1), ("pending", 0), ("completed", 0)]


def test_priority_is_passed_on(service: ScriptedService, call: Caller) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    call("submit", "research", priority="low")
    assert service.seen[0].json == {"task": "research", "input": {}, "priority": "low"}


@pytest.mark.parametrize(("question", "named"), [(None, {}), ("q1", {"question": "q1"})])
def test_a_question_is_answered(
    service: ScriptedService, call: Caller, question: str | None, named: dict[str, str]
) -> None:
    service.on("POST /jobs/j1/input", Reply(202, job_view("pending")))
    assert call("answer", "j1", {"go": True}, question).status == "pending"
    assert service.seen[0].json == {"answer": {"go": True}} | named


def test_an_answer_may_be_nothing(service: ScriptedService, call: Caller) -> None:
    service.on("POST /jobs/j1/input", Reply(202, job_view("pending")))
    call("answer", "j1", None)
    assert service.seen[0].json == {"answer": None}


def test_only_an_answer_to_a_named_question_is_sent_again(service: ScriptedService, call: Caller) -> None:
    service.on("POST /jobs/j1/input", DROP, Reply(202, job_view("pending")))
    assert call("answer", "j1", 1, "q1").status == "pending"
    assert len(service.seen) == 2
    service.on("POST /jobs/j1/input", DROP)
    with pytest.raises(longrun.Unreachable):
        call("answer", "j1", 1)  # it could answer the job's next question
    assert len(service.seen) == 3


def test_after_a_lost_answer_nobody_knows_whose_answer_it_was(service: ScriptedService, call: Caller) -> None:
    service.on("POST /jobs/j1/input", DROP, problem(409, "Conflict", detail="asks nothing"))
    with pytest.raises(longrun.Conflict, match="asks nothing") as raised:
        call("answer", "j1", 1, "q1")
    assert raised.value.__notes__ == ["an earlier try may have got through: look at the job"]


def test_what_does_not_fit_is_said_where(service: ScriptedService, call: Caller) -> None:
    wrong = [{"loc": ["answer"], "msg": "data must be boolean"}]
    service.on("POST /jobs/j1/input", problem(422, errors=wrong))
    with pytest.raises(longrun.InvalidRequest) as raised:
        call("answer", "j1", "yes")
    assert [str(error) for error in raised.value.errors] == ["answer: data must be boolean"]
    with pytest.raises(longrun.InvalidInput, match="the answer cannot be written as JSON"):
        call("answer", "j1", float("nan"))


@pytest.mark.parametrize(("step", "query"), [(None, {}), ("fetch:b 1", {"from_step": "fetch:b 1"})])
def test_a_job_is_retried(service: ScriptedService, call: Caller, step: str | None, query: dict[str, str]) -> None:
    service.on("POST /jobs/j1/retry", Reply(202, job_view("pending")))
    assert call("retry", "j1", step).status == "pending"
    assert service.seen[0].query == query


def test_a_retry_whose_answer_was_lost_is_asked_for_under_the_same_key(service: ScriptedService, call: Caller) -> None:
    service.on("POST /jobs/j1/retry", DROP, Reply(202, job_view("running")))
    assert call("retry", "j1").status == "running"
    first, second = (sent.headers["idempotency-key"] for sent in service.seen)
    assert first == second
    service.on("POST /jobs/j1/retry", problem(409))
    with pytest.raises(longrun.Conflict):
        call("retry", "j1", idempotency_key="mine")
    assert service.seen[-1].headers["idempotency-key"] == '"mine"'


def test_children_are_asked_for_page_by_page(service: ScriptedService, call: Caller) -> None:
    failure = {"type": "Permanent", "message": "bad", "retryable": False, "attempt": 1}
    second = children(child(2, None), child(3, "hibernating"))
    service.on(
        "GET /jobs/j1/children", children(child(0), child(1, "failed", error=failure), cursor=2), second, children()
    )
    found = call("children", "j1", page_size=2)
    assert [(one.id, one.step, one.number, one.status) for one in found] == [
        ("c0", "part", 0, "completed"),
        ("c1", "part", 1, "failed"),
        ("c2", "part", 2, None),
        ("c3", "part", 3, "hibernating"),
    ]
    assert found[1].error.message == "bad"
    assert [sent.query for sent in service.seen] == [{"limit": "2"}, {"limit": "2", "cursor": "2"}]


def test_a_page_of_children_has_their_steps(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1/children", children(child(0), size=900, ended=7, failed=2, cursor=1))
    page = call("list_children", "j1", limit=1)
    assert [step.model_dump() for step in page.steps] == [
        {"step": "part", "task": "part", "size": 900, "ended": 7, "failed": 2}
    ]
    assert (len(page.children), page.next_cursor) == (1, 1)
