"""An owner's running jobs: those beyond its limit wait, and another's run."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from common.jobs import Status
from common.limits import OwnerLimits
from common.slots import owner_pool, task_pool
from common.tasks import Registry, _defined
from common.wiring import Services
from tests.aws import Clock
from tests.functions.conftest import FAST
from tests.functions.places import another, leases, limited
from tests.functions.single_jobs import Given
from tests.functions.single_jobs import now as state


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
