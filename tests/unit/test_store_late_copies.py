"""A copy of a request that arrives late, when its job has moved on, changes nothing: it was asked for once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from common.items import job_key
from common.jobs import Job, Report, Status, Wait, WaitKind
from common.steps import wait_id
from common.wiring import Services
from tests.aws import Clock


@contextmanager
def recorded(services: Services) -> Iterator[list[dict[str, Any]]]:
    """The parameters of every update meanwhile."""
    seen: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        seen.append(dict(params))

    events = services.store._client.meta.events
    events.register("provide-client-params.dynamodb.UpdateItem", note)
    try:
        yield seen
    finally:
        events.unregister("provide-client-params.dynamodb.UpdateItem", note)


def item(services: Services, job: Job) -> dict[str, Any]:
    table = services.settings.table_name
    return dict(services.store._client.get_item(TableName=table, Key=job_key(job.id), ConsistentRead=True)["Item"])


def arrive_late(services: Services, job: Job, requests: list[dict[str, Any]]) -> None:
    """None of them has any effect."""
    client, before = services.store._client, item(services, job)
    assert requests
    for request in requests:
        with pytest.raises(client.exceptions.ConditionalCheckFailedException):
            client.update_item(**request)
    assert item(services, job) == before


def test_a_claim(services: Services, make_job: Callable[..., Job], clock: Clock) -> None:
    job = make_job()
    with recorded(services) as claims:
        held = services.store.claim(job.id, token="first", now=clock())
    services.store.put_back(held, Report(), 1.0, clock())
    arrive_late(services, job, claims)
    assert services.store.claim(job.id, token="second", now=clock()).attempt == 1


def test_a_cancellation_of_a_job_that_was_begun_anew_since(
    services: Services, make_job: Callable[..., Job], clock: Clock
) -> None:
    job = make_job()
    with recorded(services) as requests:
        cancelled = services.store.request_cancel(job, "cancel", clock())
    services.store.revive(cancelled, "retry", clock())
    arrive_late(services, job, requests)


def test_a_wish_that_a_worker_stop_what_has_ended_and_was_begun_anew_since(
    services: Services, make_job: Callable[..., Job], clock: Clock
) -> None:
    job = services.store.claim(make_job().id, token="first", now=clock())
    with recorded(services) as requests:
        asked = services.store.request_cancel(job, "cancel", clock())
    assert asked.cancel_requested
    ended = services.store.end_cancelled(job, Report(), clock())
    services.store.revive(ended, "retry", clock())
    again = services.store.claim(job.id, token="second", now=clock())
    arrive_late(services, job, requests)
    assert not services.store.is_cancel_requested(again)
    # Who read the job before it was begun anew, and asks now, means the job as it is.
    assert services.store.request_cancel(job, "another", clock()).cancel_requested


def test_the_waking_of_a_parent(services: Services, make_job: Callable[..., Job], clock: Clock) -> None:
    job = services.store.claim(make_job().id, token="first", now=clock())
    waits = {wait_id("one"): Wait("one", WaitKind.CHILDREN, clock() + 600)}
    services.store.wait(job, waits, Report(), 1.0, clock())
    with recorded(services) as requests:
        assert services.store.wake_parent(job.id, "one", "woken", clock()) is not None
    again = services.store.claim(job.id, token="second", now=clock())
    assert services.store.wait(again, waits, Report(), 1.0, clock()).status is Status.WAITING
    arrive_late(services, job, requests)
