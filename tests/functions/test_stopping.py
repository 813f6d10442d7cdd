"""Tasks are stopped at their time limit or their owner's wish, and their neighbours are not touched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from common.errors import Permanent
from common.jobs import Job, Status
from common.tasks import Context, Registry, _defined
from common.wiring import Services
from tests.functions.conftest import FAST, Run
from tests.functions.single_jobs import Given, ask_to_cancel, now, result


def test_async_code_is_stopped_at_its_next_await(run: Run) -> None:
    cleaned: list[bool] = []

    async def slow(input: Given) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    job = run(slow, timeout_seconds=1)
    assert job.status is Status.FAILED
    assert job.error is not None
    assert (job.error.type, job.error.message) == ("TaskTimeout", "Task timed out after 1 s")
    assert cleaned == [True]


def test_plain_code_that_never_yields_is_stopped(run: Run) -> None:
    turns = [0]

    def endless(input: Given) -> None:
        while True:
            turns[0] += 1

    assert is_stopped(run(endless, timeout_seconds=1), turns)


def test_async_code_that_never_yields_is_stopped(run: Run) -> None:
    turns = [0]

    async def endless(input: Given) -> None:
        while True:
            turns[0] += 1

    assert is_stopped(run(endless, timeout_seconds=1), turns)


def is_stopped(job: Job, turns: list[int]) -> bool:
    return job.error is not None and job.error.type == "TaskTimeout" and stands_still(turns)


def stands_still(turns: list[int]) -> bool:
    """The job ends on its own; its thread ends when it next gets the processor, which a busy machine may deny it."""
    for _ in range(200):
        before = turns[0]
        threading.Event().wait(0.05)
        if turns[0] == before:
            return True
    return False


def test_a_call_that_cannot_be_interrupted_is_not_waited_for(run: Run, released: threading.Event) -> None:
    def stuck(input: Given) -> str:
        released.wait(30)
        return "too late"

    job = run(stuck, timeout_seconds=1)
    assert job.error is not None
    assert job.error.type == "TaskTimeout"


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_an_async_task_is_cancelled(run: Run, real_time: Services, registry: Registry) -> None:
    async def cancelled(ctx: Context, input: Given) -> None:
        ask_to_cancel(real_time, ctx.job_id)
        await asyncio.sleep(60)

    job = run(cancelled)
    assert job.status is Status.CANCELLED
    assert job.error is None


def test_a_plain_task_sees_that_it_is_to_stop(run: Run, real_time: Services) -> None:
    def looking(ctx: Context, input: Given) -> str:
        ask_to_cancel(real_time, ctx.job_id)
        while not ctx.cancelled:
            threading.Event().wait(0.01)
        ctx.progress(50)
        return "never"

    assert run(looking).status is Status.CANCELLED


def test_a_task_that_finishes_in_spite_of_it_has_finished(run: Run, real_time: Services, services: Services) -> None:
    def busy(ctx: Context, input: Given) -> str:
        ask_to_cancel(real_time, ctx.job_id)
        while not ctx.cancelled:
            threading.Event().wait(0.01)
        return "done"

    job = run(busy)
    assert (job.status, result(services, job)) == (Status.COMPLETED, '"done"')


def test_a_cancelled_job_is_not_tried_again(run: Run, real_time: Services) -> None:
    def failing(ctx: Context, input: Given) -> None:
        ask_to_cancel(real_time, ctx.job_id)
        raise ConnectionError

    assert run(failing).status is Status.CANCELLED


def test_neighbours_are_not_touched(real_time: Services, registry: Registry, make_worker: Any, make_job: Any) -> None:
    async def slow(input: Given) -> None:
        await asyncio.sleep(60)

    async def blocking(input: Given) -> None:
        while True:
            pass

    async def failing(input: Given) -> None:
        raise Permanent("no")

    async def good(input: Given) -> str:
        await asyncio.sleep(1.5)
        return "good"

    made = {}
    for function in (slow, blocking, failing, good):
        registry.add(_defined(function))
        limit = 300 if function is good else 1
        made[function.__name__] = make_job(task=function.__name__, timeout_seconds=limit, max_attempts=1)
        real_time.queues.send(made[function.__name__])

    assert make_worker(services=real_time, registry=registry, pace=FAST)() == []

    ends = {name: now(real_time, job) for name, job in made.items()}
    assert {name: job.error and job.error.type for name, job in ends.items()} == {
        "slow": "TaskTimeout",
        "blocking": "TaskTimeout",
        "failing": "Permanent",
        "good": None,
    }
    assert result(real_time, ends["good"]) == '"good"'


def test_async_tasks_of_a_batch_run_side_by_side(
    real_time: Services, registry: Registry, make_worker: Any, make_job: Any
) -> None:
    together = threading.Barrier(10, timeout=20)

    async def meeting(input: Given) -> None:
        await asyncio.to_thread(together.wait)  # nobody passes before all ten are there

    registry.add(_defined(meeting))
    jobs = [make_job(task="meeting") for _ in range(10)]
    for job in jobs:
        real_time.queues.send(job)
    make_worker(services=real_time, registry=registry, pace=FAST)()
    assert {now(real_time, job).status for job in jobs} == {Status.COMPLETED}
