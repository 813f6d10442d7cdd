"""Cancelling, from the owner's side."""

from __future__ import annotations

from typing import Any

from common.jobs import Status
from common.wiring import Services
from tests.aws import Clock
from tests.handlers import Api, Worker


def test_a_waiting_job_is_cancelled_at_once_and_never_runs(api: Api, worker: Worker) -> None:
    job = api.submit()
    answer = api("POST", f"/jobs/{job['id']}/cancel")
    assert (answer.status, answer.json()["status"]) == (202, "cancelled")
    worker()
    after = api.job(job["id"])
    assert (after["status"], after["attempt"], after["result"]) == ("cancelled", 0, None)


def test_cancelling_twice_is_harmless(api: Api) -> None:
    job = api.submit()
    first = api("POST", f"/jobs/{job['id']}/cancel")
    again = api("POST", f"/jobs/{job['id']}/cancel")
    assert (again.status, again.json()) == (202, first.json())


def test_a_running_job_is_asked_to_stop(api: Api, services: Services, make_job: Any, clock: Clock) -> None:
    job = services.store.claim(make_job().id, token="w", now=clock())
    for _ in range(2):
        answer = api("POST", f"/jobs/{job.id}/cancel")
        assert (answer.status, answer.json()["status"], answer.json()["cancel_requested"]) == (202, "running", True)
    assert services.store.is_cancel_requested(job)


def test_a_finished_job_cannot_be_cancelled(api: Api, worker: Worker) -> None:
    job = api.submit()
    worker()
    answer = api("POST", f"/jobs/{job['id']}/cancel")
    assert (answer.status, answer.json()["title"]) == (409, "Not possible in the present state")
    assert api.job(job["id"])["status"] == "completed"


def test_a_job_that_goes_back_to_the_queue_meanwhile_is_cancelled(
    services: Services, make_job: Any, clock: Clock
) -> None:
    from common.jobs import Failure, Report

    seen = services.store.claim(make_job().id, token="w", now=clock())
    services.store.retry(seen, Failure("X", "x", retryable=True, attempt=1), clock() + 5, Report(), clock())
    assert services.store.request_cancel(seen, "c", clock()).status is Status.CANCELLED
