"""Jobs that sleep or wait for a person cost nothing meanwhile, and go on where they were."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from common.jobs import DAY, Job, Status
from common.tasks import Context, Registry, _defined
from common.wiring import Services
from tests.aws import Clock
from tests.functions.conftest import FAST, Effects
from tests.functions.single_jobs import Given
from tests.handlers import Api


def test_three_days_of_waiting_for_a_person_cost_nothing(
    services: Services,
    clock: Clock,
    make_job: Callable[..., Job],
    make_worker: Any,
    registry: Registry,
    api: Api,
    sweep: Callable[[], int],
    calls: list[tuple[str, Any]],
) -> None:
    async def publish(ctx: Context, input: Given) -> str:
        draft = await ctx.step("draft", lambda: "a draft")
        answer = await ctx.ask("Publish?", schema=bool, timeout=7 * DAY)
        return f"{draft}: {answer}"

    registry.add(_defined(publish))
    job = make_job(task="publish")
    worker = make_worker(registry=registry, pace=FAST)
    services.queues.send(job)
    worker()
    found = api.job(job.id)
    assert found["status"] == "waiting"
    (question,) = found["questions"]
    assert (question["question"], question["schema"]) == ("Publish?", {"type": "boolean"})
    before = len(calls)
    for _ in range(3 * 24 * 60):  # the sweeper's own look, once a minute whatever there is, is all that happens
        clock.advance(60)
    assert sweep() == 0
    assert Counter(name for name, _ in calls[before:]) == {"Query": 4}
    for wrong in ("yes", None, 1, [True]):
        assert api("POST", f"/jobs/{job.id}/input", json={"answer": wrong}).status == 422
    answered = api("POST", f"/jobs/{job.id}/input", json={"answer": True})
    assert (answered.status, answered.json()["status"]) == (202, "pending")
    assert api("POST", f"/jobs/{job.id}/input", json={"answer": False}).status == 409
    worker()
    ended = api.job(job.id)
    assert (ended["status"], ended["attempt"], ended["result"]) == ("completed", 1, "a draft: True")


def test_nobody_answers(
    services: Services, clock: Clock, make_job: Callable[..., Job], make_worker: Any, registry: Registry, api: Api
) -> None:
    async def asking(ctx: Context, input: Given) -> None:
        await ctx.ask("Anybody?", timeout=3_600)

    registry.add(_defined(asking))
    job = make_job(task="asking")
    worker = make_worker(registry=registry, pace=FAST)
    services.queues.send(job)
    worker()
    clock.advance(3_601)
    services.queues.send(job)
    worker()
    ended = api.job(job.id)
    assert (ended["status"], ended["error"]["type"]) == ("failed", "NoAnswer")


def test_a_sleeping_job_is_woken_by_the_sweeper(
    services: Services,
    clock: Clock,
    make_job: Callable[..., Job],
    make_worker: Any,
    registry: Registry,
    sweep: Callable[[], int],
    effects: Effects,
) -> None:
    async def sleeping(ctx: Context, input: Given) -> str:
        effects["began"] += 1
        await ctx.sleep(hours=3)
        return "rested"

    registry.add(_defined(sleeping))
    job = make_job(task="sleeping")
    worker = make_worker(registry=registry, pace=FAST)
    services.queues.send(job)
    worker()
    waiting = services.store.get(job.id, clock(), consistent=True)
    assert waiting is not None
    assert waiting.status is Status.WAITING
    for _ in range(3):
        clock.advance(3_590)
        services.queues.send(job)  # a stray message does not wake it
        worker()
    assert effects["began"] == 1
    assert sweep() == 1
    clock.advance(40)
    services.queues.send(job)
    worker()
    ended = services.store.get(job.id, clock(), consistent=True)
    assert ended is not None
    assert (ended.status, ended.attempt, effects["began"]) == (Status.COMPLETED, 1, 2)


@pytest.mark.parametrize("together", [True, False])
def test_steps_and_waits_side_by_side(
    together: bool,
    services: Services,
    clock: Clock,
    make_job: Callable[..., Job],
    make_worker: Any,
    registry: Registry,
    api: Api,
    effects: Effects,
) -> None:
    async def both(ctx: Context, input: Given) -> list[Any]:
        async def work() -> str:
            await asyncio.sleep(0.05)
            effects["work"] += 1
            return "worked"

        return list(
            await asyncio.gather(
                ctx.ask("Left?", name="left"), ctx.step("work", work), ctx.ask("Right?", name="right", schema=int)
            )
        )

    registry.add(_defined(both))
    job = make_job(task="both")
    worker = make_worker(registry=registry, pace=FAST)
    services.queues.send(job)
    worker()
    questions = {one["question"]: one["id"] for one in api.job(job.id)["questions"]}
    assert set(questions) == {"Left?", "Right?"}
    assert effects["work"] == 1, "the step was finished before the task was left"
    assert api("POST", f"/jobs/{job.id}/input", json={"answer": "x"}).status == 422  # which of the two?
    body = {"answer": 5, "question": questions["Right?"]}
    assert api("POST", f"/jobs/{job.id}/input", json=body).status == 202
    if not together:
        worker()
    assert [one["question"] for one in api.job(job.id)["questions"]] == ["Left?"]
    assert api("POST", f"/jobs/{job.id}/input", json={"answer": "l"}).status == 202
    worker()
    assert api.job(job.id)["result"] == ["l", "worked", 5]
    assert effects["work"] == 1


def test_a_waiting_job_can_be_cancelled(
    services: Services, make_job: Callable[..., Job], make_worker: Any, registry: Registry, api: Api
) -> None:
    async def asking(ctx: Context, input: Given) -> None:
        await ctx.ask("Anybody?")

    registry.add(_defined(asking))
    job = make_job(task="asking")
    services.queues.send(job)
    make_worker(registry=registry, pace=FAST)()
    assert api("POST", f"/jobs/{job.id}/cancel").json()["status"] == "cancelled"
    assert api("POST", f"/jobs/{job.id}/input", json={"answer": "x"}).status == 409
