"""The worker: attempts end as they should, whatever the task does, and a stale worker changes nothing."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from common.errors import LeaseLost, Permanent, Retryable
from common.jobs import LEASE, Job, Payload, Priority, Progress, Report, Status
from common.queue import Reminder
from common.tasks import Context, Registry, _defined
from common.wiring import Services
from tests.conftest import Clock, Worker, load_event, message_count
from tests.functions.conftest import FAST, Run


class Given(BaseModel):
    model_config = ConfigDict(extra="allow")


def now(services: Services, job: Job) -> Job:
    found = services.store.get(job.id, services.clock(), consistent=True)
    assert found is not None
    return found


def result(services: Services, job: Job) -> str:
    assert job.result is not None
    return services.payloads.get(job.id, job.result)


# ---------------------------------------------------------------------------------------- endings


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


# ---------------------------------------------------------------------------------------- time limits, cancelling


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

    job = run(endless, timeout_seconds=1)
    assert job.error is not None
    assert job.error.type == "TaskTimeout"
    assert stands_still(turns)


def test_async_code_that_never_yields_is_stopped(run: Run) -> None:
    turns = [0]

    async def endless(input: Given) -> None:
        while True:
            turns[0] += 1

    job = run(endless, timeout_seconds=1)
    assert job.error is not None
    assert job.error.type == "TaskTimeout"
    assert stands_still(turns)


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


def ask_to_cancel(services: Services, job_id: str) -> None:
    job = services.store.get(job_id, services.clock(), consistent=True)
    assert job is not None
    services.store.request_cancel(job, "c", services.clock())


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


# ---------------------------------------------------------------------------------------- progress, leases


def test_progress_is_written_now_and_then_and_at_the_end(
    run: Run, real_time: Services, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    async def counting(ctx: Context, input: Given) -> None:
        for n in range(1, 101):
            ctx.progress(current=n, total=100, message=f"{n} of 100")
            await asyncio.sleep(0.002)

    job = run(counting)
    assert job.progress == Progress(percent=100, current=100, total=100, message="100 of 100")
    writes = [
        given for name, given in calls if name == "UpdateItem" and "progress" in str(given["ExpressionAttributeNames"])
    ]
    assert 3 <= len(writes) <= 20  # claim and ending name it too


def test_progress_starts_anew_with_an_attempt(services: Services, make_job: Any, clock: Clock) -> None:
    job = services.store.claim(make_job().id, token="one", now=clock())
    services.store.report(job, Report(Progress(percent=90)), clock())
    clock.advance(LEASE + 1)
    assert services.store.claim(job.id, token="two", now=clock()).progress is None


def test_a_long_attempt_renews_lease_and_message_together(run: Run, calls: list[tuple[str, dict[str, Any]]]) -> None:
    async def long(input: Given) -> None:
        await asyncio.sleep(0.5)

    assert run(long).status is Status.COMPLETED
    renewals = [given for name, given in calls if (name == "UpdateItem" and "lease_until" in given["UpdateExpression"]) or
                (name == "UpdateItem" and "lease_until" in str(given["ExpressionAttributeNames"]))]  # fmt: skip
    hidden = [given["VisibilityTimeout"] for name, given in calls if name == "ChangeMessageVisibility"]
    assert len(hidden) >= 2
    assert set(hidden) == {65}
    assert len(renewals) >= len(hidden)
    assert [name for name, _ in calls].count("DeleteMessage") == 1  # its neighbours may run for long


def test_a_short_attempt_costs_no_more_than_its_claim_and_its_end(
    run: Run, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    def short(input: Given) -> None: ...

    run(short)
    assert sorted(name for name, _ in calls) == ["GetItem", "PutItem", "SendMessage", "UpdateItem", "UpdateItem"]


def test_a_worker_that_lost_its_lease_stops_and_changes_nothing(
    run: Run, real_time: Services, services: Services
) -> None:
    stopped: list[bool] = []

    async def overtaken(ctx: Context, input: Given) -> str:
        taken = real_time.store.claim(ctx.job_id, token="another", now=real_time.clock() + LEASE + 1)
        real_time.store.complete(taken, Payload(size=5, inline='"won"'), Report(), real_time.clock())
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(True)
        return "lost"

    job = run(overtaken)
    assert (job.status, job.attempt, result(services, job)) == (Status.COMPLETED, 2, '"won"')
    assert stopped == [True]


def test_every_write_of_a_stale_worker_is_refused(services: Services, make_job: Any, clock: Clock) -> None:
    from common.jobs import Failure

    stale = services.store.claim(make_job().id, token="stale", now=clock())
    clock.advance(LEASE + 1)
    services.store.claim(stale.id, token="new", now=clock())
    failure = Failure("X", "x", retryable=True, attempt=1)
    writes: list[Callable[[], object]] = [
        lambda: services.store.renew(stale, clock()),
        lambda: services.store.report(stale, Report(Progress(percent=1)), clock()),
        lambda: services.store.complete(stale, Payload(size=2, inline="{}"), Report(), clock()),
        lambda: services.store.fail(stale, failure, Report(), clock()),
        lambda: services.store.end_cancelled(stale, Report(), clock()),
        lambda: services.store.retry(stale, failure, clock(), Report(), clock()),
    ]
    before = now(services, stale)
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert now(services, stale) == before


# ---------------------------------------------------------------------------------------- messages


def test_messages_fail_on_their_own(worker: Worker, services: Services, make_job: Any) -> None:
    good = make_job()
    services.queues.send(good)
    records = worker.receive()
    junk = load_event("worker")["Records"][0] | {"messageId": "junk", "body": "not a message"}
    assert worker.handle([junk, *records]) == ["junk"]
    assert now(services, good).status is Status.COMPLETED


@pytest.mark.parametrize("body", ["", "{}", "[]", "null", '{"job": 7}', '{"job": "../x"}', "\x00"])
def test_a_message_that_names_no_job_goes_to_the_dead_letters(worker: Worker, body: str) -> None:
    record = load_event("worker")["Records"][0] | {"body": body}
    assert worker.handle([record]) == [record["messageId"]]


def test_a_message_for_a_forgotten_job_is_done_with(worker: Worker, services: Services) -> None:
    services.queues.of(Priority.NORMAL).remind(Reminder("0" * 32))
    assert worker() == []


def test_a_copy_of_a_message_runs_nothing_twice(worker: Worker, services: Services, make_job: Any) -> None:
    job = make_job()
    services.queues.send(job)
    services.queues.send(job)
    assert worker() == []
    assert now(services, job).attempt == 1


def test_a_message_that_came_back_waits_for_the_lease_to_end(
    worker: Worker, services: Services, make_job: Any, clock: Clock, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    job = services.store.claim(make_job().id, token="maybe dead", now=clock())
    services.queues.send(job)
    record = worker.receive()[0]
    record["attributes"]["ApproximateReceiveCount"] = "2"
    clock.advance(20)

    assert worker.handle([record]) == [record["messageId"]]

    assert [given["VisibilityTimeout"] for name, given in calls if name == "ChangeMessageVisibility"] == [41]
    clock.advance(41)
    assert worker.handle([record]) == []
    assert (now(services, job).status, now(services, job).attempt) == (Status.COMPLETED, 2)


def test_a_worker_that_died_in_its_last_attempt_ends_the_job(
    worker: Worker, services: Services, make_job: Any, clock: Clock
) -> None:
    job = services.store.claim(make_job(max_attempts=1).id, token="dead", now=clock())
    services.queues.send(job)
    clock.advance(LEASE + 1)
    worker()
    ended = now(services, job)
    assert ended.error is not None
    assert (ended.status, ended.error.type) == (Status.FAILED, "WorkerLost")
    assert ended.expires_at is not None


def test_a_lease_that_runs_out_while_its_claim_is_being_refused_ends_no_job_with_attempts_left(
    worker: Worker, services: Services, make_job: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by simulation: the answer took so long that the lease which had been in the way looked dead."""
    job = services.store.claim(make_job(max_attempts=3).id, token="living", now=clock())
    services.queues.send(job)
    claim = services.store.claim

    def slow(*arguments: Any, **options: Any) -> Job:
        try:
            return claim(*arguments, **options)
        finally:
            clock.advance(LEASE + 1)

    monkeypatch.setattr(services.store, "claim", slow)
    assert len(worker()) == 1
    assert (now(services, job).status, now(services, job).attempt) == (Status.RUNNING, 1)


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_wish_to_cancel_outlives_the_worker(
    worker: Worker, services: Services, make_job: Any, clock: Clock, attempts: int
) -> None:
    job = services.store.claim(make_job(max_attempts=attempts).id, token="dead", now=clock())
    services.store.request_cancel(job, "c", clock())
    services.queues.send(job)
    clock.advance(LEASE + 1)
    worker()
    assert now(services, job).status is Status.CANCELLED


def test_a_delayed_job_does_not_start_before_its_time(
    worker: Worker, services: Services, make_job: Any, clock: Clock
) -> None:
    job = make_job(run_at=clock() + 100)
    services.queues.send(job)
    assert len(worker()) == 1
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
