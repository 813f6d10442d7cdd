"""What may run at a time: places are held by leases, a job without one waits unclaimed, and nobody else pays for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from common.errors import LeaseLost
from common.jobs import LEASE, Job, Priority, Report, Status, Wait, WaitKind
from common.limits import OwnerLimits
from common.queue import Reminder
from common.slots import FULL_FOR, Pool, Slot, Slots, owner_pool, task_pool
from common.steps import wait_id
from common.tasks import Registry, TaskDefinitionError, _defined, task
from common.wiring import Services
from common.wiring import services as wire
from common.writes import RESEND
from functions.worker.places import FIRST_DELAY, LONGEST_DELAY, bounce_delay
from tests.conftest import SESSION, Clock, Worker, client
from tests.functions.conftest import FAST

Calls = list[tuple[str, dict[str, Any]]]


class Given(BaseModel):
    pass


def state(services: Services, job: Job) -> Job:
    found = services.store.get(job.id, services.clock(), consistent=True)
    assert found is not None
    return found


@pytest.fixture
def slots(services: Services) -> Slots:
    return services.slots


def another(services: Services, **options: Any) -> Slots:
    """Another process's."""
    return Slots(client("dynamodb"), services.settings.table_name, **options)


# ---------------------------------------------------------------------------------------- slots


def test_there_are_as_many_slots_as_the_pool_has(services: Services, clock: Clock) -> None:
    pool = Pool("p", 3)
    taken = [another(services).take(pool, f"t{n}", clock()) for n in range(5)]
    assert sorted(slot.number for slot in taken if slot) == [0, 1, 2]
    assert taken[3:] == [None, None]


def test_pools_do_not_touch_each_other(slots: Slots, clock: Clock) -> None:
    for pool in (owner_pool("a", 1), owner_pool("b", 1), task_pool("a", 1)):
        assert slots.take(pool, "t", clock())


def test_a_released_slot_is_free_at_once(slots: Slots, clock: Clock) -> None:
    slot = slots.take(Pool("p", 1), "a", clock())
    assert slot
    assert slots.take(Pool("p", 1), "b", clock()) is None
    slots.release(slot)
    assert slots.take(Pool("p", 1), "b", clock())


def test_a_dead_holder_s_slot_is_free_when_its_lease_ends(services: Services, clock: Clock) -> None:
    assert another(services).take(Pool("p", 1), "dead", clock())
    clock.advance(LEASE - 0.001)
    assert another(services).take(Pool("p", 1), "next", clock()) is None
    clock.advance(0.001)
    assert another(services).take(Pool("p", 1), "next", clock())


def test_a_renewed_slot_is_held_on(services: Services, slots: Slots, clock: Clock) -> None:
    slot = slots.take(Pool("p", 1), "a", clock())
    assert slot
    for _ in range(5):
        clock.advance(20)
        slots.renew(slot, clock())
    assert another(services).take(Pool("p", 1), "b", clock()) is None


def test_who_lost_a_slot_can_neither_renew_nor_release_it(services: Services, slots: Slots, clock: Clock) -> None:
    lost = slots.take(Pool("p", 1), "frozen", clock())
    assert lost
    clock.advance(LEASE)
    assert another(services).take(Pool("p", 1), "next", clock()) == Slot("p", 0, "next")
    with pytest.raises(LeaseLost):
        slots.renew(lost, clock())
    slots.release(lost)
    assert another(services).take(Pool("p", 1), "third", clock()) is None


def test_a_write_whose_answer_was_lost_finds_its_own(services: Services, clock: Clock) -> None:
    """botocore repeats it as it was."""
    first = another(services).take(Pool("p", 1), "mine", clock())
    assert another(services).take(Pool("p", 1), "mine", clock()) == first


def test_a_place_costs_one_write_where_there_is_room(slots: Slots, clock: Clock, calls: Calls) -> None:
    slot = slots.take(Pool("p", 100), "a", clock())
    assert [name for name, _ in calls] == ["UpdateItem"]
    assert slot
    slots.release(slot)
    assert [name for name, _ in calls] == ["UpdateItem", "UpdateItem"]


