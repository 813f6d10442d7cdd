"""Keys, problems, health, tasks: what every route shares."""

from __future__ import annotations

import pytest

from common.jobs import DAY
from common.wiring import Services
from tests.aws import Clock
from tests.handlers import Api


@pytest.mark.parametrize("path", ["/jobs", "/tasks", "/documents", "/jobs/" + "0" * 32])
def test_without_a_key_everything_is_closed(anybody: Api, path: str) -> None:
    answer = anybody("GET", path)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer lr_" + "x" * 43},
        {"authorization": "lr_" + "x" * 43},
        {"authorization": "Bearer"},
        {"authorization": "Basic YTpi"},
        {"authorization": ""},
        {"x-api-key": "junk"},
    ],
)
def test_a_wrong_key_is_wrong_wherever_keys_are_optional_too(
    anybody: Api, open_api: Api, headers: dict[str, str]
) -> None:
    closed, opened = anybody("GET", "/jobs", headers=headers), open_api("GET", "/jobs", headers=headers)
    assert (closed.status, opened.status) == (401, 401)
    assert closed.text == opened.text


def test_a_key_works_in_either_header_until_it_is_revoked(anybody: Api, services: Services, clock: Clock) -> None:
    key, info = services.keys.create("acme", "ci", clock())
    assert anybody("GET", "/jobs", headers={"x-api-key": key}).status == 200
    assert anybody("GET", "/jobs", headers={"authorization": f"bearer {key}"}).status == 200

    assert services.keys.revoke("acme", info.id)
    clock.advance(61)

    assert anybody("GET", "/jobs", headers={"x-api-key": key}).status == 401
    assert services.keys.list("acme") == []
    assert not services.keys.revoke("acme", info.id)


def test_a_laptop_s_caller_is_local(open_api: Api) -> None:
    job = open_api.submit()
    assert [listed["id"] for listed in open_api("GET", "/jobs").json()["jobs"]] == [job["id"]]


def test_keys_are_kept_as_hashes_only(services: Services, clock: Clock) -> None:
    from tests.aws import client

    key, _ = services.keys.create("acme", "ci", clock())
    assert key not in str(client("dynamodb").scan(TableName=services.settings.table_name))


@pytest.mark.parametrize("owner", ["", "a b", "a#b", "../x", "-a", "ü", "x" * 65])
def test_owners_names_are_checked(services: Services, owner: str) -> None:
    with pytest.raises(ValueError, match="owner's name"):
        services.keys.create(owner, "", 0)


def test_health_needs_no_key(anybody: Api) -> None:
    answer = anybody("GET", "/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PATCH", "/jobs", 405), ("PUT", "/health", 405), ("GET", "/jobs/", 404)],
)
def test_what_is_not_there_is_a_problem_too(api: Api, method: str, path: str, status: int) -> None:
    answer = api(method, path)
    assert (answer.status, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == path


def test_tasks_say_what_they_take(api: Api) -> None:
    listed = {task["name"]: task for task in api("GET", "/tasks").json()["tasks"]}
    assert listed["echo"]["input_schema"]["properties"]["seconds"]["maximum"] == 900
    assert api("GET", "/tasks/echo").json() == listed["echo"]
    assert api("GET", "/tasks/nope").status == 404


def test_the_api_describes_itself(anybody: Api) -> None:
    schema = anybody("GET", "/openapi.json").json()
    body = schema["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "callback_url" in body["properties"]
    assert anybody("GET", "/docs").status == 200


@pytest.mark.parametrize("delay", [-1, 7 * DAY + 1, True, "5", 1.5])
def test_delays_have_limits(api: Api, delay: object) -> None:
    answer = api("POST", "/jobs", json={"task": "echo", "input": {}, "delay_seconds": delay})
    assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, ["delay_seconds"])


@pytest.mark.parametrize("key", ["", '""', '"unclosed', "a b", "a,b", "ü".encode().decode("latin-1"), "x" * 256])
def test_a_malformed_idempotency_key_is_refused(api: Api, key: str) -> None:
    answer = api("POST", "/jobs", json={"task": "echo", "input": {}}, headers={"idempotency-key": key})
    assert (answer.status, "Idempotency-Key" in answer.json()["detail"]) == (400, True)
