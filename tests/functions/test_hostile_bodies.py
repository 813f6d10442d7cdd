"""Whatever a client sends is taken and comes back equal, or is refused with its reason and leaves nothing behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.wiring import Services
from tests.aws import client
from tests.cases import bad_bodies, body_of
from tests.handlers import Api, Worker

CASES = bad_bodies()


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']}-{case['cat']}" for case in CASES])
def test_a_body_is_kept_exactly_or_refused_clearly(
    case: dict[str, Any], api: Api, open_api: Api, worker: Worker, services: Services
) -> None:
    if case["cat"] == "auth":  # where no key is needed, a wrong one is still wrong
        api = open_api
    body = body_of(case)
    headers = {"content-type": None} | case["headers"]

    answer = api("POST", "/jobs", body=body, headers=headers)

    verdict = f"{answer.status // 100}xx"
    assert verdict in case["expect"]["status"].split("|"), answer.text
    if verdict == "4xx":
        refused_clearly(answer.json(), answer.status)
        assert answer.headers["content-type"] == "application/problem+json"
        nothing_was_stored(services)
        return
    sent = json.loads(body.decode("utf-8-sig"))["input"]
    assert worker() == []
    job = api.job(answer.json()["id"])
    assert job["status"] == "completed", job
    assert exactly(whole(api, services, job, "input")) == exactly(sent)
    assert exactly(whole(api, services, job, "result")) == exactly(sent)


def exactly(value: Any) -> str:
    """Tells 1 from 1.0 and from true, and 0.0 from -0.0, which Python calls equal."""
    return json.dumps(value, sort_keys=True)


def refused_clearly(problem: dict[str, Any], status: int) -> None:
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"] or problem["errors"]
    assert problem["instance"] == "/jobs"
    assert all(error["loc"] is not None and error["msg"] for error in problem.get("errors", []))


def nothing_was_stored(services: Services) -> None:
    found = client("dynamodb").scan(TableName=services.settings.table_name)["Items"]
    assert not [item for item in found if item["pk"]["S"].startswith("job#")]
    counts = client("sqs").get_queue_attributes(QueueUrl=services.settings.queue_url, AttributeNames=["All"])
    assert counts["Attributes"]["ApproximateNumberOfMessages"] == "0"
    assert "Contents" not in client("s3").list_objects_v2(Bucket=services.settings.bucket_name)


def whole(api: Api, services: Services, job: dict[str, Any], name: str) -> Any:
    """An input or result, from the job or from where its link leads."""
    if f"{name}_link" not in job:
        return job[name]
    assert job[name] is None
    answer = api("GET", job[f"{name}_link"])
    assert answer.status == 303
    key = answer.headers["location"].split("?")[0].split(".com/")[-1].removeprefix("longrun/")
    return json.loads(services.blobs.get(key, 50_000_000))
