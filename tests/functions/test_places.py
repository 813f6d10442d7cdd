"""What may run at a time: places are held by leases, a job without one waits unclaimed, and nobody else pays for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from common.jobs import LEASE, Priority, Report, Status, Wait, WaitKind
from common.queue import Reminder
from common.slots import Pool, Slot, task_pool
from common.steps import wait_id
from common.tasks import Registry, TaskDefinitionError, _defined, task
from common.wiring import Services
from common.writes import RESEND
from functions.worker.places import FIRST_DELAY, LONGEST_DELAY, bounce_delay
from tests.aws import Clock, client
from tests.functions.conftest import FAST
from tests.functions.places import Calls, another, leases, limited
from tests.functions.single_jobs import Given
from tests.functions.single_jobs import now as state
from tests.handlers import Worker

# ---------------------------------------------------------------------------------------- a task's concurrency


@pytest.mark.parametrize("wrong", [0, -1, 1_001, "2", True, 1.5], ids=repr)
def test_a_concurrency_that_is_none_is_said_at_once(wrong: Any) -> None:
    def declared(input: Given) -> None: ...

    with pytest.raises(TaskDefinitionError, match="concurrency"):
        task(concurrency=wrong)(declared)


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
