"""The worker: attempts end as they should, whatever the task does."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from common.errors import Permanent, Retryable
from common.jobs import Job, Payload, Progress, Status
from common.wiring import Services
from tests.aws import Clock, message_count
from tests.functions.conftest import Run
from tests.functions.single_jobs import Given, now, result
from tests.handlers import Worker


def test_what_a_task_returns_is_its_result(run: Run, services: Services) -> None:
    async def answering(input: Given) -> Any:
        return [Progress(percent=5), Given.model_validate({"text": "ü"})]

    job = run(answering)
    assert job.status is Status.COMPLETED
    assert result(services, job) == '[{"percent":5,"current":null,"total":null,"message":null},{"text":"ü"}]'
    assert [(change.seq, change.status) for change in job.history] == [(1, "pending"), (2, "running"), (3, "completed")]


def test_a_plain_function_runs_too_and_may_take_no_context(run: Run, services: Services) -> None:
    def plain(input: Given) -> str:
        return threading.current_thread().name

    job = run(plain)
    assert result(services, job) == f'"job-{job.id[:8]}"'


@pytest.mark.parametrize(
    "value",
    [math.nan, {"v": math.inf}, object(), "\ud800", b"\xff"],
    ids=["nan", "infinity", "object", "surrogate", "bytes"],
)
def test_a_result_that_json_cannot_say_is_a_permanent_failure(run: Run, value: Any) -> None:
    def odd(input: Given) -> Any:
        return value

    job = run(odd)
    assert job.status is Status.FAILED
    assert job.error is not None
    assert (job.error.type, job.error.retryable) == ("ResultNotStorable", False)


def test_a_passing_error_is_tried_again_after_a_wait(run: Run, real_time: Services, clock: Clock) -> None:
    async def flaky(input: Given) -> None:
        raise ConnectionError("no route")

    job = run(flaky)

    assert job.status is Status.PENDING
    assert job.run_at == pytest.approx(job.updated_at + 2, abs=0.002)  # 4 s, halved by the jitter
    assert job.history[-1].detail["error"]["message"] == "no route"
    assert message_count(real_time) == 0  # delayed


def test_a_provider_s_wait_is_honoured(run: Run) -> None:
    async def throttled(input: Given) -> None:
        raise Retryable("busy", after=77)

    job = run(throttled)
    assert job.run_at == pytest.approx(job.updated_at + 77, abs=0.002)


@pytest.mark.parametrize("error", [Permanent("no"), TypeError("a bug")], ids=repr)
def test_a_lasting_error_fails_at_once(run: Run, error: Exception) -> None:
    async def hopeless(input: Given) -> None:
        raise error

    job = run(hopeless)
    assert job.status is Status.FAILED
    assert job.error is not None
    assert (job.error.type, job.error.message, job.error.attempt) == (type(error).__name__, str(error), 1)


def test_the_last_attempt_s_error_is_the_job_s(run: Run) -> None:
    def flaky(input: Given) -> None:
        raise OSError("again")

    job = run(flaky, max_attempts=1)
    assert job.status is Status.FAILED
    assert job.error is not None
    assert (job.error.type, job.error.retryable) == ("OSError", True)


def test_an_error_s_message_is_kept_within_bounds(run: Run) -> None:
    def loud(input: Given) -> None:
        raise Permanent("\ud800" + "x" * 10_000)

    job = run(loud)
    assert job.error is not None
    assert len(job.error.message) == 4_000


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_even_an_exit_is_only_the_job_s_end(run: Run, error: BaseException) -> None:
    def leaving(input: Given) -> None:
        raise error

    assert run(leaving).status is Status.FAILED


def test_an_input_that_fits_no_more_fails(run: Run) -> None:
    class Strict(BaseModel):
        needed: int

    def strict(input: Strict) -> None: ...

    strict.__annotations__ = {"input": Strict, "return": None}
    job = run(strict, input=Payload(size=2, inline="{}"))
    assert job.error is not None
    assert job.error.type == "InvalidInput"
    assert "needed" in job.error.message


def test_a_task_that_this_worker_does_not_have_is_left_to_a_newer_one(
    worker: Worker, services: Services, make_job: Any
) -> None:
    job = make_job(task="from_the_future")
    services.queues.send(job)
    worker()
    assert now(services, job).status is Status.PENDING


def test_an_ending_that_cannot_be_written_at_first_is_written_later(
    run: Run, real_time: Services, monkeypatch: pytest.MonkeyPatch, services: Services
) -> None:
    complete, failures = real_time.store.complete, iter([True, False])

    def unreliable(*arguments: Any) -> Job:
        if next(failures):
            raise ConnectionError
        return complete(*arguments)

    monkeypatch.setattr(real_time.store, "complete", unreliable)

    def good(input: Given) -> str:
        return "kept"

    assert result(services, run(good)) == '"kept"'
