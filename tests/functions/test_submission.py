"""Submitting: one put, one message; the same key makes one job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from mangum import Mangum

from common.jobs import DAY, Priority, derived_id
from common.queue import Queues
from common.wiring import Services
from tests.aws import Clock, client, message_count
from tests.handlers import Api, Worker

ECHO = {"task": "echo", "input": {"hello": "world"}}


def test_a_submission_is_answered_with_the_job_and_where_to_look(api: Api) -> None:
    answer = api("POST", "/jobs", json=ECHO)

    job = answer.json()
    assert answer.status == 202
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert answer.headers["retry-after"] == "1"
    assert job["status"] == "pending"
    assert job["input"] == {"hello": "world"}
    assert job["created_at"] == "2026-11-22T10:00:00.000Z"
    assert (job["result"], job["error"], job["attempt"], job["last_event"]) == (None, None, 0, 1)


def test_a_submitted_job_is_completed_by_the_worker(api: Api, worker: Worker) -> None:
    job = api.submit("echo", {"hello": "world"})

    assert worker() == []

    done = api.job(job["id"])
    assert done["status"] == "completed"
    assert done["result"] == {"hello": "world"}
    assert done["attempt"] == 1
    assert done["expires_at"] == "2026-11-23T10:00:00.000Z"


def test_options_are_kept(api: Api) -> None:
    options = {
        "timeout_seconds": 60,
        "max_attempts": 5,
        "metadata": {"customer": "42"},
        "callback_url": "https://hooks.example.com/x",
    }
    job = api.submit("echo", {}, **options)
    assert {name: api.job(job["id"])[name] for name in options} == options


def test_the_same_key_gives_the_same_job_once(api: Api, worker: Worker, services: Services) -> None:
    first = api("POST", "/jobs", json=ECHO, headers={"idempotency-key": '"order-1"'})
    again = api("POST", "/jobs", json=ECHO, headers={"idempotency-key": "order-1"})

    assert (first.status, again.status) == (202, 202)
    assert again.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert message_count(services) == 1
    worker()
    after = api("POST", "/jobs", json=ECHO, headers={"idempotency-key": "order-1"})
    assert after.json()["status"] == "completed"
    assert message_count(services) == 0


def test_the_order_of_members_makes_no_other_payload(api: Api) -> None:
    key = {"idempotency-key": "k"}
    first = api("POST", "/jobs", json={"task": "echo", "input": {"a": 1, "b": 2}}, headers=key)
    again = api("POST", "/jobs", json={"input": {"b": 2, "a": 1}, "task": "echo"}, headers=key)
    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize("other", [{"input": {"hello": "you"}}, {"max_attempts": 4}, {"delay_seconds": 5}])
def test_another_payload_under_a_used_key_is_refused(api: Api, services: Services, other: dict[str, Any]) -> None:
    key = {"idempotency-key": '"order-1"'}
    first = api("POST", "/jobs", json=ECHO, headers=key).json()

    answer = api("POST", "/jobs", json=ECHO | other, headers=key)

    assert answer.status == 422
    assert answer.json()["type"] == "urn:longrun:problem:key-reused"
    assert api.job(first["id"])["input"] == ECHO["input"]
    assert message_count(services) == 1


def test_a_large_losing_payload_does_not_touch_the_winner_s(api: Api) -> None:
    key = {"idempotency-key": "k"}
    won = api("POST", "/jobs", json={"task": "echo", "input": {"v": "a" * 5_000}}, headers=key).json()
    lost = api("POST", "/jobs", json={"task": "echo", "input": {"v": "b" * 5_000}}, headers=key)
    assert lost.status == 422
    assert api.job(won["id"])["input"] == {"v": "a" * 5_000}


def test_keys_belong_to_their_owner(api: Api, services: Services) -> None:
    other = api.as_owner(services, "other")
    key = {"idempotency-key": '"order-1"'}
    mine = api("POST", "/jobs", json=ECHO, headers=key).json()
    theirs = other("POST", "/jobs", json=ECHO, headers=key)
    assert theirs.json()["id"] != mine["id"]
    assert "idempotent-replayed" not in theirs.headers


def test_a_key_lives_as_long_as_its_job(api: Api, worker: Worker, clock: Clock) -> None:
    key = {"idempotency-key": '"order-1"'}
    api("POST", "/jobs", json=ECHO, headers=key)
    worker()
    clock.advance(DAY - 1)
    assert api("POST", "/jobs", json=ECHO, headers=key).json()["status"] == "completed"

    clock.advance(1)
    fresh = api("POST", "/jobs", json=ECHO | {"input": {"other": True}}, headers=key)

    assert fresh.status == 202
    assert fresh.json()["status"] == "pending"
    assert "idempotent-replayed" not in fresh.headers
    worker()
    assert api.job(fresh.json()["id"])["result"] == {"other": True}


def test_a_queue_that_refuses_is_a_503_that_is_safe_to_repeat(
    services: Services, clock: Clock, worker: Worker, sweep: Any
) -> None:
    from functions.api.application import create_app

    broken = replace(services, queues=Queues(client("sqs"), {Priority.NORMAL: services.settings.queue_url + "-gone"}))
    api = Api(Mangum(create_app(broken), lifespan="off")).as_owner(services, "acme")
    key = {"idempotency-key": '"order-1"'}

    refused = api("POST", "/jobs", json=ECHO, headers=key)
    again = api("POST", "/jobs", json=ECHO, headers=key)

    job_id = derived_id("acme", "order-1")
    assert refused.status == 503
    assert refused.headers["retry-after"]
    assert refused.json()["instance"] == f"/jobs/{job_id}"
    assert (again.status, again.json()["id"]) == (202, job_id)
    clock.advance(61)
    assert sweep() == 1
    worker()
    assert api.job(job_id)["status"] == "completed"


def test_a_table_that_does_not_answer_is_a_503(services: Services, monkeypatch: pytest.MonkeyPatch, api: Api) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb")

    monkeypatch.setattr(services.store._client, "put_item", unreachable)
    answer = api("POST", "/jobs", json=ECHO)
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert message_count(services) == 0


def test_an_input_must_fit_its_task(api: Api, services: Services) -> None:
    answer = api("POST", "/jobs", json={"task": "echo", "input": {"seconds": "soon"}})
    assert answer.status == 422
    assert answer.json()["errors"][0]["loc"] == ["input", "seconds"]
    assert message_count(services) == 0


def test_a_batch_answers_each_submission_on_its_own(api: Api, worker: Worker) -> None:
    jobs = [ECHO, {"task": "nope", "input": {}}, ECHO | {"idempotency_key": "k"}, ECHO | {"idempotency_key": "k"}, 7]

    answer = api("POST", "/jobs:batch", json={"jobs": jobs})

    assert answer.status == 200
    results = answer.json()["results"]
    assert [one["status"] for one in results] == [202, 422, 202, 202, 422]
    assert results[1]["problem"]["errors"][0]["loc"] == ["task"]
    assert [results[n]["replayed"] for n in (2, 3)] == [False, True]
    assert results[2]["job"]["id"] == results[3]["job"]["id"]
    worker()
    assert api.job(results[0]["job"]["id"])["status"] == "completed"


@pytest.mark.parametrize(
    "body", [{}, {"jobs": []}, {"jobs": [ECHO] * 101}, {"jobs": ECHO}, [ECHO], {"jobs": [ECHO], "x": 1}]
)
def test_a_batch_that_is_none_is_refused(api: Api, body: Any) -> None:
    assert api("POST", "/jobs:batch", json=body).status == 422


def test_a_short_job_can_be_waited_for(api: Api) -> None:
    answer = api("POST", "/jobs", json=ECHO, headers={"prefer": "respond-async, wait=0"})
    assert answer.status == 202
    assert answer.headers["preference-applied"] == "wait=0"


def test_an_input_can_be_uploaded(api: Api, worker: Worker, services: Services) -> None:
    upload = api("POST", "/uploads", json={"bytes": 11}).json()
    assert upload["url"].startswith("https://")
    services.blobs.put(f"uploads/acme/{upload['upload_id']}", b'{"big": 1}\n', "application/json")

    job = api("POST", "/jobs", json={"task": "echo", "upload": upload["upload_id"]})

    assert job.status == 202
    worker()
    assert api.job(job.json()["id"])["result"] == {"big": 1}


def test_another_owner_s_upload_does_not_exist(api: Api, services: Services) -> None:
    services.blobs.put("uploads/other/" + "0" * 32, b"{}", "application/json")
    for upload in ("0" * 32, "../other/" + "0" * 32):
        answer = api("POST", "/jobs", json={"task": "echo", "upload": upload})
        assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, ["upload"])


@pytest.mark.parametrize("size", [0, 50_000_001, -1, 1.5, "1"])
def test_uploads_have_limits(api: Api, size: Any) -> None:
    assert api("POST", "/uploads", json={"bytes": size}).status == 422
