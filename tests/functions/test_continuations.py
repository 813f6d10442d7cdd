"""Jobs that are longer than an invocation go on in the next one, and the job's limits count them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from common.jobs import DAY, Job
from common.tasks import Context, Registry, _defined
from common.wiring import Services
from tests.aws import Clock
from tests.functions.conftest import FAST, Effects
from tests.functions.single_jobs import Given, failed
from tests.handlers import Api


@pytest.fixture
def on_clock(
    services: Services, make_worker: Any, make_job: Any, registry: Registry
) -> Callable[..., tuple[Job, list[Job]]]:
    """Runs a job to its end in invocations of 900 s by the controlled clock: the job, and as it was after each one."""

    def run_through(function: Callable[..., Any], **options: Any) -> tuple[Job, list[Job]]:
        registry.add(_defined(function))
        job: Job = make_job(task=function.__name__, **options)
        worker = make_worker(registry=registry, pace=FAST)
        services.queues.send(job)
        seen: list[Job] = []
        while not job.status.is_final and len(seen) < 30:
            worker()
            found = services.store.get(job.id, services.clock(), consistent=True)
            assert found is not None
            seen.append(job := found)
        return job, seen

    return run_through


#: Three of these are as many as an invocation of 900 s has time for.
LONG = 280


@pytest.mark.parametrize("plain", [True, False])
def test_a_job_goes_on_in_another_invocation(
    on_clock: Callable[..., tuple[Job, list[Job]]], clock: Clock, effects: Effects, plain: bool
) -> None:
    def work(n: int) -> int:
        effects[str(n)] += 1
        clock.advance(LONG)
        return n

    def stepping(ctx: Context, input: Given) -> int:
        return sum([ctx.step("work", work, n, key=str(n)) for n in range(8)])

    async def stepping_on(ctx: Context, input: Given) -> int:
        return sum([await ctx.step("work", work, n, key=str(n)) for n in range(8)])

    job, seen = on_clock(stepping if plain else stepping_on, max_attempts=1, timeout_seconds=DAY)
    assert [found.status for found in seen] == ["pending", "pending", "completed"]
    assert [(found.attempt, found.continuations) for found in seen] == [(1, 1), (1, 2), (1, 2)]
    assert job.result is not None
    assert job.result.inline == "28"
    assert set(effects.values()) == {1}, "a step is not broken off for it"


def test_the_time_limit_counts_all_runs(
    on_clock: Callable[..., tuple[Job, list[Job]]], clock: Clock, effects: Effects
) -> None:
    def work(n: int) -> None:
        effects["steps"] += 1
        clock.advance(LONG)

    async def stepping(ctx: Context, input: Given) -> None:
        for n in range(100):
            await ctx.step("work", work, n, key=str(n))

    job, seen = on_clock(stepping, timeout_seconds=2_000)
    assert failed(job) == ("TaskTimeout", False)
    assert (len(seen), effects["steps"]) == (3, 8)


def test_a_task_without_steps_that_takes_too_long_says_what_to_do(
    begin: Callable[..., Job], again: Callable[..., Job]
) -> None:
    async def endless(ctx: Context, input: Given) -> None:
        await asyncio.sleep(60)

    ended = again(begin(endless, timeout_seconds=3_600).id, seconds=1)
    assert failed(ended) == ("TaskTimeout", False)
    assert "steps" in (ended.error.message if ended.error else "")


def test_many_continuations_do_not_make_the_job_s_item_grow(
    begin: Callable[..., Job], real_time: Services, api: Api
) -> None:
    from common.jobs import Report

    async def nothing(ctx: Context, input: Given) -> None:
        pass

    job = begin(nothing)
    for n in range(30):
        held = real_time.store.claim(job.id, token=f"t{n}", now=real_time.clock())
        job = real_time.store.put_back(held, Report(), 1.0, real_time.clock())
    assert job.attempt == 1
    assert len(job.history) < 30
    events, after = [], 0
    while page := api("GET", f"/jobs/{job.id}/events", after=after, limit=50).json()["events"]:
        events += page
        after = page[-1]["seq"]
    assert [event["seq"] for event in events] == list(range(1, job.last_event + 1))
    assert job.last_event == 61
    assert {event["data"]["attempt"] for event in events[1:]} == {1}