def test_a_full_pool_is_looked_through_once_and_then_believed_for_a_moment(
    services: Services, slots: Slots, clock: Clock, calls: Calls
) -> None:
    pool = Pool("p", 50)
    for n in range(50):
        assert another(services).take(pool, f"t{n}", clock())
    assert slots.take(pool, "late", clock()) is None
    assert Counter(name for name, _ in calls) == {"UpdateItem": 2, "Query": 1}
    calls.clear()
    assert slots.take(pool, "late", clock()) is None
    assert calls == []
    clock.advance(FULL_FOR)
    assert slots.take(pool, "late", clock()) is None
    assert calls


def test_the_last_free_slot_is_found(services: Services, clock: Clock) -> None:
    in_order = another(services, pick=lambda size: list(range(size)))
    pool = Pool("p", 40)
    for n in range(39):
        assert in_order.take(pool, f"t{n}", clock())
    found = in_order.take(pool, "last", clock())
    assert found
    assert found.number == 39


# ---------------------------------------------------------------------------------------- a task's concurrency


@pytest.mark.parametrize("wrong", [0, -1, 1_001, "2", True, 1.5], ids=repr)
def test_a_concurrency_that_is_none_is_said_at_once(wrong: Any) -> None:
    def declared(input: Given) -> None: ...

    with pytest.raises(TaskDefinitionError, match="concurrency"):
        task(concurrency=wrong)(declared)


@pytest.fixture
def narrow() -> Registry:
    """A task of which two may run at a time."""

    def narrow(input: Given) -> str:
        return "done"

    registry = Registry()
    registry.add(_defined(narrow, concurrency=2))
    return registry


def leases(services: Services, pool: str) -> int:
    """How many of a pool's slots are held now."""
    return len(services.slots._held(Pool(pool, 0), services.clock()))


