"""The worker's messages: each is answered for on its own, whether it is early, late, a copy, junk or a dead worker's."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from common.jobs import LEASE, Job, Priority, Status
from common.queue import Reminder
from common.wiring import Services
from tests.aws import Clock
from tests.functions.single_jobs import now
from tests.handlers import Worker, load_event


def test_messages_fail_on_their_own(worker: Worker, services: Services, make_job: Any) -> None:
    good = make_job()
    services.queues.send(good)
    records = worker.receive()
    junk = load_event("worker")["Records"][0] | {"messageId": "junk", "body": "not a message"}
    assert worker.handle([junk, *records]) == ["junk"]
    assert now(services, good).status is Status.COMPLETED


@pytest.mark.parametrize("body", ["", "{}", "[]", "null", '{"job": 7}', '{"job": "../x"}', "\x00"])
def test_a_message_that_names_no_job_goes_to_the_dead_letters(worker: Worker, body: str) -> None:
    record = load_event("worker")["Records"][0] | {"body": body}
    assert worker.handle([record]) == [record["messageId"]]


def test_a_message_for_a_forgotten_job_is_done_with(worker: Worker, services: Services) -> None:
    services.queues.of(Priority.NORMAL).remind(Reminder("0" * 32))
    assert worker() == []


def test_a_copy_of_a_message_runs_nothing_twice(worker: Worker, services: Services, make_job: Any) -> None:
    job = make_job()
    services.queues.send(job)
    services.queues.send(job)
    assert worker() == []
    assert now(services, job).attempt == 1


def test_a_message_that_came_back_waits_for_the_lease_to_end(
    worker: Worker, services: Services, make_job: Any, clock: Clock, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    job = services.store.claim(make_job().id, token="maybe dead", now=clock())
    services.queues.send(job)
    record = worker.receive()[0]
    record["attributes"]["ApproximateReceiveCount"] = "2"
    clock.advance(20)

    assert worker.handle([record]) == [record["messageId"]]

    assert [given["VisibilityTimeout"] for name, given in calls if name == "ChangeMessageVisibility"] == [41]
    clock.advance(41)
    assert worker.handle([record]) == []
    assert (now(services, job).status, now(services, job).attempt) == (Status.COMPLETED, 2)


def test_a_worker_that_died_in_its_last_attempt_ends_the_job(
    worker: Worker, services: Services, make_job: Any, clock: Clock
) -> None:
    job = services.store.claim(make_job(max_attempts=1).id, token="dead", now=clock())
    services.queues.send(job)
    clock.advance(LEASE + 1)
    worker()
    ended = now(services, job)
    assert ended.error is not None
    assert (ended.status, ended.error.type) == (Status.FAILED, "WorkerLost")
    assert ended.expires_at is not None


def test_a_lease_that_runs_out_while_its_claim_is_being_refused_ends_no_job_with_attempts_left(
    worker: Worker, services: Services, make_job: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by simulation: the answer took so long that the lease which had been in the way looked dead."""
    job = services.store.claim(make_job(max_attempts=3).id, token="living", now=clock())
    services.queues.send(job)
    claim = services.store.claim

    def slow(*arguments: Any, **options: Any) -> Job:
        try:
            return claim(*arguments, **options)
        finally:
            clock.advance(LEASE + 1)

    monkeypatch.setattr(services.store, "claim", slow)
    assert len(worker()) == 1
    assert (now(services, job).status, now(services, job).attempt) == (Status.RUNNING, 1)


def test_a_claim_that_nobody_heard_is_found_again_and_costs_no_attempt(
    worker: Worker, services: Services, make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table does it, and no answer comes, for longer than botocore tries."""
    job = make_job(max_attempts=1)
    services.queues.send(job)
    write, unheard = services.store._client.update_item, iter([True, False])

    def answer(**given: Any) -> Any:
        answered = write(**given)
        if next(unheard, False):
            raise ReadTimeoutError(endpoint_url="https://dynamodb.example.com")
        return answered

    monkeypatch.setattr(services.store._client, "update_item", answer)
    assert worker() == []
    assert (now(services, job).status, now(services, job).attempt) == (Status.COMPLETED, 1)


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_wish_to_cancel_outlives_the_worker(
    worker: Worker, services: Services, make_job: Any, clock: Clock, attempts: int
) -> None:
    job = services.store.claim(make_job(max_attempts=attempts).id, token="dead", now=clock())
    services.store.request_cancel(job, "c", clock())
    services.queues.send(job)
    clock.advance(LEASE + 1)
    worker()
    assert now(services, job).status is Status.CANCELLED


def test_a_delayed_job_does_not_start_before_its_time(
    worker: Worker, services: Services, make_job: Any, clock: Clock
) -> None:
    job = make_job(run_at=clock() + 100)
    services.queues.send(job)
    assert len(worker()) == 1
    assert now(services, job).status is Status.PENDING
