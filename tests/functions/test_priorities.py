"""Every message of a job names its owner and goes to the queue of the job's priority."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from common.jobs import LEASE, Priority
from common.keys import _OWNER
from common.queue import Message, NotAMessage, Reminder
from common.tasks import Registry, _defined
from common.wiring import Services
from tests.aws import Clock, client
from tests.functions.conftest import FAST
from tests.handlers import Api, Worker, load_event

PRIORITIES = list(Priority)
Calls = list[tuple[str, dict[str, Any]]]


class Given(BaseModel):
    pass


def url_of(services: Services, priority: Priority) -> str:
    settings = services.settings
    return {"low": settings.queue_url_low, "normal": settings.queue_url, "high": settings.queue_url_high}[priority]


@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_submission_waits_in_the_queue_of_its_priority(
    priority: Priority, api: Api, services: Services, calls: Calls, worker: Worker
) -> None:
    job = api.submit(priority=priority.value)
    assert job["priority"] == priority
    sent = next(given for name, given in calls if name == "SendMessage")
    assert (sent["QueueUrl"], sent["MessageGroupId"]) == (url_of(services, priority), "acme")
    assert json.loads(sent["MessageBody"]) == {"job": job["id"], "owner": "acme", "task": "echo"}
    assert worker() == []
    assert api.job(job["id"])["status"] == "completed"


def test_who_says_nothing_is_normal(api: Api) -> None:
    assert api.submit()["priority"] == "normal"


@pytest.mark.parametrize("priority", ["urgent", "HIGH", "", 1, None, True, ["high"]], ids=repr)
def test_another_priority_is_refused(priority: Any, api: Api) -> None:
    answer = api("POST", "/jobs", json={"task": "echo", "input": {}, "priority": priority})
    assert answer.status == 422
    assert answer.json()["errors"][0]["loc"] == ["priority"]


def test_each_job_of_a_batch_has_its_own(api: Api, services: Services, calls: Calls) -> None:
    jobs: list[dict[str, Any]] = [{"task": "echo", "input": {}, "priority": priority.value} for priority in PRIORITIES]
    results = api("POST", "/jobs:batch", json={"jobs": jobs}).json()["results"]
    assert [result["job"]["priority"] for result in results] == PRIORITIES
    sent = [given["QueueUrl"] for name, given in calls if name == "SendMessage"]
    assert sent == [url_of(services, priority) for priority in PRIORITIES]


def test_the_same_key_with_another_priority_is_another_payload(api: Api) -> None:
    key, body = {"idempotency-key": '"k"'}, {"task": "echo", "input": {}}
    assert api("POST", "/jobs", json=body, headers=key).status == 202
    assert api("POST", "/jobs", json=body | {"priority": "normal"}, headers=key).status == 202
    assert api("POST", "/jobs", json=body | {"priority": "high"}, headers=key).status == 422


@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_retry_goes_where_the_job_was(
    priority: Priority, services: Services, make_job: Any, make_worker: Any, calls: Calls
) -> None:
    def flaky(input: Given) -> None:
        raise OSError("again")

    registry = Registry()
    registry.add(_defined(flaky))
    job = make_job(task="flaky", priority=priority)
    services.queues.send(job)
    calls.clear()
    make_worker(registry=registry, pace=FAST)()
    sent = next(given for name, given in calls if name == "SendMessage")
    assert (sent["QueueUrl"], sent["MessageGroupId"]) == (url_of(services, priority), "acme")


def test_the_sweeper_sends_each_where_it_belongs(
    services: Services, make_job: Any, clock: Clock, sweep: Callable[[], int], calls: Calls
) -> None:
    jobs: dict[str, Priority] = {
        make_job(priority=priority, owner=f"owner-{priority}").id: priority for priority in PRIORITIES
    }
    clock.advance(61)
    assert sweep() == 3
    for name, given in calls:
        if name == "SendMessageBatch":
            for entry in given["Entries"]:
                priority = jobs.pop(json.loads(entry["MessageBody"])["job"])
                assert given["QueueUrl"] == url_of(services, priority)
                assert entry["MessageGroupId"] == f"owner-{priority}"
    assert not jobs


@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_message_is_hidden_where_it_came_from(
    priority: Priority, services: Services, make_job: Any, worker: Worker, clock: Clock
) -> None:
    """A receipt of one queue is refused by another."""
    job = make_job(priority=priority)
    services.store.claim(job.id, token="another", now=clock())
    services.queues.send(job)
    [record] = worker.receive(url_of(services, priority))
    record["attributes"]["ApproximateReceiveCount"] = "2"  # it came back: its worker may be dead
    assert worker.handle([record], url_of(services, priority)) == [record["messageId"]]
    hidden = client("sqs").get_queue_attributes(QueueUrl=url_of(services, priority), AttributeNames=["All"])
    assert hidden["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1"
    clock.advance(LEASE)
    services.queues.delete(Message.from_record(record))
    left = client("sqs").get_queue_attributes(QueueUrl=url_of(services, priority), AttributeNames=["All"])
    assert left["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_deployment_without_the_other_queues_has_one(services: Services, make_job: Any, calls: Calls) -> None:
    from common.queue import Queues

    queues = Queues(client("sqs"), {Priority.NORMAL: services.settings.queue_url, Priority.HIGH: ""})
    for priority in PRIORITIES:
        queues.send(make_job(priority=priority))
    counted = client("sqs").get_queue_attributes(QueueUrl=services.settings.queue_url, AttributeNames=["All"])
    assert counted["Attributes"]["ApproximateNumberOfMessages"] == "3"


@pytest.mark.parametrize("owner", ["a", "Acme-1_b.c", "9" + "x" * 63])
def test_whoever_may_be_an_owner_may_be_a_group(owner: str, services: Services, make_job: Any) -> None:
    assert _OWNER.fullmatch(owner)
    # SQS: up to 128 letters, digits and punctuation.
    assert re.fullmatch(r"""[A-Za-z0-9!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}""", owner)
    services.queues.send(make_job(owner=owner))


def test_no_owner_s_name_breaks_a_group() -> None:
    allowed = set(re.findall(r"[A-Za-z0-9_.-]", "".join(map(chr, range(128)))))
    assert {character for character in map(chr, range(128)) if _OWNER.fullmatch("a" + character)} == allowed


@pytest.mark.parametrize("more", [{"owner": 1}, {"task": []}, {"bounces": "2"}], ids=repr)
def test_a_message_that_says_nonsense_is_none(more: dict[str, Any]) -> None:
    record = load_event("worker")["Records"][0]
    record["body"] = json.dumps({"job": "0" * 32} | more)
    with pytest.raises(NotAMessage):
        Message.from_record(record)


def test_a_webhook_s_message_is_as_it_was() -> None:
    entry = Reminder("0" * 32, 0, "msg_1", "acme").entry(fair=True)
    assert json.loads(entry["MessageBody"]) == {"job": "0" * 32, "delivery": "msg_1"}
    assert entry["MessageGroupId"] == "acme"