def test_never_more_than_n_hold_a_lease_and_a_killed_worker_s_are_freed(
    services: Services, make_job: Any, make_worker: Any, narrow: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.worker.runner import Runner

    jobs = [make_job(task="narrow", owner=f"owner-{n}") for n in range(4)]
    for job in jobs:
        services.queues.send(job)
    worker = make_worker(registry=narrow, pace=FAST)
    records = worker.receive()
    with monkeypatch.context() as killing:

        def die(*_: Any) -> Any:
            raise SystemExit  # as far as the job goes, a SIGKILL: nothing is written after its claim

        killing.setattr(Runner, "_execution", die)
        killing.setattr("functions.worker.places.Place.leave", lambda self: None)
        for record in records[:2]:
            with pytest.raises(SystemExit):
                worker.handle([record])
    assert leases(services, "task#narrow") == 2
    assert [state(services, job).status for job in jobs] == ["running", "running", "pending", "pending"]

    # The other two have to wait, for as long as the dead workers' leases last; no receive is used up by that.
    worker.handle(records[2:])
    assert [state(services, job).status for job in jobs[2:]] == ["pending", "pending"]
    assert leases(services, "task#narrow") == 2

    clock.advance(LEASE)
    assert leases(services, "task#narrow") == 0
    for job in jobs[2:]:
        services.queues.send(job)
    make_worker(registry=narrow, pace=FAST)()
    assert [state(services, job).status for job in jobs[2:]] == ["completed", "completed"]
    assert leases(services, "task#narrow") == 0


def test_a_job_without_a_place_is_sent_anew_and_not_claimed(
    services: Services, make_job: Any, make_worker: Any, narrow: Registry, clock: Clock, calls: Calls
) -> None:
    for n in range(2):
        assert another(services).take(task_pool("narrow", 2), f"t{n}", clock())
    job = make_job(task="narrow", priority="high")
    services.queues.send(job)
    calls.clear()
    assert make_worker(registry=narrow)() == []  # acknowledged

    found = state(services, job)
    assert (found.status, found.attempt, found.version) == (Status.PENDING, 0, 1)
    [sent] = [given for name, given in calls if name == "SendMessage"]
    assert sent["QueueUrl"] == services.settings.queue_url_high  # where it came from
    assert (sent["DelaySeconds"], sent["MessageGroupId"]) == (FIRST_DELAY, "acme")
    assert json.loads(sent["MessageBody"]) == {"job": job.id, "owner": "acme", "task": "narrow", "bounces": 1}


def test_a_place_is_given_back_if_the_next_one_cannot_be_asked_for(
    services: Services, make_job: Any, make_worker: Any, narrow: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a table that does not answer for a moment would hold the owner's other jobs up for a lease."""
    used = limited(services, clock, owner_running=2)
    take = used.slots.take

    def taking(pool: Pool, *given: Any) -> Slot | None:
        if pool.name.startswith("task#"):
            raise ConnectionError("the table is away")
        return take(pool, *given)

    monkeypatch.setattr(used.slots, "take", taking)
    services.queues.send(make_job(task="narrow"))
    assert len(make_worker(services=used, registry=narrow)()) == 1, "it comes back"
    assert leases(services, "owner#acme") == 0


def test_the_sweeper_makes_no_copies_of_a_message_that_is_away(
    services: Services, make_job: Any, make_worker: Any, narrow: Registry, clock: Clock, sweep: Callable[[], int]
) -> None:
    for n in range(2):
        assert another(services).take(task_pool("narrow", 2), f"t{n}", clock())
    job = make_job(task="narrow")
    services.queues.send(job)
    clock.advance(50)
    make_worker(registry=narrow)()
    clock.advance(FIRST_DELAY + RESEND - 1)
    assert sweep() == 0
    clock.advance(1)
    assert sweep() == 1  # unless it got lost


def test_the_sweeper_makes_no_copies_of_the_message_of_a_job_that_has_waited_long_enough(
    services: Services, make_job: Any, make_worker: Any, narrow: Registry, clock: Clock, sweep: Callable[[], int]
) -> None:
    job = services.store.claim(make_job(task="narrow").id, token="first", now=clock())
    slept = Wait("sleep", WaitKind.SLEEP, clock() + 100)
    services.store.wait(job, {wait_id("sleep"): slept}, Report(), 0, clock())
    clock.advance(100)
    for n in range(2):
        assert another(services).take(task_pool("narrow", 2), f"t{n}", clock())
    services.queues.send(job)
    clock.advance(50)
    make_worker(registry=narrow)()
    clock.advance(FIRST_DELAY + RESEND - 1)
    assert sweep() == 0
    clock.advance(1)
    assert sweep() == 1


def test_the_delay_grows_and_ends_at_five_minutes() -> None:
    assert [bounce_delay(n, lambda: 1) for n in range(8)] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert [bounce_delay(n, lambda: 0) for n in range(8)] == [5, 5, 10, 20, 40, 80, 150, 150]
    assert bounce_delay(10**9, lambda: 1) == LONGEST_DELAY


def test_a_job_gives_its_place_back_however_it_ends(services: Services, make_job: Any, make_worker: Any) -> None:
    def failing(input: Given) -> None:
        raise TypeError("a bug")

    def retrying(input: Given) -> None:
        raise OSError("again")

    registry = Registry()
    for function in (failing, retrying):
        registry.add(_defined(function, concurrency=1))
        services.queues.send(make_job(task=function.__name__))
    make_worker(registry=registry, pace=FAST)()
    assert leases(services, "task#failing") == leases(services, "task#retrying") == 0


def test_a_message_that_says_neither_owner_nor_task_is_held_to_the_limits_too(
    services: Services, make_job: Any, make_worker: Any, narrow: Registry, clock: Clock
) -> None:
    for n in range(2):
        assert another(services).take(task_pool("narrow", 2), f"t{n}", clock())
    job = make_job(task="narrow")
    services.queues.of(Priority.NORMAL).remind(Reminder(job.id))
    make_worker(registry=narrow)()
    assert state(services, job).status is Status.PENDING


def test_a_worker_whose_place_is_another_s_stops(
    services: Services, make_job: Any, make_worker: Any, real_time: Services
) -> None:
    """It was frozen for longer than its lease; the job runs again, and only so many at a time."""
    import time

    registry = Registry()

    def robbed(input: Given) -> None:
        key = {"pk": {"S": "slots#task#robbed"}, "sk": {"S": "slot#0"}}
        client("dynamodb").update_item(
            TableName=services.settings.table_name,
            Key=key,
            UpdateExpression="SET #t = :t",
            ExpressionAttributeNames={"#t": "token"},
            ExpressionAttributeValues={":t": {"S": "another"}},
        )
        while True:
            time.sleep(0.01)

    registry.add(_defined(robbed, concurrency=1))
    job = make_job(task="robbed", created_at=time.time())
    real_time.queues.send(job)
    make_worker(services=real_time, registry=registry, pace=FAST)()
    found = state(services, job)
    assert (found.status, found.error) == (Status.RUNNING, None)  # until its lease ends, and then it is another's
    assert leases(real_time, "task#robbed") == 1


# ---------------------------------------------------------------------------------------- an owner's running jobs


def limited(services: Services, clock: Clock, **settings: Any) -> Services:
    return wire(replace(services.settings, **settings), session=SESSION, clock=clock)


def test_an_owner_s_jobs_beyond_its_limit_wait_and_another_s_run(
    services: Services, make_job: Any, make_worker: Any, clock: Clock
) -> None:
    used = limited(services, clock, owner_running=2)
    for n in range(2):
        assert another(services).take(owner_pool("acme", 2), f"t{n}", clock())
    mine, other = make_job(), make_job(owner="other")
    for job in (mine, other):
        used.queues.send(job)
    make_worker(services=used)()
    assert (state(services, mine).status, state(services, other).status) == ("pending", "completed")
    assert leases(services, "owner#other") == 0


def test_of_one_batch_only_as_many_run_as_may(
    services: Services, make_job: Any, make_worker: Any, real_time: Services
) -> None:
    import time

    at_once: list[int] = []
    running = 0

    def slow(input: Given) -> None:
        nonlocal running
        running += 1
        at_once.append(running)
        time.sleep(0.3)
        running -= 1

    registry = Registry()
    registry.add(_defined(slow))
    used = replace(real_time, limits=limited(services, Clock(), owner_running=2).limits)
    jobs = [make_job(task="slow", created_at=time.time()) for _ in range(6)]
    for job in jobs:
        used.queues.send(job)
    make_worker(services=used, registry=registry, pace=FAST)()
    assert Counter(state(services, job).status for job in jobs) == {"completed": 2, "pending": 4}
    assert max(at_once) <= 2


def test_an_owner_s_own_limit_counts(services: Services, make_job: Any, make_worker: Any, clock: Clock) -> None:
    used = limited(services, clock, owner_overrides=True)
    used.limits.write("acme", running=1, per_minute=None)
    assert used.limits.of("acme", clock()) == OwnerLimits(running=1)
    assert another(services).take(owner_pool("acme", 1), "t", clock())
    job = make_job()
    used.queues.send(job)
    make_worker(services=used)()
    assert state(services, job).status is Status.PENDING


def test_who_finds_room_in_one_pool_but_not_in_the_other_keeps_neither(
    services: Services, make_job: Any, make_worker: Any, clock: Clock, narrow: Registry
) -> None:
    used = limited(services, clock, owner_running=5)
    for n in range(2):
        assert another(services).take(task_pool("narrow", 2), f"t{n}", clock())
    used.queues.send(make_job(task="narrow"))
    make_worker(services=used, registry=narrow)()
    assert leases(services, "owner#acme") == 0


# ---------------------------------------------------------------------------------------- everybody else


def test_a_job_without_limits_costs_two_writes_and_nothing_more(
    services: Services, make_job: Any, worker: Worker, calls: Calls
) -> None:
    services.queues.send(make_job())
    calls.clear()
    worker()
    assert Counter(name for name, _ in calls) == {"UpdateItem": 2}


def test_an_unlimited_job_beside_limited_ones_costs_nothing_more(
    services: Services, make_job: Any, make_worker: Any, calls: Calls, narrow: Registry
) -> None:
    def wide(input: Given) -> None: ...

    narrow.add(_defined(wide))
    services.queues.send(make_job(task="wide"))
    calls.clear()
    make_worker(registry=narrow)()
    assert Counter(name for name, _ in calls) == {"UpdateItem": 2}


def test_a_limited_job_costs_a_write_to_come_in_and_one_to_go(
    services: Services, make_job: Any, make_worker: Any, calls: Calls, narrow: Registry
) -> None:
    services.queues.send(make_job(task="narrow"))
    calls.clear()
    make_worker(registry=narrow)()
    assert Counter(name for name, _ in calls) == {"UpdateItem": 4}
