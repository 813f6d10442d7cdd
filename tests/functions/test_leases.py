"""Progress and leases are written as seldom as they may be, and a stale worker changes nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from common.errors import LeaseLost
from common.jobs import LEASE, Payload, Progress, Report, Status
from common.tasks import Context, Registry, _defined
from common.wiring import Services
from tests.aws import Clock
from tests.functions.conftest import Run
from tests.functions.single_jobs import Given, now, result
from tests.handlers import Worker


def test_progress_is_written_now_and_then_and_at_the_end(
    run: Run, real_time: Services, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    async def counting(ctx: Context, input: Given) -> None:
        for n in range(1, 101):
            ctx.progress(current=n, total=100, message=f"{n} of 100")
            await asyncio.sleep(0.002)

    job = run(counting)
    assert job.progress == Progress(percent=100, current=100, total=100, message="100 of 100")
    writes = [
        given for name, given in calls if name == "UpdateItem" and "progress" in str(given["ExpressionAttributeNames"])
    ]
    assert 3 <= len(writes) <= 20  # claim and ending name it too


def test_progress_starts_anew_with_an_attempt(services: Services, make_job: Any, clock: Clock) -> None:
    job = services.store.claim(make_job().id, token="one", now=clock())
    services.store.report(job, Report(Progress(percent=90)), clock())
    clock.advance(LEASE + 1)
    assert services.store.claim(job.id, token="two", now=clock()).progress is None


def test_a_long_attempt_renews_lease_and_message_together(run: Run, calls: list[tuple[str, dict[str, Any]]]) -> None:
    async def long(input: Given) -> None:
        await asyncio.sleep(0.5)

    assert run(long).status is Status.COMPLETED
    renewals = [given for name, given in calls if (name == "UpdateItem" and "lease_until" in given["UpdateExpression"]) or
                (name == "UpdateItem" and "lease_until" in str(given["ExpressionAttributeNames"]))]  # fmt: skip
    hidden = [given["VisibilityTimeout"] for name, given in calls if name == "ChangeMessageVisibility"]
    assert len(hidden) >= 2
    assert set(hidden) == {65}
    assert len(renewals) >= len(hidden)
    assert [name for name, _ in calls].count("DeleteMessage") == 1  # its neighbours may run for long


def test_a_worker_that_heard_late_of_its_claim_renews_it_at_once(
    make_worker: Callable[..., Worker],
    registry: Registry,
    services: Services,
    make_job: Any,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found by simulation: what was left of the lease was less than the time to the first renewal, and another took over."""
    claimed, until = clock(), []

    async def long(input: Given) -> None:
        for _ in range(500):
            until.append(now(services, job).lease_until or 0)
            if until[-1] > claimed + LEASE:
                return
            await asyncio.sleep(0.01)

    registry.add(_defined(long))
    job = make_job(task="long")
    services.queues.send(job)
    write, late = services.store._client.update_item, iter([True])

    def answer(**given: Any) -> Any:
        answered = write(**given)
        if next(late, False):
            clock.advance(LEASE - 3)
            raise ReadTimeoutError(endpoint_url="https://dynamodb.example.com")
        return answered

    monkeypatch.setattr(services.store._client, "update_item", answer)
    assert make_worker(registry=registry)() == []
    assert until[-1] == clock() + LEASE
    assert (now(services, job).status, now(services, job).attempt) == (Status.COMPLETED, 1)


def test_a_short_attempt_costs_no_more_than_its_claim_and_its_end(
    run: Run, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    def short(input: Given) -> None: ...

    run(short)
    assert sorted(name for name, _ in calls) == ["GetItem", "PutItem", "SendMessage", "UpdateItem", "UpdateItem"]


def test_a_worker_that_lost_its_lease_stops_and_changes_nothing(
    run: Run, real_time: Services, services: Services
) -> None:
    stopped = threading.Event()

    async def overtaken(ctx: Context, input: Given) -> str:
        taken = real_time.store.claim(ctx.job_id, token="another", now=real_time.clock() + LEASE + 1)
        real_time.store.complete(taken, Payload(size=5, inline='"won"'), Report(), real_time.clock())
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return "lost"

    job = run(overtaken)
    assert (job.status, job.attempt, result(services, job)) == (Status.COMPLETED, 2, '"won"')
    assert stopped.wait(30)  # nobody waits for the loser's thread


def test_every_write_of_a_stale_worker_is_refused(services: Services, make_job: Any, clock: Clock) -> None:
    from common.jobs import Failure

    stale = services.store.claim(make_job().id, token="stale", now=clock())
    clock.advance(LEASE + 1)
    services.store.claim(stale.id, token="new", now=clock())
    failure = Failure("X", "x", retryable=True, attempt=1)
    writes: list[Callable[[], object]] = [
        lambda: services.store.renew(stale, clock()),
        lambda: services.store.report(stale, Report(Progress(percent=1)), clock()),
        lambda: services.store.complete(stale, Payload(size=2, inline="{}"), Report(), clock()),
        lambda: services.store.fail(stale, failure, Report(), clock()),
        lambda: services.store.end_cancelled(stale, Report(), clock()),
        lambda: services.store.retry(stale, failure, clock(), Report(), clock()),
    ]
    before = now(services, stale)
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert now(services, stale) == before
