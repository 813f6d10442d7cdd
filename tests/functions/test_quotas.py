"""Submissions a minute: counted without a hot item, refused with what is exceeded, and free for who has no limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from mangum import Mangum

from common.errors import QuotaExceeded
from common.limits import CACHE_LIFE, Limits, OwnerLimits
from common.wiring import Services
from common.wiring import services as wire
from tests.aws import SESSION, Clock, client, message_count
from tests.handlers import Api

Calls = list[tuple[str, dict[str, Any]]]
MakeApi = Callable[..., Api]


@pytest.fixture
def limited(services: Services, clock: Clock) -> MakeApi:
    """The API of a deployment with limits, called by the owner acme."""
    from functions.api.application import create_app

    def make(**settings: Any) -> Api:
        used = wire(replace(services.settings, **settings), session=SESSION, clock=clock)
        return Api(Mangum(create_app(used), lifespan="off")).as_owner(used, "acme")

    return make


def submit(api: Api, key: str | None = None, **options: Any) -> Any:
    headers = {"idempotency-key": f'"{key}"'} if key else {}
    return api("POST", "/jobs", json={"task": "echo", "input": {}, **options}, headers=headers)


def test_one_too_many_is_refused_and_told_which_quota(limited: MakeApi, clock: Clock, services: Services) -> None:
    api = limited(owner_per_minute=3)
    clock.now = clock.now // 60 * 60 + 12
    assert [submit(api).status for _ in range(3)] == [202] * 3
    refused = submit(api)
    assert refused.status == 429
    assert refused.headers["retry-after"] == "48"
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert (problem["type"], problem["status"]) == ("urn:longrun:problem:quota-exceeded", 429)
    assert (problem["quota"], problem["limit"], problem["retry_after"]) == ("submissions_per_minute", 3, 48)
    assert problem["instance"] == "/jobs"
    assert message_count(services) == 3
    clock.advance(48)
    assert submit(api).status == 202


def test_owners_do_not_use_up_each_other_s_quota(limited: MakeApi, services: Services) -> None:
    api = limited(owner_per_minute=1)
    other = api.as_owner(services, "other")
    assert [submit(api).status, submit(api).status, submit(other).status] == [202, 429, 202]


def test_each_job_of_a_batch_counts(limited: MakeApi) -> None:
    api = limited(owner_per_minute=3)
    answer = api("POST", "/jobs:batch", json={"jobs": [{"task": "echo", "input": {}}] * 5})
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [202, 202, 202, 429, 429]
    assert results[4]["problem"]["quota"] == "submissions_per_minute"
    assert results[4]["problem"]["instance"] == "/jobs:batch#4"


def test_a_submission_that_is_wrong_does_not_count(limited: MakeApi) -> None:
    api = limited(owner_per_minute=1)
    assert [submit(api, task="none").status, submit(api, ttl_seconds=0).status, submit(api).status] == [422, 422, 202]


def test_a_replay_does_not_count_and_is_answered_when_the_minute_is_full(limited: MakeApi) -> None:
    api = limited(owner_per_minute=2)
    first = submit(api, "a")
    assert [submit(api, "a").status for _ in range(5)] == [202] * 5
    assert submit(api).status == 202
    assert submit(api).status == 429
    again = submit(api, "a")
    assert (again.status, again.headers["idempotent-replayed"]) == (202, "true")
    assert again.json()["id"] == first.json()["id"]
    assert submit(api, "a", ttl_seconds=5).status == 422  # another payload is that, first of all
    assert submit(api, "b").status == 429


def test_an_agent_s_route_is_a_submission_too(limited: MakeApi) -> None:
    api = limited(owner_per_minute=1)
    assert api("POST", "/agent/submit", json={"prompt": "hello"}).status == 202
    assert api("POST", "/agent/submit", json={"prompt": "hello"}).status == 429


def test_who_has_no_limit_pays_nothing(api: Api, calls: Calls) -> None:
    api("GET", "/tasks")  # its key is looked up
    calls.clear()
    submit(api)
    assert Counter(name for name, _ in calls) == {"PutItem": 1, "SendMessage": 1}


def test_who_has_one_pays_a_write_and_nothing_once_the_minute_is_full(limited: MakeApi, services: Services) -> None:
    api = limited(owner_per_minute=2)
    submit(api)
    seen = counted_calls(api)
    submit(api)
    assert Counter(seen) == {"UpdateItem": 1, "PutItem": 1, "SendMessage": 1}
    submit(api)
    seen.clear()
    assert submit(api).status == 429
    assert seen == []


def counted_calls(api: Api) -> list[str]:
    """The names of the AWS calls of this API from now on."""
    used: Services = api.handler.app.state.services  # type: ignore[attr-defined]
    seen: list[str] = []
    for made in (used.store._client, used.webhook_queue._client):
        made.meta.events.register("provide-client-params.*.*", lambda model, **_: seen.append(model.name))
    return seen


# ---------------------------------------------------------------------------------------- an owner's own limits


def own(services: Services, **defaults: int) -> Limits:
    table = services.settings.table_name
    return Limits(client("dynamodb"), table, OwnerLimits(**defaults), overrides=True)


def test_an_owner_s_own_limit_wins_over_the_deployment_s(limited: MakeApi, services: Services) -> None:
    own(services).write("acme", running=None, per_minute=1)
    api = limited(owner_per_minute=100, owner_overrides=True)
    assert [submit(api).status, submit(api).status] == [202, 429]
    other = api.as_owner(services, "other")
    assert [submit(other).status for _ in range(3)] == [202] * 3


def test_an_owner_may_be_freed_of_a_limit(limited: MakeApi, services: Services) -> None:
    own(services).write("acme", running=None, per_minute=0)
    api = limited(owner_per_minute=1, owner_overrides=True)
    assert [submit(api).status for _ in range(3)] == [202] * 3


def test_what_an_owner_has_no_limit_of_is_the_deployment_s(services: Services, clock: Clock) -> None:
    limits = own(services, running=5, per_minute=50)
    limits.write("acme", running=2, per_minute=None)
    assert limits.of("acme", clock()) == OwnerLimits(running=2, per_minute=50)
    assert limits.of("other", clock()) == OwnerLimits(running=5, per_minute=50)
    limits.forget("acme")
    clock.advance(CACHE_LIFE)
    assert limits.of("acme", clock()) == OwnerLimits(running=5, per_minute=50)


def test_limits_are_asked_after_once_a_minute(services: Services, clock: Clock) -> None:
    limits = own(services)
    assert limits.of("acme", clock()) == OwnerLimits()
    limits.write("acme", running=1, per_minute=1)
    clock.advance(CACHE_LIFE - 1)
    assert limits.of("acme", clock()) == OwnerLimits()
    clock.advance(1)
    assert limits.of("acme", clock()) == OwnerLimits(running=1, per_minute=1)


# ---------------------------------------------------------------------------------------- counting


def limits_of(services: Services, per_minute: int, **options: Any) -> Limits:
    table = services.settings.table_name
    return Limits(client("dynamodb"), table, OwnerLimits(per_minute=per_minute), overrides=False, **options)


def test_a_large_quota_is_spread_over_counters_and_is_exact(
    services: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.limits.PER_COUNTER", 20)
    limits = limits_of(services, 61)
    keys = [limits.count("acme", clock()).key for _ in range(61)]
    with pytest.raises(QuotaExceeded):
        limits.count("acme", clock())
    used = Counter(key["pk"]["S"] for key in keys if key)
    assert sorted(used.values()) == [15, 15, 15, 16]


def test_several_processes_share_a_quota(services: Services, clock: Clock) -> None:
    processes = [limits_of(services, 5) for _ in range(3)]
    accepted = 0
    for n in range(12):
        try:
            processes[n % 3].count("acme", clock())
            accepted += 1
        except QuotaExceeded:
            pass
    assert accepted == 5


def test_counters_are_forgotten_by_the_table(services: Services, clock: Clock) -> None:
    key = limits_of(services, 5).count("acme", clock()).key
    assert key is not None
    item = client("dynamodb").get_item(TableName=services.settings.table_name, Key=key)["Item"]
    assert clock() < int(item["expires_at"]["N"]) < clock() + 2 * 3600
