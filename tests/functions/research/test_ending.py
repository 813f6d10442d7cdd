"""Research that ends before its time: by its model, its budget, a wish, or for want of time."""

from __future__ import annotations

from typing import Any

import pytest

from common.jobs import Status
from common.tasks import Context
from common.usage import Budget
from common.wiring import Services
from tasks.research import AT_A_TIME, Question, research
from tests.functions.conftest import Run
from tests.functions.research.researching import QUESTION, Researcher, lease
from tests.functions.scripted import given, result, store
from tests.functions.single_jobs import ask_to_cancel
from tests.model_server import Fails, Hangs, ModelServer, Step


@pytest.mark.parametrize(
    ("step", "error"),
    [(Fails(401), "BadCredentials"), (Fails(402), "NoCredit"), (Fails(404), "UnknownModel")],
    ids=repr,
)
def test_a_model_that_cannot_be_used_ends_the_job_at_once(
    run: Run, services: Services, server: ModelServer, step: Step, error: str
) -> None:
    researcher = Researcher()
    researcher.note = lambda asked, numbers: step  # type: ignore[method-assign]
    server.otherwise = researcher
    store(services, "house", lease(1))
    job = run(research, input=given(query=QUESTION))
    assert job.error is not None
    assert (job.status, job.error.type) == (Status.FAILED, error)


def test_a_budget_ends_it(run: Run, services: Services, server: ModelServer) -> None:
    for n in range(20):
        store(services, f"house-{n}", lease(n))
    job = run(research, input=given(query=QUESTION), budget=Budget(max_tokens=60))
    assert job.error is not None
    assert (job.status, job.error.type) == (Status.FAILED, "BudgetExceeded")
    assert len(server.requests) < 12


def test_it_is_cancelled_in_the_middle(run: Run, real_time: Services, services: Services, server: ModelServer) -> None:
    ids: list[str] = []

    async def cancelled(ctx: Context, input: Question) -> Any:
        ids.append(ctx.job_id)
        return await research(ctx, input)

    researcher = Researcher()

    def hang(asked: str, numbers: list[str]) -> Step:
        ask_to_cancel(real_time, ids[0])
        return Hangs()

    researcher.note = hang  # type: ignore[method-assign]
    server.otherwise = researcher
    for n in range(8):
        store(services, f"house-{n}", lease(n))
    job = run(cancelled, input=given(query=QUESTION))
    assert (job.status, job.error) == (Status.CANCELLED, None)
    assert len(server.requests) <= 1 + AT_A_TIME


def test_without_time_left_the_report_is_written_of_what_there_is(
    run: Run, services: Services, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_left = [100.0]
    researcher = Researcher()
    note = researcher.note

    def slow(asked: str, numbers: list[str]) -> Step:
        time_left[0] -= 20
        return note(asked, numbers)

    researcher.note = slow  # type: ignore[method-assign]
    server.otherwise = researcher
    monkeypatch.setattr(Context, "remaining", property(lambda _: time_left[0]))
    for n in range(12):
        store(services, f"house-{n:02}", lease(n))
    found = result(services, run(research, input=given(query=QUESTION)))
    late = [source for source in found["sources"] if "no time left" in source.get("error", "")]
    assert 3 <= len(late) <= 8
    assert {source["status"] for source in late} == {"unused"}
    assert found["citations"]
