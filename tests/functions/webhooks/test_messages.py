"""What a message says, how large it may be, and that each address has it once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from common.jobs import Job, Status
from common.webhooks import MAX_BODY
from common.wiring import Services
from tests.aws import Clock
from tests.functions.webhooks.conftest import scripted
from tests.handlers import Api
from tests.post import Post
from tests.receiver import receiving


@pytest.mark.parametrize(
    ("options", "kind", "status"),
    [({}, "job.completed", "completed"), ({"error": "no"}, "job.failed", "failed")],
)
def test_both_the_callback_and_the_endpoint_are_told(
    post: Post,
    laptop: Services,
    clock: Clock,
    make_job: Callable[..., Job],
    end: Callable[..., Job],
    options: dict[str, Any],
    kind: str,
    status: str,
) -> None:
    with receiving(scripted(200)) as receiver:
        laptop.endpoints.set_url("acme", f"{receiver.url}/all", clock())
        job = end(make_job(callback_url=f"{receiver.url}/one"), **options)
        post.run(1)
    assert sorted(each.path for each in receiver.received) == ["/all", "/one"]
    for each in receiver.received:
        message = json.loads(each.body)
        assert (message["type"], message["data"]["task_id"]) == (kind, job.id)
        assert (message["data"]["job"]["status"], message["data"]["job"]["last_event"]) == (status, job.last_event)


def test_one_address_is_told_once(
    post: Post, laptop: Services, clock: Clock, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    with receiving(scripted(200)) as receiver:
        laptop.endpoints.set_url("acme", receiver.url, clock())
        end(make_job(callback_url=receiver.url))
        post.run(1)
    assert len(receiver.received) == 1


def test_a_message_for_a_large_result_stays_small_and_links_to_it(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    with receiving(scripted(200)) as receiver:
        job = end(make_job(callback_url=receiver.url), result="é" * 2_500_000)
        post.run(1)
    assert len(receiver.received[0].body) < MAX_BODY
    message = json.loads(receiver.received[0].body)
    assert message["data"]["job"]["result"] is None
    assert message["data"]["job"]["result_link"] == f"https://api.example.com/jobs/{job.id}/result"


@pytest.mark.parametrize("size", [15_000, 19_000, 25_000, 90_000])
def test_no_message_is_over_its_size(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job], size: int
) -> None:
    with receiving(scripted(200)) as receiver:
        made = make_job(callback_url=receiver.url, metadata={f"{n}": "ü" * 500 for n in range(10)})
        end(made, result="x" * size)
        end(make_job(callback_url=receiver.url), error="ü" * 4_000)
        post.run(1)
    assert max(len(each.body) for each in receiver.received) <= MAX_BODY
    assert len(receiver.received) == 2


def test_the_simple_receivers_find_what_they_look_for(post: Post, open_api: Api, worker: Any, laptop: Services) -> None:
    with receiving(scripted(200)) as receiver:
        answer = open_api(
            "POST",
            "/agent/submit-with-callback",
            json={"prompt": "17 * 23 = ?", "callback_url": "https://hooks.example.com/agent"},
        )
        assert answer.json()["status"] == "submitted"
        job = laptop.store.get(answer.json()["task_id"], 0)
        assert job is not None
        assert job.callback_form == "simple"
        point_at(laptop, job, receiver.url)
        laptop.store.request_cancel(job, "wish", laptop.clock())
        post.run(1)
    message = json.loads(receiver.received[0].body)
    assert (message["task_id"], message["status"]) == (job.id, "cancelled")
    assert (message["result"], message["error"]) == (None, "The job was cancelled.")
    assert message["type"] == "job.cancelled"


def point_at(services: Services, job: Job, url: str) -> None:
    """The receiver of a test listens on loopback, which the API of a deployment refuses."""
    services.store._client.update_item(
        TableName=services.settings.table_name,
        Key={"pk": {"S": f"job#{job.id}"}, "sk": {"S": "job"}},
        UpdateExpression="SET callback_url = :u",
        ExpressionAttributeValues={":u": {"S": url}},
    )


def test_waiting_jobs_are_told_of_too(make_job: Callable[..., Job], clock: Clock) -> None:
    from common.jobs import Change
    from common.notices import told_changes

    job = make_job()
    waiting = replace(job, history=(*job.history, Change(2, clock(), Status.WAITING, detail={"asks": True})))
    assert [change.status for change in told_changes(job, waiting)] == ["waiting"]
    assert told_changes(waiting, waiting) == []
