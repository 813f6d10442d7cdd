"""Records of the stream that are repeated, damaged or of no interest, and what the work on them costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from common.jobs import Job
from common.wiring import Services
from common.wiring import services as wire
from tests.aws import SESSION, Clock
from tests.functions.webhooks.conftest import scripted
from tests.handlers import load_event
from tests.post import Post, message_record
from tests.receiver import receiving


def test_a_stream_that_repeats_itself_makes_no_second_message(
    post: Post, laptop: Services, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    from functions.notifier.records import notify

    with receiving(scripted(200)) as receiver:
        end(make_job(callback_url=receiver.url))
        records = post.records()
        for _ in range(3):
            notify(laptop, records)
            post.deliver()
    assert len(receiver.received) == 1


def test_a_poison_record_does_not_hold_up_the_next_one(
    post: Post, laptop: Services, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    from functions.notifier.records import notify

    with receiving(scripted(200)) as receiver:
        lost, good = end(make_job(callback_url=receiver.url)), end(make_job(callback_url=receiver.url))
        records = post.records()
        assert len(records) == 2
        del records[0]["dynamodb"]["NewImage"]["history"]
        nobody = load_event("notifier")["Records"][0]
        del nobody["dynamodb"]["Keys"]
        assert notify(laptop, [nobody, *records]) == {"batchItemFailures": []}
        post.deliver()
        # The damaged record's job was looked at again, in the table.
        told = {json.loads(each.body)["data"]["task_id"] for each in receiver.received}
    assert told == {good.id, lost.id}


def test_only_when_nothing_answers_is_a_record_asked_for_again(
    post: Post, laptop: Services, make_job: Callable[..., Job], end: Callable[..., Job], aws: Any
) -> None:
    from functions.notifier.records import notify

    end(make_job(callback_url="https://hooks.example.com/"))
    records = post.records()
    number = records[0]["dynamodb"]["SequenceNumber"]
    nowhere = wire(replace(aws, table_name="none", webhook_queue_url=aws.queue_url + "-none"), session=SESSION)
    assert notify(nowhere, records) == {"batchItemFailures": [{"itemIdentifier": number}]}


def test_a_job_that_nobody_is_told_of_costs_one_read(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job], calls: list[tuple[str, Any]]
) -> None:
    end(make_job())
    records = post.records()
    assert len(records) == 1  # neither its start nor its claim reached the notifier
    before = len(calls)
    from functions.notifier.records import notify

    notify(post.services, records)
    assert [name for name, _ in calls[before:]] == ["GetItem"]


def test_a_delivered_webhook_costs_what_is_written_down(
    post: Post, laptop: Services, clock: Clock, make_job: Callable[..., Job], calls: list[tuple[str, Any]]
) -> None:
    with receiving(scripted(200)) as receiver:
        laptop.endpoints.set_url("acme", receiver.url, clock())
        laptop.store.request_cancel(make_job(), "wish", clock())
        before = len(calls)
        post.notify()
        post.deliver()
    names = [name for name, _ in calls[before:]]
    assert names == ["GetItem", "PutItem", "SendMessage", "GetItem", "GetItem", "UpdateItem"]


def test_the_entry_points_take_lambda_s_events(
    entry_point: Callable[[str], Any], make_job: Callable[..., Job], services: Services, clock: Clock
) -> None:
    assert entry_point("notifier").handler(load_event("notifier"), None) == {"batchItemFailures": []}
    assert entry_point("webhooks").handler(load_event("webhooks"), None) == {"batchItemFailures": []}
    bad = {"Records": [message_record("nonsense", 7)]}
    assert entry_point("webhooks").handler(bad, None) == {"batchItemFailures": [{"itemIdentifier": "7"}]}
