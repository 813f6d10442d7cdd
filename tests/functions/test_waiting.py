"""Long polls: one request instead of many, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common.jobs import Job, Progress, Report
from common.wiring import Services
from tests.aws import Clock
from tests.handlers import Api, Worker


def test_a_wait_ends_with_its_time(api: Api, clock: Clock, while_waiting: Any, calls: list[Any]) -> None:
    job, before = api.submit(), clock()
    calls.clear()
    answer = api("GET", f"/jobs/{job['id']}", wait=20)
    assert (answer.status, answer.json()["status"]) == (200, "pending")
    assert clock() - before == pytest.approx(20)
    assert len(calls) <= 16  # ever wider intervals


def test_a_wait_ends_with_the_job(
    api: Api, services: Services, make_job: Callable[..., Job], clock: Clock, while_waiting: Any
) -> None:
    job = services.store.claim(make_job().id, token="w", now=clock())
    while_waiting[5] = lambda: services.store.end_cancelled(job, Report(), clock())
    before = clock()
    answer = api("GET", f"/jobs/{job.id}", wait=20)
    assert answer.json()["status"] == "cancelled"
    assert 5 <= clock() - before <= 7.5


def test_a_wait_for_news_ends_with_the_news(
    api: Api, services: Services, make_job: Callable[..., Job], clock: Clock, while_waiting: Any
) -> None:
    job = services.store.claim(make_job().id, token="w", now=clock())
    known = {"if-none-match": api("GET", f"/jobs/{job.id}").headers["etag"]}
    while_waiting[3] = lambda: services.store.report(job, Report(Progress(percent=40)), clock())
    before = clock()

    answer = api("GET", f"/jobs/{job.id}", wait=20, headers=known)

    assert answer.json()["progress"]["percent"] == 40
    assert answer.headers["retry-after"] == "1"
    assert 3 <= clock() - before <= 5.5
    known = {"if-none-match": answer.headers["etag"]}
    assert api("GET", f"/jobs/{job.id}", wait=5, headers=known).status == 304


def test_a_submission_can_wait(api: Api, worker: Worker, while_waiting: Any) -> None:
    while_waiting[1] = lambda: None
    answer = api("POST", "/jobs", json={"task": "echo", "input": {}}, headers={"prefer": "wait=3"})
    assert (answer.status, answer.json()["status"]) == (202, "pending")
    assert answer.headers["preference-applied"] == "wait=3"
    worker()
    key = {"idempotency-key": "k"}
    job = api("POST", "/jobs", json={"task": "echo", "input": {}}, headers=key).json()
    worker()
    answer = api("POST", "/jobs", json={"task": "echo", "input": {}}, headers=key, wait=3)
    assert (answer.status, answer.json()["id"], answer.json()["status"]) == (200, job["id"], "completed")


@pytest.mark.parametrize("wait", [-1, 21, "x"])
def test_waits_have_a_limit(api: Api, wait: Any) -> None:
    assert api("GET", f"/jobs/{'0' * 32}", wait=wait).status == 422


def test_a_preferred_wait_over_the_limit_is_cut(api: Api, while_waiting: Any, clock: Clock) -> None:
    answer = api("POST", "/jobs", json={"task": "echo", "input": {}}, headers={"prefer": "wait=600"})
    assert answer.headers["preference-applied"] == "wait=20"
