"""A job that its owner retries goes on from where it stopped, or from the step that the owner names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from common.jobs import Job
from common.tasks import Context, Registry, _defined
from common.wiring import Services
from tests.functions.conftest import FAST, Effects
from tests.functions.single_jobs import Given
from tests.handlers import Api, Worker


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


@pytest.fixture
def failing(
    services: Services, make_job: Callable[..., Job], make_worker: Any, registry: Registry
) -> tuple[Job, Worker]:
    """A job with a finished step that fails each time, once it has; and its worker."""

    async def three(ctx: Context, input: Given) -> None:
        await ctx.step("first", str, 1)
        raise TypeError("broken")

    registry.add(_defined(three))
    job, worker = make_job(task="three"), make_worker(registry=registry, pace=FAST)
    services.queues.send(job)
    worker()
    return job, worker


@pytest.mark.parametrize("query", [{}, {"from_step": "first"}])
def test_one_key_begins_a_job_anew_once(failing: tuple[Job, Worker], api: Api, query: dict[str, Any]) -> None:
    job, worker = failing
    retry = partial(api, "POST", f"/jobs/{job.id}/retry", **query)
    first = retry(headers={"idempotency-key": '"again"'})
    replayed = retry(headers={"idempotency-key": "again"})
    assert (first.status, first.headers.get("idempotent-replayed")) == (202, None)
    assert (replayed.status, replayed.headers["idempotent-replayed"]) == (202, "true")
    assert replayed.json()["status"] == "pending"
    worker()
    # The answer was lost, and the job has failed since: the client that asks once more does not mean another go.
    late = retry(headers={"idempotency-key": "again"})
    assert (late.status, late.json()["status"], late.json()["attempt"]) == (202, "failed", 2)
    worker()
    assert api.job(job.id)["attempt"] == 2
    assert retry(headers={"idempotency-key": "another"}).json()["status"] == "pending"
    worker()
    assert api.job(job.id)["attempt"] == 3


def test_a_key_that_is_none_is_refused(failing: tuple[Job, Worker], api: Api) -> None:
    job, _ = failing
    assert api("POST", f"/jobs/{job.id}/retry", headers={"idempotency-key": "no key"}).status == 400
    assert api.job(job.id)["status"] == "failed"
