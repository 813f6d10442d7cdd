"""Jobs of agents that are run invocation by invocation, and workers that die while the provider is silent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from common.jobs import LEASE, Job
from common.tasks import Registry, _defined
from common.wiring import Services
from functions.worker.supervision import Pace
from tests.aws import Clock, client
from tests.functions.conftest import FAST
from tests.handlers import Worker
from tests.model_server import Hangs, ModelServer, Request, Step

#: Hears nothing from the table while it is paused, but for the steps that it writes.
FROZEN = Pace(progress=1_000, contact=1_000, renewal=1_000, patience=0.1, grace=0.4)


@pytest.fixture
def begin(registry: Registry, make_job: Any) -> Callable[..., Job]:
    """Puts a job of the function into the table."""

    def begin_one(function: Callable[..., Any], **options: Any) -> Job:
        registry.add(_defined(function))
        job: Job = make_job(task=function.__name__, **options)
        return job

    return begin_one


@pytest.fixture
def go_on(services: Services, clock: Clock, make_worker: Any, registry: Registry) -> Callable[..., Job]:
    """Runs the job's next invocation, at its time; `seconds` is how long the function may run."""

    def run(job_id: str, *, seconds: float = 900, pace: Pace = FAST) -> Job:
        worker: Worker = make_worker(registry=registry, pace=pace, chance=lambda: 0.0)
        client("sqs").delete_queue(QueueUrl=services.settings.queue_url)
        client("sqs").create_queue(QueueName=services.settings.queue_url.rpartition("/")[2])
        job = services.store.get(job_id, clock(), consistent=True)
        assert job is not None
        clock.now = max(clock.now, job.run_at)
        services.queues.send(replace(job, run_at=0))
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: seconds * 1000)
        worker.handler({"Records": worker.receive()}, context)
        found = services.store.get(job_id, clock(), consistent=True)
        assert found is not None
        return found

    return run


Killed = Callable[..., tuple[Job, list[Request]]]


@pytest.fixture
def killed(
    services: Services,
    clock: Clock,
    go_on: Callable[..., Job],
    server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Killed:
    """Runs a job until its provider is silent. Then its worker is as good as dead: another one has the job, and ends it.

    Gives the job, and the requests that it took.

    The provider is silent at the first request that `at` chooses; `steps` is how many are waited for before the worker dies.
    """

    def run(job: Job, *, at: Callable[[Request], bool] = lambda _: True, steps: int = 0) -> tuple[Job, list[Request]]:
        silent, otherwise = threading.Event(), server.otherwise
        monkeypatch.setattr("random.random", lambda: 0.0)  # nobody waits between two tries

        def hang(request: Request) -> Step:
            if silent.is_set() or not at(request):
                return otherwise(request)
            silent.set()
            return Hangs()

        server.otherwise = hang
        dead = threading.Thread(target=lambda: go_on(job.id, pace=FROZEN), daemon=True)
        dead.start()
        try:
            assert silent.wait(30)
            assert until(lambda: len(services.store.steps(job)) >= steps)
            clock.advance(LEASE + 1)
            ended, requests = go_on(job.id), [*server.requests]
        finally:
            server.closing.set()  # the dead one comes to, and finds that the job is not its own any more
            dead.join(30)
        assert not dead.is_alive()
        assert services.store.get(job.id, clock(), consistent=True) == ended
        return ended, requests

    return run


def until(holds: Callable[[], bool]) -> bool:
    """Waits for what another thread does."""
    return any(holds() or threading.Event().wait(0.01) for _ in range(3_000))
