"""Steps: what is done is done once, whatever becomes of the attempt that did it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from common.jobs import Job, Status
from common.tasks import Context, Registry, Retryable, _defined
from common.wiring import Services
from tests.functions.conftest import Effects, Run
from tests.functions.single_jobs import Given, failed


def test_a_finished_step_is_not_run_again(
    begin: Callable[..., Job], again: Callable[..., Job], effects: Effects
) -> None:
    async def stepping(ctx: Context, input: Given) -> list[Any]:
        def note(name: str) -> str:
            effects[name] += 1
            return name.upper()

        first = await ctx.step("first", note, "a")
        both = await asyncio.gather(*(ctx.step("each", note, name, key=name) for name in "bc"))
        if ctx.attempt < 3:
            raise Retryable("not yet")
        return [first, *both]

    job = begin(stepping)
    assert [again(job.id).status for _ in range(3)] == ["pending", "pending", "completed"]
    assert effects == {"a": 1, "b": 1, "c": 1}


def test_a_plain_task_has_steps_too(begin: Callable[..., Job], again: Callable[..., Job], effects: Effects) -> None:
    def stepping(ctx: Context, input: Given) -> int:
        def add(n: int) -> int:
            effects[str(n)] += 1
            return n + 1

        total: int = sum(ctx.step("add", add, n, key=str(n)) for n in range(3))
        if ctx.attempt < 2:
            raise Retryable("not yet")
        return total

    job = begin(stepping)
    again(job.id)
    ended = again(job.id)
    assert (ended.status, ended.result and ended.result.inline) == ("completed", "6")
    assert set(effects.values()) == {1}


def test_the_log_says_which_steps_are_done(run: Run, services: Services) -> None:
    from tests.functions.test_events import log_of

    async def stepping(ctx: Context, input: Given) -> None:
        await ctx.step("one", lambda: 1)
        ctx.thought("between")
        await ctx.step("two", lambda: 2)

    log = [(kind, data) for _, kind, data in log_of(services, run(stepping))]
    assert [data["name"] for kind, data in log if kind == "step"] == ["one", "two"]
    assert [kind for kind, _ in log] == ["status", "status", "step", "thought", "step", "status"]


@pytest.mark.parametrize("size", [10, 5_000, 200_000])
def test_results_of_any_size_come_back_equal(begin: Callable[..., Job], again: Callable[..., Job], size: int) -> None:
    async def stepping(ctx: Context, input: Given) -> bool:
        value = await ctx.step("big", lambda: {"text": "é" * size, "n": 1.5})
        if ctx.attempt < 2:
            raise Retryable("not yet")
        return bool(value == {"text": "é" * size, "n": 1.5})

    job = begin(stepping)
    again(job.id)
    ended = again(job.id)
    assert ended.result is not None
    assert ended.result.inline == "true"


class Page(BaseModel):
    title: str


def test_a_result_can_be_typed(begin: Callable[..., Job], again: Callable[..., Job]) -> None:
    async def stepping(ctx: Context, input: Given) -> str:
        page = await ctx.step("page", lambda: Page(title="t"), result_type=Page)
        assert isinstance(page, Page)
        if ctx.attempt < 2:
            raise Retryable("not yet")
        return str(page.title)

    job = begin(stepping)
    again(job.id)
    assert again(job.id).status is Status.COMPLETED


def test_a_name_used_twice_is_an_error_at_once(run: Run, effects: Effects) -> None:
    async def stepping(ctx: Context, input: Given) -> None:
        await ctx.step("same", lambda: 1)
        await ctx.step("same", lambda: 2)

    assert failed(run(stepping)) == ("StepReused", False)


def test_a_result_that_cannot_be_stored_is_a_permanent_error(run: Run) -> None:
    async def stepping(ctx: Context, input: Given) -> None:
        await ctx.step("odd", threading.Lock)

    assert failed(run(stepping)) == ("ResultNotStorable", False)


def test_a_changed_task_is_found_out(begin: Callable[..., Job], again: Callable[..., Job]) -> None:
    changed = {"argument": 1}

    async def stepping(ctx: Context, input: Given) -> None:
        await ctx.step("fetch", lambda n: n, changed["argument"])
        raise Retryable("not yet")

    job = begin(stepping)
    again(job.id)
    changed["argument"] = 2
    ended = again(job.id)
    assert failed(ended) == ("StepMismatch", False)
    assert "'fetch'" in (ended.error.message if ended.error else "")


def test_jobs_keep_the_version_that_they_began_with(
    begin: Callable[..., Job], again: Callable[..., Job], registry: Registry
) -> None:
    async def growing(ctx: Context, input: Given) -> str:
        await ctx.step("old", lambda: 1)
        if ctx.attempt < 2:
            raise Retryable("not yet")
        return "old"

    job = begin(growing)
    again(job.id)

    async def newer(ctx: Context, input: Given) -> str:
        return "new"

    registry.add(_defined(newer, name="growing", version=2))
    ended = again(job.id)
    assert ended.result is not None
    assert ended.result.inline == '"old"'


def test_a_step_is_tried_again_by_itself(run: Run, effects: Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.worker.trying.BASE", 0.01)

    async def stepping(ctx: Context, input: Given) -> str:
        async def flaky() -> str:
            effects["tried"] += 1
            if effects["tried"] < 3:
                raise ConnectionError("down")
            return "up"

        return str(await ctx.step("flaky", flaky, retries=2))

    job = run(stepping)
    assert (job.status, job.attempt, effects["tried"]) == ("completed", 1, 3)


@pytest.mark.parametrize("plain", [True, False])
def test_a_step_has_a_time_limit_of_its_own(run: Run, plain: bool) -> None:
    over = threading.Event()

    def waiting(ctx: Context, input: Given) -> None:
        ctx.step("slow", over.wait, timeout=0.05)

    async def waiting_on(ctx: Context, input: Given) -> None:
        await ctx.step("slow", asyncio.sleep, 60, timeout=0.05)

    try:
        job = run(waiting if plain else waiting_on, max_attempts=1)
    finally:
        over.set()
    assert failed(job)[0] == "TimeoutError"


def test_a_thread_of_an_async_task_can_have_steps(run: Run) -> None:
    async def threading_task(ctx: Context, input: Given) -> Any:
        return await asyncio.to_thread(lambda: ctx.step("inside", lambda: "a thread"))

    job = run(threading_task)
    assert job.result is not None
    assert job.result.inline == '"a thread"'
