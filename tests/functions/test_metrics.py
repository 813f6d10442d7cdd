"""What is counted of jobs, summed up as CloudWatch does it: each submission, claim and end once, for all and by task."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from common.jobs import DAY, LEASE, Job
from common.metrics import NAMESPACE, Metric
from common.tasks import Context, Permanent, Registry, Retryable, _defined
from common.telemetry import SERVICE
from common.wiring import Services
from functions.webhooks.delivering import Courier
from tests.aws import Clock
from tests.handlers import Api, Worker, load_event
from tests.post import post_office
from tests.receiver import receiving

#: Sums by metric and dimensions: those of the deployment as a whole have none.
Counts = Counter[tuple[str, ...]]
#: What a job's lines may be in the log, in bytes: a million of them cost half a dollar for each KB.
MOST_BYTES = 1_500


class Nothing(BaseModel):
    pass


def counted(text: str) -> Counts:
    counts: Counts = Counter()
    for line in (json.loads(each) for each in text.splitlines() if "_aws" in each):
        for directive in line["_aws"]["CloudWatchMetrics"]:
            assert directive["Namespace"] == NAMESPACE
            for dimensions in directive["Dimensions"]:
                assert line["service"] == SERVICE
                which = tuple(line[name] for name in dimensions if name != "service")
                for metric in directive["Metrics"]:
                    counts[Metric(metric["Name"]).value, *which] += sum(line[metric["Name"]])
    return counts


@pytest.fixture
def count(capsys: pytest.CaptureFixture[str]) -> Callable[[], Counts]:
    """What was counted since the last time; sums of nothing are left out."""
    return lambda: +counted(capsys.readouterr().out)


def ends(counts: Counts) -> dict[str, float]:
    """Of all tasks: how many jobs ended, and how."""
    by_outcome: Counter[str] = Counter()
    for (name, *which), value in counts.items():
        if name == Metric.JOBS_FINISHED and len(which) == 2:
            by_outcome[which[1]] += value
    assert by_outcome.total() == counts[(Metric.JOBS_FINISHED,)]
    assert by_outcome["failed"] == counts[(Metric.JOBS_FAILED,)]
    return dict(by_outcome)


@pytest.fixture
def make(registry: Registry, make_worker: Any) -> Callable[..., Worker]:
    """A worker that knows this task."""

    def make(task: Callable[..., Any]) -> Worker:
        registry.add(_defined(task))
        made: Worker = make_worker(registry=registry, chance=lambda: 0.5)
        return made

    return make


def test_a_job_s_way_is_counted_for_all_and_by_task(
    api: Api, worker: Worker, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    api.submit("echo", {"x": 1})
    clock.advance(3)
    worker()
    text = capsys.readouterr().out
    assert +counted(text) == {
        ("JobsSubmitted",): 1,
        ("JobsSubmitted", "echo"): 1,
        ("QueueDelay",): 3000,
        ("QueueDelay", "echo"): 3000,
        ("JobsFinished",): 1,
        ("JobsFinished", "echo"): 1,
        ("JobsFinished", "echo", "completed"): 1,
        ("Attempts",): 1,
        ("Attempts", "echo"): 1,
    }
    lines = [line for line in text.splitlines() if "_aws" in line]
    assert len(lines) == 3
    assert sum(len(line.encode()) + 1 for line in lines) <= MOST_BYTES


def test_attempts_time_tokens_and_cost_are_the_job_s_and_a_retry_is_no_end(
    make: Any, services: Services, make_job: Any, clock: Clock, count: Callable[[], Counts]
) -> None:
    def thinking(ctx: Context, input: Nothing) -> None:
        ctx.usage(input_tokens=40, output_tokens=2, cost_usd=0.001)
        clock.advance(2)
        raise Retryable("busy", after=10) if ctx.attempt == 1 else Permanent("no")

    job = make_job(task="thinking", max_attempts=2)
    services.queues.send(job)
    worker = make(thinking)
    worker()
    assert count() == {}, "neither a wait nor an end"
    clock.advance(15)
    services.queues.send(job)
    worker()
    counts = count()
    assert ends(counts) == {"failed": 1}
    assert counts[("Attempts", "thinking")] == 2
    assert counts[("Duration", "thinking")] == 19_000
    assert counts[("Tokens", "thinking")] == 84
    assert counts[("CostUsd",)] == pytest.approx(0.002)
    assert counts[("QueueDelay",)] == 5_000, "from when it could run again"


def test_a_delay_that_was_asked_for_is_not_the_queue_s(
    api: Api, services: Services, worker: Worker, clock: Clock, count: Callable[[], Counts]
) -> None:
    job = services.store.get(api.submit(delay_seconds=60)["id"], clock())
    assert job is not None
    clock.advance(61)
    services.queues.send(job)
    worker()
    assert count()[("QueueDelay",)] == 1000


def test_a_message_that_comes_twice_counts_nothing_twice(
    api: Api, worker: Worker, services: Services, count: Callable[[], Counts]
) -> None:
    headers = {"idempotency-key": "once"}
    for _ in range(2):
        api("POST", "/jobs", json={"task": "echo", "input": {}}, headers=headers)
    records = worker.receive()
    worker.handle(records)
    worker.handle(records)
    counts = count()
    assert counts[("JobsSubmitted",)] == 1
    assert ends(counts) == {"completed": 1}


def test_an_end_whose_answer_was_lost_is_counted_once(
    make: Any,
    services: Services,
    make_job: Any,
    count: Callable[[], Counts],
    while_waiting: dict[float, Callable[[], object]],
) -> None:
    emitter, writes = services.store._client.meta.events, Counter[str]()

    def cut(model: Any, **_: Any) -> None:
        writes[model.name] += 1
        if writes["UpdateItem"] == 2:
            raise ConnectionError

    def quick(ctx: Context, input: Nothing) -> None: ...

    services.queues.send(make_job(task="quick"))
    emitter.register("after-call.dynamodb.UpdateItem", cut)
    make(quick)()
    emitter.unregister("after-call.dynamodb.UpdateItem", cut)
    assert writes["UpdateItem"] == 3
    assert ends(count()) == {"completed": 1}


def test_a_job_that_its_owner_cancels_twice_is_counted_once(api: Api, count: Callable[[], Counts]) -> None:
    job = api.submit()
    for _ in range(2):
        assert api("POST", f"/jobs/{job['id']}/cancel").status == 202
    counts = count()
    assert ends(counts) == {"cancelled": 1}
    assert not {name for name, *_ in counts} & {Metric.DURATION, Metric.ATTEMPTS}, "it was never begun"


def test_a_job_that_is_cancelled_while_it_runs_is_counted_by_its_worker(
    make: Any, api: Api, services: Services, make_job: Any, count: Callable[[], Counts]
) -> None:
    job = make_job(task="wanted")

    def wanted(ctx: Context, input: Nothing) -> None:
        assert api("POST", f"/jobs/{job.id}/cancel").status == 202
        raise Retryable("again")

    services.queues.send(job)
    make(wanted)()
    assert ends(count()) == {"cancelled": 1}


def test_a_job_whose_workers_died_is_counted_when_it_is_given_up(
    worker: Worker, services: Services, make_job: Any, clock: Clock, count: Callable[[], Counts]
) -> None:
    job = services.store.claim(make_job(max_attempts=1).id, token="dead", now=clock())
    clock.advance(LEASE + 1)
    for _ in range(2):
        services.queues.send(job)
        worker()
    counts = count()
    assert ends(counts) == {"failed": 1}
    assert counts[("Duration",)] == (LEASE + 1) * 1000


def test_a_job_that_is_taken_over_from_a_dead_worker_did_not_wait_in_the_queue(
    worker: Worker, services: Services, make_job: Any, clock: Clock, count: Callable[[], Counts]
) -> None:
    job = services.store.claim(make_job().id, token="dead", now=clock())
    clock.advance(LEASE + 1)
    services.queues.send(job)
    worker()
    counts = count()
    assert ends(counts) == {"completed": 1}
    assert ("QueueDelay",) not in counts
    assert counts[("Attempts",)] == 2


def test_the_dead_letters_count_what_they_end(
    entry_point: Callable[[str], Any],
    services: Services,
    make_job: Any,
    monkeypatch: pytest.MonkeyPatch,
    count: Callable[[], Counts],
) -> None:
    app = entry_point("deadletters")
    monkeypatch.setattr(app, "services", services)
    event = load_event("deadletters")
    event["Records"][0]["body"] = json.dumps({"job": make_job().id})
    event["Records"][0]["attributes"]["SentTimestamp"] = str(int(services.clock() * 1000))
    for _ in range(2):
        app.handler(event, SimpleNamespace())
    assert ends(count()) == {"failed": 1}


@pytest.fixture
def laptop(services: Services) -> Services:
    """Receivers on loopback are allowed there."""
    return replace(services, settings=replace(services.settings, loopback=True))


def test_a_webhook_that_is_given_up_is_counted_once(
    laptop: Services, clock: Clock, make_job: Callable[..., Job], count: Callable[[], Counts]
) -> None:
    with (
        receiving(lambda number: 410) as receiver,
        post_office(laptop, clock, lambda: Courier(laptop, lambda: 0.5)) as post,
    ):
        laptop.endpoints.set_url("acme", receiver.url, clock())
        for _ in range(2):  # the first disables the endpoint, and the second is not tried
            laptop.store.request_cancel(make_job(), "wish", clock())
            post.run(DAY)
        assert len(receiver.received) == 1
    assert count() == {("WebhooksGivenUp",): 1}
