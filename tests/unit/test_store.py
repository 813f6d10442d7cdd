"""The store's moves where answers are lost or two do them at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.errors import CancelRequested, InvalidTransition, LeaseLost, NotClaimable
from common.jobs import LEASE, Failure, Job, Payload, Progress, Report, Status
from common.store import Store
from common.wiring import Services
from tests.aws import Clock

FAILURE = Failure("OSError", "x", retryable=True, attempt=1)
RESULT = Payload(size=2, inline="{}")


@pytest.fixture
def store(services: Services) -> Store:
    return services.store


@pytest.fixture
def answers_are_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write takes effect, its answer is lost, and botocore repeats it as it was."""
    for operation in ("put_item", "update_item", "delete_item"):
        write = getattr(store._client, operation)

        def twice(_write: Callable[..., Any] = write, **given: Any) -> Any:
            _write(**given)
            return _write(**given)

        monkeypatch.setattr(store._client, operation, twice)


@pytest.mark.usefixtures("answers_are_lost")
def test_every_move_knows_its_own_effect(store: Store, make_job: Callable[..., Job], clock: Clock) -> None:
    def claimed() -> Job:
        return store.claim(make_job().id, token=f"w{clock()}", now=clock())

    assert claimed().attempt == 1
    assert store.complete(claimed(), RESULT, Report(Progress(percent=100)), clock()).status is Status.COMPLETED
    assert store.fail(claimed(), FAILURE, Report(), clock()).status is Status.FAILED
    assert store.end_cancelled(claimed(), Report(), clock()).status is Status.CANCELLED
    assert store.retry(claimed(), FAILURE, clock() + 5, Report(), clock()).status is Status.PENDING
    assert store.renew(claimed(), clock()).lease_until == clock() + LEASE
    assert store.request_cancel(make_job(), "c", clock()).status is Status.CANCELLED
    assert store.request_cancel(claimed(), "c", clock()).cancel_requested


@pytest.mark.usefixtures("answers_are_lost")
def test_each_change_is_one_event_however_often_it_is_written(
    store: Store, make_job: Callable[..., Job], clock: Clock
) -> None:
    job = store.claim(make_job().id, token="one", now=clock())
    job = store.retry(job, FAILURE, clock(), Report(), clock())
    clock.advance(1)
    job = store.claim(job.id, token="two", now=clock())
    job = store.complete(job, RESULT, Report(), clock())
    assert [(change.seq, change.status) for change in job.history] == [
        (1, "pending"),
        (2, "running"),
        (3, "pending"),
        (4, "running"),
        (5, "completed"),
    ]
    assert job.last_event == 5
    assert job.attempt == 2


def test_only_one_of_two_claims_wins(store: Store, make_job: Callable[..., Job], clock: Clock) -> None:
    job = make_job()
    winner = store.claim(job.id, token="one", now=clock())
    with pytest.raises(NotClaimable) as refused:
        store.claim(job.id, token="two", now=clock())
    assert refused.value.job == winner


def test_a_claim_needs_an_attempt_that_is_left(store: Store, make_job: Callable[..., Job], clock: Clock) -> None:
    job = make_job(max_attempts=1)
    store.claim(job.id, token="one", now=clock())
    clock.advance(LEASE + 1)
    with pytest.raises(NotClaimable):
        store.claim(job.id, token="two", now=clock())


def test_nothing_changes_an_ended_job(store: Store, make_job: Callable[..., Job], clock: Clock) -> None:
    job = store.claim(make_job().id, token="one", now=clock())
    ended = store.complete(job, RESULT, Report(), clock())
    for write in (store.renew, lambda job, now: store.report(job, Report(Progress(percent=1)), now)):
        with pytest.raises(LeaseLost):
            write(job, clock())
    with pytest.raises(LeaseLost):
        store.fail(job, FAILURE, Report(), clock())
    with pytest.raises(InvalidTransition):
        store.request_cancel(job, "c", clock())
    assert store.bury(ended, FAILURE, "b", clock()) is None
    with pytest.raises(NotClaimable):
        store.claim(job.id, token="two", now=clock() + DAYS)
    assert store.get(job.id, clock()) == ended


DAYS = 10 * 86_400


def test_a_job_whose_owner_wants_it_to_stop_does_not_go_back(
    store: Store, make_job: Callable[..., Job], clock: Clock
) -> None:
    job = store.claim(make_job().id, token="one", now=clock())
    store.request_cancel(job, "c", clock())
    with pytest.raises(CancelRequested):
        store.retry(job, FAILURE, clock(), Report(), clock())


def test_a_deleted_job_cannot_be_unfinished(store: Store, make_job: Callable[..., Job], clock: Clock) -> None:
    job = make_job()
    with pytest.raises(InvalidTransition):
        store.forget(job)
    found = store.get(job.id, clock())
    assert found is not None
    assert found.status is Status.PENDING


def test_other_errors_are_not_swallowed(store: Store, make_job: Callable[..., Job], clock: Clock) -> None:
    gone = Store(store._client, "no-such-table")
    job = make_job()
    for move in (
        lambda: gone.put(job, clock()),
        lambda: gone.claim(job.id, token="x", now=clock()),
        lambda: gone.wake(job.id, 0, 0, clock()),
    ):
        with pytest.raises(ClientError, match="ResourceNotFound"):
            move()


def test_what_a_newer_release_has_added_to_a_job_is_passed_over(store: Store, make_job: Callable[..., Job]) -> None:
    """While a deployment is under way, its functions and those before them see the same jobs."""
    job = store.get(make_job().id, 0, consistent=True)
    assert job is not None
    store._client.update_item(
        TableName=store._table,
        Key={"pk": {"S": f"job#{job.id}"}, "sk": {"S": "job"}},
        UpdateExpression="SET added_later = :x",
        ExpressionAttributeValues={":x": {"S": "x"}},
    )
    assert store.get(job.id, 0, consistent=True) == job
