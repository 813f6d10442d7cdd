"""Running single functions as jobs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from common.jobs import Job
from common.tasks import Registry, _defined
from common.wiring import Services
from functions.worker.supervision import Pace
from tests.aws import Clock, client
from tests.functions.scripted import use
from tests.functions.single_jobs import Given
from tests.handlers import Worker
from tests.model_server import ModelServer

#: The worker's rhythm, faster: the real one needs no more to be waited for than what is tested.
FAST = Pace(progress=0.05, contact=0.05, renewal=0.1, patience=0.1, grace=0.4)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def real_time(services: Services) -> Services:
    """For what must wait: the same services on the machine's clock."""
    return replace(services, clock=time.time)


Run = Callable[..., Job]


@pytest.fixture
def run(registry: Registry, real_time: Services, make_worker: Any, make_job: Any) -> Run:
    """Runs one job of the given function to the end of one invocation; gives what stands in the table then."""

    def run_one(function: Callable[..., Any], **job: Any) -> Job:
        registry.add(_defined(function))
        made = make_job(task=function.__name__, created_at=time.time(), **job)
        real_time.queues.send(made)
        make_worker(services=real_time, registry=registry, pace=FAST, chance=lambda: 0.5)()
        found = real_time.store.get(made.id, real_time.clock(), consistent=True)
        assert found is not None
        return found

    return run_one


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A provider of models, which the tasks use."""
    with ModelServer() as server:
        use(monkeypatch, server)
        yield server


@pytest.fixture
def while_waiting(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> dict[float, Callable[[], object]]:
    """What happens at which second of a wait; sleeping moves the clock."""
    events: dict[float, Callable[[], object]] = {}
    started = clock()

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        for moment in sorted(moment for moment in events if started + moment <= clock()):
            events.pop(moment)()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return events


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
    """Puts a job of the function into the table; `task` is what is said of the function."""

    def begin_one(function: Callable[..., Any], **options: Any) -> Job:
        task = options.pop("task", {})
        registry.add(_defined(function, **task))
        made: Job = make_job(task=function.__name__, created_at=real_time.clock(), **options)
        return made

    return begin_one


@pytest.fixture
def narrow() -> Registry:
    """A task of which two may run at a time."""

    def narrow(input: Given) -> str:
        return "done"

    registry = Registry()
    registry.add(_defined(narrow, concurrency=2))
    return registry
