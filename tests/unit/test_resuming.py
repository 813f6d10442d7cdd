"""Jobs that are begun anew by their owner, where two do it at once, and what their items hold after many moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from common.errors import InvalidTransition
from common.jobs import Failure, Job, Payload, Report, Status
from common.resuming import KEPT_CHANGES, MOST_CHANGES, MOST_MOVED
from common.steps import Step, place
from common.store import Store
from common.wiring import Services
from tests.aws import Clock
from tests.handlers import Api

FAILURE = Failure("TypeError", "x", retryable=False, attempt=1)


@pytest.fixture
def store(services: Services) -> Store:
    return services.store


def step(name: str, number: int, at: float) -> Step:
    return Step(name, "", Payload(size=4, inline="null"), at, place(1, number))


@pytest.fixture
def failed_after(store: Store, make_job: Callable[..., Job], clock: Clock) -> Callable[..., Job]:
    """A job that failed after so many finished steps, called 0, 1, 2 …"""

    def make(steps: int) -> Job:
        job = store.claim(make_job().id, token="first", now=clock())
        done = [step(str(number), number, clock()) for number in range(steps)]
        for start in range(0, steps, 50):
            job = store.flush(job, [], Report(), clock(), done[start : start + 50])
        return store.fail(job, FAILURE, Report(), clock())

    return make


def test_two_retries_at_once_forget_no_step_of_the_job_that_one_of_them_began(
    store: Store, failed_after: Callable[..., Job], clock: Clock
) -> None:
    """Both have read the failed job; one begins it, and it does a step anew, before the other one forgets."""
    read = failed_after(3)
    steps = store.steps(read)
    store.revive(read, "one", clock(), steps["1"])
    assert set(store.steps(read)) == {"0"}
    running = store.claim(read.id, token="second", now=clock())
    store.flush(running, [], Report(), clock(), [step("1", 1, clock())])
    for first in ("0", "1"):
        with pytest.raises(InvalidTransition):
            store.revive(read, "two", clock(), steps[first])
    assert set(store.steps(running)) == {"0", "1"}


def test_a_retry_that_read_the_job_before_its_last_end_forgets_nothing(
    store: Store, failed_after: Callable[..., Job], clock: Clock
) -> None:
    read = failed_after(2)
    again = store.claim(store.revive(read, "one", clock()).id, token="second", now=clock())
    ended = store.fail(again, FAILURE, Report(), clock())
    with pytest.raises(InvalidTransition):
        store.revive(read, "two", clock(), store.steps(read)["0"])
    assert set(store.steps(ended)) == {"0", "1"}


@pytest.mark.parametrize("first", [None, "1", "100"])
def test_a_retry_that_comes_twice_at_once_is_one(
    store: Store, failed_after: Callable[..., Job], clock: Clock, first: str | None
) -> None:
    """Under one idempotency key both leave the same token; each has read the job before the other one's move."""
    read = failed_after(130)
    named = None if first is None else store.steps(read)[first]
    begun = store.revive(read, "same", clock(), named)
    assert store.revive(read, "same", clock() + 1, named) == begun
    assert [change.token for change in begun.history].count("same") == 1
    assert len(store.steps(begun)) == int(first or 130)


def test_forgetting_that_is_broken_off_leaves_no_gap_and_can_be_asked_for_again(
    store: Store, failed_after: Callable[..., Job], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = failed_after(130)
    write, tries = store._client.transact_write_items, []

    def dying(**given: Any) -> Any:
        tries.append(given)
        if len(tries) > 2:
            raise ConnectionError("the process dies")
        return write(**given)

    with monkeypatch.context() as broken:
        broken.setattr(store._client, "transact_write_items", dying)
        with pytest.raises(ConnectionError):
            store.revive(job, "one", clock(), store.steps(job)["3"])
    left = {int(name) for name in store.steps(job)}
    assert 4 < len(left) < 130
    assert left == set(range(len(left)))
    assert store.get(job.id, clock(), consistent=True) == job, "no change that a client sees"
    assert store.revive(job, "one", clock(), store.steps(job)["3"]).status is Status.PENDING
    assert set(store.steps(job)) == {"0", "1", "2"}


@pytest.mark.parametrize("steps", [3, 100])
def test_a_job_that_was_retried_before_it_could_be_deleted_keeps_what_it_has_done(
    store: Store, failed_after: Callable[..., Job], clock: Clock, steps: int
) -> None:
    read = failed_after(steps)
    store.revive(read, "one", clock())
    with pytest.raises(InvalidTransition):
        store.forget(read)
    assert len(store.steps(read)) == steps


def test_a_job_is_either_retried_or_deleted(store: Store, failed_after: Callable[..., Job], clock: Clock) -> None:
    """What the bucket has for a job goes before the job does, so nobody may need it by then."""
    retried, deleted = failed_after(1), failed_after(1)
    store.revive(retried, "one", clock())
    with pytest.raises(InvalidTransition):
        store.give_up(retried)
    store.give_up(deleted)
    store.give_up(deleted)  # whoever asks again finds it begun
    with pytest.raises(InvalidTransition):
        store.revive(deleted, "two", clock())
    with pytest.raises(InvalidTransition):
        store.revive(deleted, "two", clock(), store.steps(deleted)["0"])
    store.forget(deleted)
    store.give_up(deleted)


@pytest.mark.parametrize("steps", [0, 3, 100])
def test_a_job_is_deleted_with_all_its_steps(
    store: Store, failed_after: Callable[..., Job], clock: Clock, steps: int
) -> None:
    job = failed_after(steps)
    store.forget(job)
    assert list(store.sort_keys(job.id)) == []
    store.forget(job)  # twice is harmless


# ------------------------------------------------------------------ the history


def numbers(api: Api, job: Job) -> list[int]:
    """Of the events that a reader is told of."""
    found: list[int] = []
    while page := api("GET", f"/jobs/{job.id}/events", after=found[-1] if found else 0, limit=50).json()["events"]:
        found += [event["seq"] for event in page]
    return found


def test_cancelling_and_retrying_for_ever_does_not_make_the_job_s_item_grow(
    store: Store, make_job: Callable[..., Job], clock: Clock, api: Api
) -> None:
    job = make_job()
    for n in range(MOST_CHANGES):
        job = store.request_cancel(job, f"c{n}", clock())
        job = store.revive(job, f"r{n}", clock())
        assert job.status is Status.PENDING
        assert len(job.history) <= MOST_CHANGES + 2
    assert job.last_event == 1 + 2 * MOST_CHANGES
    assert numbers(api, job) == list(range(1, job.last_event + 1))


@pytest.mark.parametrize("lay_down", [True, False])
def test_a_history_of_any_length_is_moved_out_bit_by_bit(
    store: Store, make_job: Callable[..., Job], clock: Clock, api: Api, lay_down: bool
) -> None:
    """Retries and dead workers do not compact it, and a transaction has room for a hundred items."""
    job = make_job(max_attempts=20)
    for n in range(25):
        held = store.claim(job.id, token=f"t{n}", now=clock())
        # Sent back by its worker, as if it had attempts without end.
        job = store.retry(replace(held, max_attempts=200), FAILURE, clock(), Report(), clock())
    long = len(job.history)
    assert long > MOST_MOVED + KEPT_CHANGES
    if lay_down:
        job = store.put_back(store.claim(job.id, token="last", now=clock()), Report(), 1.0, clock())
    else:
        job = store.revive(store.request_cancel(job, "c", clock()), "r", clock())
    assert MOST_MOVED - 2 <= long - len(job.history) <= MOST_MOVED < 100
    assert numbers(api, job) == list(range(1, job.last_event + 1))
