"""A worker that lost its lease begins and records no step, and one that lost an answer loses none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from common.jobs import LEASE, Job, Status
from common.tasks import Context, Registry, Retryable
from common.wiring import Services
from functions.worker.supervision import Pace
from tests.aws import Clock
from tests.functions.conftest import Effects
from tests.functions.single_jobs import Given
from tests.handlers import Worker


@pytest.mark.parametrize("plain", [True, False])
def test_a_worker_that_stood_still_until_its_lease_was_over_begins_no_step(
    begin: Callable[..., Job],
    again: Callable[..., Job],
    real_time: Services,
    effects: Effects,
    monkeypatch: pytest.MonkeyPatch,
    plain: bool,
) -> None:
    """Found by simulation: thawed before it had heard from the table, it began a step that the next worker had finished."""
    claim = real_time.store.claim

    def frozen(job_id: str, *, token: str, now: float) -> Job:
        mine = claim(job_id, token=token, now=now - LEASE - 10)
        claim(job_id, token="another", now=now)
        return mine

    def effect() -> None:
        effects["begun"] += 1

    def stepping(ctx: Context, input: Given) -> None:
        ctx.step("one", effect)

    async def stepping_on(ctx: Context, input: Given) -> None:
        await ctx.step("one", effect)

    job = begin(stepping if plain else stepping_on)
    monkeypatch.setattr(real_time.store, "claim", frozen)
    left = again(job.id)
    assert (left.status, left.token, left.attempt) == (Status.RUNNING, "another", 2)
    assert not effects


def test_a_step_is_recorded_though_the_answer_of_a_write_before_it_was_lost(
    begin: Callable[..., Job],
    again: Callable[..., Job],
    real_time: Services,
    effects: Effects,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page of the log was written, and nobody knows: what comes after it must not be taken for written, too."""
    flush, lost = real_time.store.flush, threading.Event()

    def losing(*arguments: Any) -> Job:
        job = flush(*arguments)
        if not lost.is_set():
            lost.set()
            raise ConnectionError("the answer was lost")
        return job

    monkeypatch.setattr(real_time.store, "flush", losing)

    async def stepping(ctx: Context, input: Given) -> None:
        def effect() -> None:
            effects["one"] += 1

        ctx.log("said before the step")
        await asyncio.to_thread(lost.wait, 30)
        await ctx.step("one", effect)
        if ctx.attempt < 2:
            raise Retryable("not yet")

    job = begin(stepping)
    again(job.id)
    assert set(real_time.store.steps(job)) == {"one"}
    assert (again(job.id).status, effects["one"]) == (Status.COMPLETED, 1)


def test_a_stale_worker_records_no_step(
    begin: Callable[..., Job], real_time: Services, make_worker: Any, registry: Registry, effects: Effects
) -> None:
    """Paused in the middle of its step, past its lease: another worker has the job when it comes to."""
    began, go_on = threading.Event(), threading.Event()

    def stepping(ctx: Context, input: Given) -> str:
        def effect() -> str:
            began.set()
            go_on.wait()
            return f"of attempt {ctx.attempt}"

        ctx.step("one", effect)
        ctx.log(f"said by attempt {ctx.attempt}")
        return "done"

    job = begin(stepping)
    # It hears nothing from the table while it is paused.
    frozen = Pace(progress=1_000, contact=1_000, renewal=1_000, patience=0.1, grace=0.4)
    real_time.queues.send(job)
    stale: Worker = make_worker(services=real_time, registry=registry, pace=frozen)
    thread = threading.Thread(target=stale, daemon=True)
    thread.start()
    assert began.wait(30)
    later = Clock()
    later.now = real_time.clock() + LEASE + 1
    taken = real_time.store.claim(job.id, token="new", now=later())
    go_on.set()
    thread.join(30)
    assert not thread.is_alive()
    found = real_time.store.get(job.id, 0, consistent=True)
    assert found is not None
    assert (found.status, found.token, found.last_event) == (Status.RUNNING, "new", taken.last_event)
    assert real_time.store.steps(found) == {}
