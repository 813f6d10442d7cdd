"""A job that its owner retries goes on from where it stopped, or from the step that the owner names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.jobs import Job
from common.tasks import Context, Registry, _defined
from common.wiring import Services
from tests.conftest import Api
from tests.functions.conftest import FAST, Effects
from tests.functions.single_jobs import Given


def test_a_retry_goes_on_from_where_it_stopped(
    services: Services, make_job: Callable[..., Job], make_worker: Any, registry: Registry, api: Api, effects: Effects
) -> None:
    mended: list[bool] = []

    async def three(ctx: Context, input: Given) -> list[str]:
        def note(name: str) -> str:
            effects[name] += 1
            if name == "c" and not mended:
                raise TypeError("broken")
            return name

        return [await ctx.step(name, note, name) for name in "abc"]

    registry.add(_defined(three))
    job = make_job(task="three")
    worker = make_worker(registry=registry, pace=FAST)
    services.queues.send(job)
    worker()
    assert api.job(job.id)["status"] == "failed"
    retried = api("POST", f"/jobs/{job.id}/retry")
    assert (retried.status, retried.json()["status"], retried.json()["error"]) == (202, "pending", None)
    assert api("POST", f"/jobs/{job.id}/retry").status == 409
    mended.append(True)
    worker()
    ended = api.job(job.id)
    assert (ended["status"], ended["attempt"], ended["max_attempts"]) == ("completed", 2, 4)
    assert effects == {"a": 1, "b": 1, "c": 2}
    assert api("POST", f"/jobs/{job.id}/retry").status == 409  # completed


def test_a_retry_can_forget_a_step_and_those_after_it(
    services: Services, make_job: Callable[..., Job], make_worker: Any, registry: Registry, api: Api, effects: Effects
) -> None:
    async def three(ctx: Context, input: Given) -> None:
        def note(name: str) -> None:
            effects[name] += 1

        for name in "abc":
            await ctx.step(name, note, name)
        raise TypeError("broken")

    registry.add(_defined(three))
    job = make_job(task="three")
    worker = make_worker(registry=registry, pace=FAST)
    services.queues.send(job)
    worker()
    assert api("POST", f"/jobs/{job.id}/retry", from_step="nonsense").status == 422
    assert api("POST", f"/jobs/{job.id}/retry", from_step="b").status == 202
    worker()
    assert effects == {"a": 1, "b": 2, "c": 2}
    assert api.as_owner(services, "other")("POST", f"/jobs/{job.id}/retry").status == 404
