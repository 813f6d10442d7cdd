"""Children: begun by a step, waited for without a worker, gathered by their parent; on moto, by the table's own stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from common.errors import Permanent
from common.jobs import Job, Status
from common.tasks import Context, Registry, _defined
from common.wiring import Services
from functions.webhooks.delivering import Courier
from tests.aws import Clock, client
from tests.functions.conftest import FAST
from tests.handlers import Api, Worker
from tests.post import Post, post_office
from tests.receiver import receiving


class Part(BaseModel):
    n: int


class Whole(BaseModel):
    size: int = 5
    concurrency: int | None = None
    fail_fast: bool = False


#: What ran, by task.
Runs = Counter[str]


@pytest.fixture
def runs() -> Runs:
    return Counter()


@pytest.fixture
def post(services: Services, clock: Clock) -> Iterator[Post]:
    with post_office(services, clock, lambda: Courier(services, lambda: 0.5)) as office:
        yield office


@pytest.fixture
def worker(services: Services, registry: Registry, make_worker: Any, runs: Runs) -> Worker:
    def part(ctx: Context, input: Part) -> dict[str, int]:
        runs["part"] += 1
        if input.n % 20 == 7:
            raise Permanent(f"{input.n} is bad")
        return {"square": input.n**2}

    async def whole(ctx: Context, input: Whole) -> Any:
        runs["whole"] += 1
        inputs = [Part(n=n) for n in range(input.size)]
        found = await ctx.gather(part, inputs, concurrency=input.concurrency, fail_fast=input.fail_fast)
        return [child.result["square"] if child.ok else child.error for child in found]

    def plainly(ctx: Context, input: Whole) -> Any:
        runs["plainly"] += 1
        return [child.ok for child in ctx.gather("part", [{"n": n} for n in range(input.size)])]

    for function in (part, whole, plainly):
        registry.add(_defined(function))
    made: Worker = make_worker(registry=registry, pace=FAST, chance=lambda: 0.5)
    return made


@pytest.fixture
def settle(services: Services, post: Post, worker: Worker) -> Callable[..., int]:
    """Lets the worker and the notifier run until nothing is left to do; returns how many messages were handled."""

    def run(*, most: int = 100, repeat_stream: bool = False) -> int:
        from functions.notifier.records import notify

        handled = 0
        for _ in range(most):
            records = worker.receive()
            if records:
                worker.handle(records)
            seen = post.records()
            for _ in range(2 if repeat_stream else 1):
                assert notify(services, seen) == {"batchItemFailures": []}
            handled += len(records)
            if not records and not seen:
                return handled
        raise AssertionError("it goes on and on")

    return run


def begin(
    services: Services,
    make_job: Callable[..., Job],
    options: dict[str, Any] | None = None,
    *,
    task: str = "whole",
    **given: Any,
) -> Job:
    from common.jobs import Payload

    text = Whole(**given).model_dump_json()
    job = make_job(task=task, input=Payload(size=len(text), inline=text), **options or {})
    services.queues.send(job)
    return job


@pytest.mark.parametrize("repeat_stream", [False, True])
def test_children_s_results_come_in_order_and_their_parent_is_woken_once(
    services: Services, make_job: Any, settle: Any, runs: Runs, api: Api, repeat_stream: bool
) -> None:
    job = begin(services, make_job, size=15)
    settle(repeat_stream=repeat_stream)
    ended = api.job(job.id)
    assert ended["status"] == "completed", list(services.families.all(job))
    assert ended["result"] == [f"{n} is bad" if n % 20 == 7 else n**2 for n in range(15)]
    assert runs == {"part": 15, "whole": 2}


def test_a_plain_task_has_children_too(services: Services, make_job: Any, settle: Any, runs: Runs, api: Api) -> None:
    job = begin(services, make_job, task="plainly", size=8)
    settle()
    assert api.job(job.id)["result"] == [True] * 7 + [False]
    assert runs == {"part": 8, "plainly": 2}


def test_no_children_are_no_wait(services: Services, make_job: Any, settle: Any, runs: Runs, api: Api) -> None:
    job = begin(services, make_job, size=0)
    settle()
    assert (api.job(job.id)["result"], runs["whole"]) == ([], 1)


def test_no_more_than_allowed_run_at_a_time(
    services: Services, make_job: Any, worker: Worker, post: Post, api: Api, runs: Runs
) -> None:
    from functions.notifier.records import notify

    job = begin(services, make_job, size=12, concurrency=4)
    for _ in range(60):
        if records := worker.receive():
            worker.handle(records)
        (family,) = services.families.all(job)
        assert family.made - family.ended <= 4
        notify(services, post.records())
    assert api.job(job.id)["status"] == "completed"
    assert runs["part"] == 12
    assert runs["whole"] <= 7


def test_the_first_failure_can_be_enough(services: Services, make_job: Any, settle: Any, runs: Runs, api: Api) -> None:
    job = begin(services, make_job, size=30, concurrency=4, fail_fast=True)
    settle()
    ended = api.job(job.id)
    assert (ended["status"], ended["error"]["type"]) == ("failed", "ChildFailed")
    assert "7 is bad" in ended["error"]["message"]
    assert runs["part"] < 20


def test_children_are_cancelled_with_their_parent(
    services: Services, make_job: Any, worker: Worker, settle: Any, runs: Runs, api: Api
) -> None:
    job = begin(services, make_job, size=12)
    worker.handle(worker.receive())  # the parent begins them, and waits
    assert api.job(job.id)["status"] == "waiting"
    assert api("POST", f"/jobs/{job.id}/cancel").json()["status"] == "cancelled"
    client("sqs").delete_queue(QueueUrl=services.settings.queue_url)  # their own messages come later
    client("sqs").create_queue(QueueName=services.settings.queue_url.rpartition("/")[2])
    settle()
    children = api("GET", f"/jobs/{job.id}/children").json()["children"]
    assert [child["status"] for child in children] == ["cancelled"] * 12
    assert runs["part"] == 0


def test_a_crash_while_children_are_begun_makes_no_second_ones(
    services: Services,
    clock: Clock,
    make_job: Any,
    settle: Any,
    runs: Runs,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from functions.worker import children

    monkeypatch.setattr(children, "STRIDE", 5)
    put, count = services.store.put, [0]

    def dying(job: Job, now: float) -> Any:
        count[0] += 1
        if count[0] == 13:
            raise ConnectionError("the table is away")
        return put(job, now)

    monkeypatch.setattr(services.store, "put", dying)
    job = begin(services, make_job, size=20)
    settle()
    assert api.job(job.id)["status"] == "pending"  # an attempt failed, and is retried
    clock.advance(30)
    services.queues.send(job)
    settle()
    ended = api.job(job.id)
    assert (ended["status"], ended["attempt"]) == ("completed", 2)
    assert runs["part"] == 20


def test_a_child_that_ended_is_not_begun_anew_however_soon_its_parent_is_to_be_forgotten(
    services: Services,
    clock: Clock,
    make_job: Any,
    settle: Any,
    runs: Runs,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker dies before it writes down how far it got, and the next attempt comes after a parent's short life."""
    from functions.worker import children

    monkeypatch.setattr(children, "STRIDE", 5)
    note, calls = services.families.note_made, []

    def dying(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 2:
            raise ConnectionError("the table is away")
        note(*given)

    monkeypatch.setattr(services.families, "note_made", dying)
    job = begin(services, make_job, {"ttl_seconds": 60}, size=20)
    settle()
    assert runs["part"] == 10
    clock.advance(3_600)
    services.queues.send(job)
    settle()
    assert api.job(job.id)["status"] == "completed"
    assert runs["part"] == 20


def test_children_are_seen_by_their_owner_alone_and_tell_no_receiver(
    services: Services, clock: Clock, make_job: Any, settle: Any, api: Api, post: Post
) -> None:
    with receiving(lambda _: 200) as receiver:
        services.endpoints.set_url("acme", "https://hooks.example.com/", clock())
        job = begin(services, make_job, size=3)
        settle()
        assert receiver.received == []
    assert len(list(services.deliveries.of_job(job.id, clock()))) == 1
    shown = api("GET", f"/jobs/{job.id}/children", limit=2).json()
    assert [child["number"] for child in shown["children"]] == [0, 1]
    assert shown["next_cursor"] == 2
    child = api.job(shown["children"][0]["id"])
    assert (child["parent"], child["status"], child["task"]) == (job.id, "completed", "part")
    for each in shown["children"]:
        assert list(services.deliveries.of_job(each["id"], clock())) == []
    other = api.as_owner(services, "other")
    assert other("GET", f"/jobs/{job.id}/children").status == 404
    assert other("GET", f"/jobs/{child['id']}").status == 404


def test_a_wrong_input_begins_nobody(
    services: Services, make_job: Any, settle: Any, registry: Registry, api: Api, runs: Runs
) -> None:
    async def wrong(ctx: Context, input: Whole) -> None:
        await ctx.gather("part", [{"n": 1}, {"m": 2}])

    registry.add(_defined(wrong))
    job = begin(services, make_job, task="wrong")
    settle()
    ended = api.job(job.id)
    assert (ended["status"], ended["error"]["type"]) == ("failed", "InvalidInput")
    assert "Input 1" in ended["error"]["message"]
    assert runs["part"] == 0


def test_a_child_that_is_retried_counts_once(
    services: Services, clock: Clock, make_job: Any, settle: Any, api: Api
) -> None:
    job = begin(services, make_job, size=10)
    settle()
    bad = api("GET", f"/jobs/{job.id}/children").json()["children"][7]
    assert bad["status"] == Status.FAILED
    assert api("POST", f"/jobs/{bad['id']}/retry").status == 202
    settle()
    (step,) = api("GET", f"/jobs/{job.id}/children").json()["steps"]
    assert (step["ended"], step["failed"]) == (10, 1)


def test_a_parent_whose_worker_died_before_it_looked_again_is_found(
    services: Services,
    clock: Clock,
    make_job: Any,
    worker: Worker,
    post: Post,
    settle: Any,
    sweep: Callable[[], int],
    api: Api,
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The children end while their parent still runs; it waits then, and dies before it can see that they have."""
    from common.errors import LeaseLost
    from functions.worker.runner import Runner

    job = begin(services, make_job, size=3)
    waits = services.store.wait

    def late(held: Job, *rest: Any) -> Job:
        children = worker.receive()
        worker.handle(children)
        post.notify()
        return waits(held, *rest)

    def dying(self: Runner, job: Job) -> Job:
        raise LeaseLost(job.id)

    with monkeypatch.context() as patched:
        patched.setattr(services.store, "wait", late)
        patched.setattr(Runner, "_unless_over", dying)
        records = worker.receive()
        worker.handle(records)
    assert (api.job(job.id)["status"], runs["part"]) == ("waiting", 3)
    settle()
    assert api.job(job.id)["status"] == "waiting"
    clock.advance(61)
    assert sweep() == 1
    for _ in range(2):  # seen to be over, and then shown again a second later
        services.queues.send(job)
        worker()
    assert api.job(job.id)["status"] == "completed"


def test_a_retried_parent_begins_anew_only_those_that_did_not_complete(
    services: Services, make_job: Any, settle: Any, registry: Registry, api: Api, runs: Runs
) -> None:
    def flaky(ctx: Context, input: Part) -> int:
        runs[str(input.n)] += 1
        if input.n == 2 and runs["2"] == 1:
            raise Permanent("not today")
        return input.n

    async def careful(ctx: Context, input: Whole) -> Any:
        return [child.result for child in await ctx.gather(flaky, [Part(n=n) for n in range(4)], fail_fast=True)]

    registry.add(_defined(flaky))
    registry.add(_defined(careful))
    job = begin(services, make_job, task="careful")
    settle()
    assert api.job(job.id)["error"]["type"] == "ChildFailed"
    completed = [child for child in api("GET", f"/jobs/{job.id}/children").json()["children"] if not child["error"]]
    again = {child["number"] for child in completed if child["status"] == "completed"}
    assert api("POST", f"/jobs/{job.id}/retry").status == 202
    settle()
    assert (api.job(job.id)["status"], api.job(job.id)["result"]) == ("completed", [0, 1, 2, 3])
    assert runs["2"] == 2
    assert all(runs[str(number)] == 1 for number in again)
