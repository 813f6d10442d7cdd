"""Steps, continuations, sleeps and questions: real handlers on moto, most on a controlled clock."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from common.jobs import DAY, LEASE, Job, Status
from common.tasks import Context, Registry, Retryable, _defined
from common.wiring import Services
from functions.worker.supervision import Pace
from tests.conftest import Api, Clock, Worker, client
from tests.functions.conftest import FAST, Run


class Given(BaseModel):
    n: int = 0


#: How often each effect happened.
Effects = Counter[str]


@pytest.fixture
def effects() -> Effects:
    return Counter()


@pytest.fixture
def again(real_time: Services, make_worker: Any, registry: Registry) -> Callable[..., Job]:
    """Runs the job's next invocation, as if its message came; `seconds` is how long the function may run."""

    def run_again(job_id: str, *, seconds: float = 900) -> Job:
        worker: Worker = make_worker(services=real_time, registry=registry, pace=FAST, chance=lambda: 0.0)
        client("sqs").delete_queue(QueueUrl=real_time.settings.queue_url)
        client("sqs").create_queue(QueueName=real_time.settings.queue_url.rpartition("/")[2])
        job = real_time.store.get(job_id, 0, consistent=True)
        assert job is not None
        real_time.queues.send(job)
        records = worker.receive()
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: seconds * 1000)
        worker.handler({"Records": records}, context)
        found = real_time.store.get(job_id, 0, consistent=True)
        assert found is not None
        return found

    return run_again


@pytest.fixture
def begin(registry: Registry, make_job: Any, real_time: Services) -> Callable[..., Job]:
    def begin_one(function: Callable[..., Any], **options: Any) -> Job:
        task = options.pop("task", {})
        registry.add(_defined(function, **task))
        made: Job = make_job(task=function.__name__, created_at=real_time.clock(), **options)
        return made

    return begin_one


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


def failed(job: Job) -> tuple[str, bool]:
    assert job.status is Status.FAILED
    assert job.error is not None
    return job.error.type, job.error.retryable


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
    monkeypatch.setattr("functions.worker.durable.BASE", 0.01)

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


# ------------------------------------------------------------------ longer than an invocation


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


# ------------------------------------------------------------------ waiting


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


# ------------------------------------------------------------------ retried by its owner


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


def test_a_thread_of_an_async_task_can_have_steps(run: Run) -> None:
    async def threading_task(ctx: Context, input: Given) -> Any:
        return await asyncio.to_thread(lambda: ctx.step("inside", lambda: "a thread"))

    job = run(threading_task)
    assert job.result is not None
    assert job.result.inline == '"a thread"'
