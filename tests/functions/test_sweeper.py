"""The sweeper and the dead letters: whatever got stuck moves again, or ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from common.jobs import DAY, LEASE, Job, Status
from common.waking import GRACE
from common.wiring import Services
from tests.aws import Clock, client, message_count
from tests.functions.single_jobs import now as state
from tests.handlers import Api, Worker, load_event

Sweep = Callable[[], int]


def test_a_job_whose_message_was_never_sent_is_sent(
    services: Services, make_job: Any, clock: Clock, sweep: Sweep, worker: Worker
) -> None:
    job = make_job()
    assert sweep() == 0
    clock.advance(60)
    assert sweep() == 1
    worker()
    assert state(services, job).status is Status.COMPLETED
    clock.advance(DAY)
    assert sweep() == 0


def test_a_dead_worker_s_job_is_sent(
    services: Services, make_job: Any, clock: Clock, sweep: Sweep, worker: Worker
) -> None:
    job = services.store.claim(make_job().id, token="dead", now=clock())
    clock.advance(LEASE)
    assert sweep() == 0
    clock.advance(6)
    assert sweep() == 1
    worker()
    assert (state(services, job).status, state(services, job).attempt) == (Status.COMPLETED, 2)


def test_a_living_worker_s_job_is_left_alone(services: Services, make_job: Any, clock: Clock, sweep: Sweep) -> None:
    job = services.store.claim(make_job().id, token="alive", now=clock())
    for _ in range(10):
        clock.advance(40)
        job = services.store.renew(job, clock())
        assert sweep() == 0


def test_a_sweep_during_a_first_lease_comes_again_when_it_is_over(
    services: Services, make_job: Any, clock: Clock, sweep: Sweep, worker: Worker
) -> None:
    job = make_job()
    clock.advance(30)
    services.store.claim(job.id, token="dead", now=clock())
    clock.advance(31)
    assert sweep() == 0
    assert state(services, job).wake_at == clock() - 31 + LEASE + GRACE
    clock.advance(LEASE + GRACE - 32)
    assert sweep() == 0
    clock.advance(1)
    assert sweep() == 1
    worker()
    assert (state(services, job).status, state(services, job).attempt) == (Status.COMPLETED, 2)


def test_a_claim_of_a_job_that_was_woken_often_is_looked_after_in_time(
    services: Services, make_job: Any, clock: Clock, sweep: Sweep, worker: Worker
) -> None:
    job = make_job()
    for wait in (60, 60, 120, 240):
        clock.advance(wait)
        assert sweep() == 1
    services.store.claim(job.id, token="dead", now=clock())
    clock.advance(LEASE + GRACE)
    assert sweep() == 1
    worker()
    assert (state(services, job).status, state(services, job).attempt) == (Status.COMPLETED, 2)


def test_a_short_delay_is_the_message_s_own(api: Api, calls: list[tuple[str, dict[str, Any]]]) -> None:
    api.submit(delay_seconds=900)
    assert [given["DelaySeconds"] for name, given in calls if name == "SendMessage"] == [900]


def test_a_long_delay_is_the_sweeper_s(
    api: Api, calls: list[tuple[str, dict[str, Any]]], clock: Clock, sweep: Sweep
) -> None:
    api.submit(delay_seconds=3 * DAY)
    assert "SendMessage" not in [name for name, _ in calls]
    clock.advance(3 * DAY - 61)
    assert sweep() == 0
    clock.advance(20)
    calls.clear()
    assert sweep() == 1
    sent = [given["Entries"] for name, given in calls if name == "SendMessageBatch"]
    assert [entry["DelaySeconds"] for entry in sent[0]] == [41]


def test_a_backlog_is_not_filled_with_copies(make_job: Any, clock: Clock, sweep: Sweep) -> None:
    make_job()
    sent = 0
    for _ in range(6 * 60):  # six hours, a sweep a minute, and no worker comes
        clock.advance(60)
        sent += sweep()
    assert sent == 11


def test_of_two_sweepers_one_sends(
    services: Services, make_job: Any, clock: Clock, enlist: Sweep, sweep: Sweep
) -> None:
    make_job()
    clock.advance(61)
    assert enlist() == 1
    found = list(services.store.overdue(clock()))
    assert sweep() == 1
    assert [services.store.wake(one.job_id, one.wake_at, one.wakes, clock()) for one in found] == [None]


def test_a_sweep_sends_many_in_batches_and_stops_in_time(
    services: Services, make_job: Any, clock: Clock, enlist: Sweep, sweep: Sweep
) -> None:
    from functions.sweeper.sweep import sweep as run

    for _ in range(25):
        make_job()
    clock.advance(61)
    assert enlist() == 25
    turns = iter([True] * 12 + [False] * 20)
    assert run(services, has_time=lambda: next(turns)) == 12
    assert sweep() == 13
    assert message_count(services) == 25


def test_a_refusing_queue_leaves_jobs_to_the_next_sweep(
    services: Services, make_job: Any, clock: Clock, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job()
    clock.advance(61)
    with monkeypatch.context() as patch:
        patch.setattr(
            services.webhook_queue._client,
            "send_message_batch",
            lambda **given: {"Failed": given["Entries"]},
        )
        assert sweep() == 0
    clock.advance(60)
    assert sweep() == 1


def test_the_sweeper_s_entry_point(entry_point: Callable[[str], Any]) -> None:
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 55_000)
    assert entry_point("sweeper").handler(load_event("sweeper"), context) == {"sent": 0}


# ---------------------------------------------------------------------------------------- dead letters


@pytest.fixture
def bury(
    entry_point: Callable[[str], Any], services: Services, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Any]:
    app = entry_point("deadletters")
    monkeypatch.setattr(app, "services", services)

    def deliver(body: str, *, age: float = 0) -> Any:
        """A message that was sent `age` seconds ago."""
        event = load_event("deadletters")
        event["Records"][0]["body"] = body
        event["Records"][0]["attributes"]["SentTimestamp"] = str(int((services.clock() - age) * 1000))
        return app.handler(event, SimpleNamespace())

    return deliver


def letter(job: Job) -> str:
    return f'{{"job": "{job.id}"}}'


def test_a_message_that_nobody_could_handle_ends_its_job(services: Services, make_job: Any, bury: Any) -> None:
    job = make_job()
    assert bury(letter(job)) == {"batchItemFailures": []}
    ended = state(services, job)
    assert ended.status is Status.FAILED
    assert ended.error is not None
    assert ended.error.type == "DeadLettered"
    assert "No worker could handle" in ended.error.message
    assert ended.expires_at is not None


def test_a_dead_worker_s_job_is_ended(services: Services, make_job: Any, bury: Any, clock: Clock) -> None:
    job = services.store.claim(make_job().id, token="dead", now=clock())
    clock.advance(LEASE + 1)
    bury(letter(job))
    assert state(services, job).status is Status.FAILED


def test_a_job_whose_workers_died_with_the_message_in_hand_has_its_other_attempts(
    services: Services, make_job: Any, bury: Any, clock: Clock, sweep: Sweep
) -> None:
    job = services.store.claim(make_job().id, token="dead", now=clock())
    clock.advance(LEASE + 6)
    bury(letter(job), age=LEASE + 7)
    assert state(services, job).status is Status.RUNNING
    assert sweep() == 1


def test_a_job_that_somebody_runs_or_that_waits_for_its_time_is_left_alone(
    services: Services, make_job: Any, bury: Any, clock: Clock
) -> None:
    running = services.store.claim(make_job().id, token="alive", now=clock())
    delayed = make_job(run_at=clock() + 100)
    for job in (running, delayed):
        before = state(services, job)
        bury(letter(job))
        assert state(services, job) == before


def test_an_ended_job_stays_as_it_ended(services: Services, make_job: Any, bury: Any, worker: Worker) -> None:
    job = make_job()
    services.queues.send(job)
    worker()
    before = state(services, job)
    bury(letter(job))
    assert state(services, job) == before


@pytest.mark.parametrize("body", ["", "junk", "{}", '{"job": "x"}', '{"job": "%s"}' % ("0" * 32)])
def test_a_dead_letter_of_no_job_is_done_with(bury: Any, body: str) -> None:
    assert bury(body) == {"batchItemFailures": []}


def test_a_poisoned_message_gets_there_by_the_queue_s_own_rule(services: Services, worker: Worker, aws: Any) -> None:
    client("sqs").send_message(QueueUrl=services.settings.queue_url, MessageBody="poison")
    receives = 0
    while records := worker.receive():
        receives += 1
        worker.handle(records)
        for record in records:
            client("sqs").change_message_visibility(
                QueueUrl=services.settings.queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
            )
        assert receives <= 10
    dead = client("sqs").receive_message(QueueUrl=services.settings.queue_url + "-dead")
    assert (receives, [message["Body"] for message in dead["Messages"]]) == (5, ["poison"])
