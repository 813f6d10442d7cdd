"""Watching over a task that will not stop: how often the worker looks is counted, since a loop without a rest shows there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from common.jobs import LEASE, Job, Status
from common.tasks import Context, Registry, _defined
from common.wiring import Services
from functions.worker.supervision import Pace
from tests.handlers import Worker

#: A task that will not stop is given up after a second, and meanwhile looked at each 0.1 s.
PACE = Pace(progress=0.1, contact=0.1, renewal=0.5, patience=0.2, grace=1)
#: Looks at the clock that this may take, with much room: a loop without a rest takes thousands.
MOST_LOOKS = 300


class Given(BaseModel):
    n: int = 0


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Ends the tasks that would not stop."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def looks(
    services: Services, make_job: Any, make_worker: Any, registry: Registry
) -> Callable[..., tuple[Job | None, int]]:
    """Runs a task as a job in an invocation of so many seconds: the job then, and how often the clock was looked at."""

    def run(function: Callable[..., Any], *, seconds: float = 900, **options: Any) -> tuple[Job | None, int]:
        looked = count()

        def counting() -> float:
            next(looked)
            return time.time()

        counted = replace(services, clock=counting)
        registry.add(_defined(function))
        job = make_job(task=function.__name__, created_at=time.time(), **options)
        services.queues.send(job)
        worker: Worker = make_worker(services=counted, registry=registry, pace=PACE)
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: seconds * 1000)
        worker.handler({"Records": worker.receive()}, context)
        return services.store.get(job.id, 0, consistent=True), next(looked)

    return run


def test_a_task_that_will_not_stop_at_the_invocation_s_end_is_waited_for_with_rests(
    looks: Callable[..., tuple[Job | None, int]], over: threading.Event
) -> None:
    def stubborn(ctx: Context, input: Given) -> None:
        ctx.step("one", lambda: 1)
        over.wait()

    job, looked = looks(stubborn, seconds=2, timeout_seconds=3_600)
    assert job is not None
    assert (job.status, job.continuations) == (Status.PENDING, 1)
    assert looked < MOST_LOOKS


@pytest.mark.parametrize("says", ["an event", "a step"])
def test_a_task_that_speaks_on_after_its_lease_was_lost_is_waited_for_with_rests(
    looks: Callable[..., tuple[Job | None, int]], over: threading.Event, services: Services, says: str
) -> None:
    def stubborn(ctx: Context, input: Given) -> None:
        services.store.claim(ctx.job_id, token="another", now=time.time() + LEASE + 1)
        if says == "an event":
            ctx.log("nobody will write this")
        else:
            ctx.step("never written", lambda: 1)
        over.wait()

    job, looked = looks(stubborn)
    assert job is not None
    assert (job.status, job.token) == (Status.RUNNING, "another")
    assert looked < MOST_LOOKS


def test_a_cancelled_task_that_will_not_stop_does_not_outlive_the_invocation(
    looks: Callable[..., tuple[Job | None, int]], over: threading.Event, services: Services
) -> None:
    """It may run up to its time limit, but Lambda would end its neighbours with it."""

    def stubborn(ctx: Context, input: Given) -> None:
        job = services.store.get(ctx.job_id, 0, consistent=True)
        assert job is not None
        services.store.request_cancel(job, "c", time.time())
        over.wait()

    job, looked = looks(stubborn, seconds=2, timeout_seconds=3_600)
    assert job is not None
    assert job.status is Status.CANCELLED
    assert looked < MOST_LOOKS
