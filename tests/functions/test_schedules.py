"""Schedules: what EventBridge is told, and the one job of each firing, whatever happens in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from common.errors import NotFound
from common.jobs import DAY, Job
from common.scheduler import SCHEDULED_TIME, name_of
from common.schedules import KEPT, MIN_TTL, MOST, PATIENCE, State
from common.settings import Settings
from common.wiring import Services
from common.wiring import services as wire
from functions.api import scheduling
from functions.scheduled.firing import Firing, NotAFiring, fire
from tests.conftest import RESOURCES, SESSION, Api, Clock, Worker, client, load_event, message_count

GROUP = "longrun-schedules"
HOURLY = {"name": "hourly", "rate": "1 hour", "task": "echo", "input": {"n": 1}}


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def services(aws: Settings, clock: Clock) -> Services:
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:longrun-scheduled"
    role = "arn:aws:iam::123456789012:role/longrun-schedules"
    letters = "arn:aws:sqs:eu-central-1:123456789012:longrun-schedules-dead"
    client("scheduler").create_schedule_group(Name=GROUP)
    settings = replace(
        aws, schedule_group=GROUP, schedule_target=arn, schedule_role=role, schedule_dead_letters=letters
    )
    return wire(settings, session=SESSION, clock=clock)


Fire = Callable[..., str | None]


@pytest.fixture
def scheduled(
    services: Services, entry_point: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, Any]], str | None]:
    """The function's handler, called with an event."""
    app = entry_point("scheduled")
    monkeypatch.setattr(app, "services", services)

    def handle(event: dict[str, Any]) -> str | None:
        job: str | None = app.handler(event, SimpleNamespace())["job"]
        return job

    return handle


@pytest.fixture
def due(scheduled: Callable[[dict[str, Any]], str | None], clock: Clock) -> Fire:
    """What EventBridge does when the (only) schedule is due now, or was `ago` seconds ago; gives the job's id."""

    def fire_now(ago: float = 0, told: dict[str, Any] | None = None) -> str | None:
        return scheduled(event_of(told or known()[0], clock() - ago))

    return fire_now


def known() -> list[dict[str, Any]]:
    """What EventBridge knows, in full."""
    found = client("scheduler").list_schedules(GroupName=GROUP)["Schedules"]
    return [client("scheduler").get_schedule(GroupName=GROUP, Name=each["Name"]) for each in found]


def event_of(told: dict[str, Any], at: float) -> dict[str, Any]:
    due = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event: dict[str, Any] = json.loads(told["Target"]["Input"].replace(SCHEDULED_TIME, due))
    return event


def make(api: Api, key: str | None = None, **changes: Any) -> dict[str, Any]:
    answer = api("POST", "/schedules", json=HOURLY | changes, headers={"idempotency-key": key} if key else None)
    assert answer.status == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def jobs(api: Api) -> list[str]:
    return [job["id"] for job in api("GET", "/jobs").json()["jobs"]]


@pytest.fixture
def when_calling(services: Services) -> Iterator[Callable[[str, Callable[[], object]], None]]:
    """Has something happen once, just before the next call of this operation of EventBridge."""
    events, undo = services.scheduler._client.meta.events, []

    def hook(operation: str, happens: Callable[[], object]) -> None:
        name, pending = f"before-call.scheduler.{operation}", [happens]

        def handler(**_: Any) -> None:
            if pending:
                pending.pop()()

        events.register(name, handler)
        undo.append((name, handler))

    yield hook
    for name, handler in undo:
        events.unregister(name, handler)


def raising(error: BaseException) -> Callable[..., object]:
    def happens(**_: Any) -> object:
        raise error

    return happens


def refusal(message: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "CreateSchedule")


# ------------------------------------------------------------------ making them


def test_a_schedule_is_shown_and_known_to_eventbridge(api: Api, services: Services) -> None:
    made = make(api, cron="0 9 ? * mon-fri *", rate=None, timezone="Europe/Berlin", max_attempts=2, priority="low")
    assert made == {
        "id": made["id"],
        "name": "hourly",
        "status": "active",
        "cron": "0 9 ? * MON-FRI *",
        "rate": None,
        "at": None,
        "timezone": "Europe/Berlin",
        "task": "echo",
        "input": {"n": 1},
        "timeout_seconds": made["timeout_seconds"],
        "max_attempts": 2,
        "ttl_seconds": DAY,
        "callback_url": None,
        "priority": "low",
        "max_tokens": None,
        "max_cost_usd": None,
        "metadata": {},
        "created_at": "2026-11-22T10:00:00.000Z",
        "last_fired_at": None,
        "last_job": None,
    }
    [told] = known()
    assert told["Name"].startswith(made["id"])
    assert (told["ScheduleExpression"], told["ScheduleExpressionTimezone"]) == (
        "cron(0 9 ? * MON-FRI *)",
        "Europe/Berlin",
    )
    assert (told["State"], told["ActionAfterCompletion"], told["FlexibleTimeWindow"]) == (
        "ENABLED",
        "NONE",
        {"Mode": "OFF"},
    )
    target = told["Target"]
    assert (target["Arn"], target["RoleArn"]) == (services.settings.schedule_target, services.settings.schedule_role)
    assert target["DeadLetterConfig"] == {"Arn": services.settings.schedule_dead_letters}
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == PATIENCE
    assert event_of(told, 0).keys() == load_event("scheduled").keys()
    assert api("GET", f"/schedules/{made['id']}").json() == made
    [listed] = api("GET", "/schedules").json()["schedules"]
    assert listed == {name: value for name, value in made.items() if name != "input"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"rate": "1 minute"}, "rate(1 minute)"),
        ({"rate": "rate(5 minute)"}, "rate(5 minutes)"),
        ({"rate": " 7  days "}, "rate(7 days)"),
        ({"cron": "cron(*/10 * * * ? *)"}, "cron(*/10 * * * ? *)"),
        ({"cron": "0  0  1,15  *  ?  2027-2030"}, "cron(0 0 1,15 * ? 2027-2030)"),
        ({"at": "2026-11-22T10:00:05"}, "at(2026-11-22T10:00:05)"),
        ({"at": "2027-01-31T09:00Z"}, "at(2027-01-31T09:00:00)"),
        ({"at": "2027-01-31T09:00:00.000+01:00"}, "at(2027-01-31T08:00:00)"),
        ({"at": "2027-07-31T09:00:00", "timezone": "Europe/Berlin"}, "at(2027-07-31T07:00:00)"),
    ],
)
def test_when_may_be_said_in_several_ways(api: Api, given: dict[str, Any], told: str) -> None:
    make(api, **({"rate": None} | given))
    assert known()[0]["ScheduleExpression"] == told


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"rate": None}, "cron"),
        ({"cron": "0 9 ? * MON *"}, "cron"),
        ({"rate": "0 minutes"}, "rate"),
        ({"rate": "30 seconds"}, "rate"),
        ({"rate": "1.5 hours"}, "rate"),
        ({"rate": "-1 hours"}, "rate"),
        ({"rate": "one hour"}, "rate"),
        ({"rate": ""}, "rate"),
        ({"rate": "x" * 300}, "rate"),
        ({"rate": 5}, "rate"),
        ({"rate": None, "cron": "*/5 * * * *"}, "cron"),
        ({"rate": None, "cron": "0 9 * * * *"}, "cron"),
        ({"rate": None, "cron": "0 9 1 * MON *"}, "cron"),
        ({"rate": None, "cron": "0 9 ? * ? *"}, "cron"),
        ({"rate": None, "cron": "0 9 ? * MON) *"}, "cron"),
        ({"rate": None, "at": "tomorrow"}, "at"),
        ({"rate": None, "at": "2026-11-22T10:00:04"}, "at"),
        ({"rate": None, "at": "2020-01-01T00:00:00Z"}, "at"),
        ({"rate": None, "at": "2027-02-30T00:00:00"}, "at"),
        ({"rate": None, "at": "9999-12-31T23:59:59-12:00"}, "at"),
        ({"rate": None, "at": "2027-03-28T02:30:00", "timezone": "Europe/Berlin"}, "at"),
        ({"rate": None, "at": "2027-01-31T09:00:00Z", "timezone": "Europe/Berlin"}, "timezone"),
        ({"timezone": "Europe"}, "timezone"),
        ({"timezone": "Mars/Phobos"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"timezone": "x" * 51}, "timezone"),
        ({"timezone": None, "rate": None, "at": None}, "cron"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": 5}, "name"),
        ({"task": "nonesuch"}, "task"),
        ({"task": None}, "task"),
        ({"input": None}, ""),
        ({"input": []}, "input"),
        ({"input": {"n": "x" * 100_000}}, "input"),
        ({"input": None, "upload": "0" * 32}, "upload"),
        ({"delay_seconds": 5}, "delay_seconds"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"max_attempts": 21}, "max_attempts"),
        ({"ttl_seconds": MIN_TTL - 1}, "ttl_seconds"),
        ({"callback_url": "http://127.0.0.1/"}, "callback_url"),
        ({"metadata": {"": "x"}}, "metadata"),
        ({"priority": "urgent"}, "priority"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"crom": "x"}, "crom"),
    ],
)
def test_what_is_wrong_is_said(api: Api, changes: dict[str, Any], at: str) -> None:
    body = {name: value for name, value in (HOURLY | changes).items() if value is not None or name not in HOURLY}
    answer = api("POST", "/schedules", json=body)
    assert answer.status == 422, answer.text
    [first, *_] = answer.json()["errors"]
    assert [*first["loc"], ""][0] == at
    assert known() == []
    assert api("GET", "/schedules").json()["schedules"] == []


@pytest.mark.parametrize("body", [[], "x", None, 5])
def test_what_is_no_schedule_is_refused(api: Api, body: Any) -> None:
    assert api("POST", "/schedules", body=json.dumps(body).encode()).status == 422


def test_what_eventbridge_refuses_is_refused_and_forgotten(api: Api, when_calling: Any) -> None:
    when_calling("CreateSchedule", raising(refusal("Invalid Schedule Expression cron(99 ...).")))
    answer = api("POST", "/schedules", json=HOURLY | {"rate": "999999 days"})
    assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, ["rate"])
    when_calling("CreateSchedule", raising(refusal("Provided ScheduleExpressionTimezone is not valid.")))
    answer = api("POST", "/schedules", json=HOURLY | {"timezone": "Factory"})
    assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, ["timezone"])
    assert api("GET", "/schedules").json()["schedules"] == []


def test_one_key_makes_one_schedule(api: Api) -> None:
    made = make(api, key="daily")
    again = api("POST", "/schedules", json=HOURLY, headers={"idempotency-key": "daily"})
    assert (again.status, again.headers["idempotent-replayed"], again.json()) == (201, "true", made)
    other = api("POST", "/schedules", json=HOURLY | {"rate": "2 hours"}, headers={"idempotency-key": "daily"})
    assert (other.status, other.json()["type"]) == (422, "urn:longrun:problem:key-reused")
    assert len(known()) == 1


def test_one_key_makes_one_schedule_under_a_race(services: Services) -> None:
    def submit(_: int) -> str:
        new = scheduling.read_schedule(services, HOURLY)
        return scheduling.make(services, "acme", new, "daily").schedule.id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(submit, range(8)))) == 1
    assert len(known()) == 1


def test_a_time_that_has_come_meanwhile_does_not_hinder_a_repetition(api: Api, clock: Clock) -> None:
    made = make(api, key="once", rate=None, at="2026-11-22T10:01:00")
    clock.advance(61)
    assert make(api, key="once", rate=None, at="2026-11-22T10:01:00")["id"] == made["id"]


def test_an_owner_has_a_hundred_at_the_most(api: Api, services: Services) -> None:
    new = scheduling.read_schedule(services, HOURLY)
    made = [scheduling.make(services, "acme", new, None).schedule.id for _ in range(MOST)]
    answer = api("POST", "/schedules", json=HOURLY)
    assert (answer.status, answer.json()["title"]) == (409, "Not possible in the present state")
    make(api.as_owner(services, "other"))
    assert api("DELETE", f"/schedules/{made[0]}").status == 204
    make(api)


def test_schedules_are_listed_page_by_page(api: Api) -> None:
    made = {make(api, name=str(n))["id"] for n in range(5)}
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = api("GET", "/schedules", limit=2, **cursor).json()
        seen += [each["id"] for each in page["schedules"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == sorted(made)
    assert api("GET", "/schedules", cursor="key#1").status == 400


def test_another_owner_s_schedule_is_as_good_as_none(api: Api, services: Services) -> None:
    made, other = make(api), api.as_owner(services, "other")
    routes = [("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("DELETE", "")]
    for schedule_id in (made["id"], "0" * 32, "x#y", "0" * 2_000):
        answers = [other(method, f"/schedules/{schedule_id}{path}") for method, path in routes]
        assert [answer.status for answer in answers] == [404] * 4
        assert {answer.json()["detail"] for answer in answers} == {"No such schedule."}
    assert other("GET", "/schedules").json()["schedules"] == []
    assert api("GET", f"/schedules/{made['id']}").json()["status"] == "active"


# ------------------------------------------------------------------ firing


def test_a_firing_makes_its_job_once(
    api: Api, due: Fire, services: Services, clock: Clock, make_worker: Callable[..., Worker]
) -> None:
    made = make(api, metadata={"team": "a"}, timeout_seconds=60, max_cost_usd=0.5, input={"n": 1.50, "text": "ü"})
    clock.advance(3600)
    job_id = due()
    assert job_id is not None
    assert [due(), due()] == [job_id, job_id]
    assert (jobs(api), message_count(services)) == ([job_id], 1)
    make_worker()()
    job = api.job(job_id)
    assert (job["status"], job["result"], job["metadata"]) == ("completed", {"n": 1.50, "text": "ü"}, {"team": "a"})
    assert (job["timeout_seconds"], job["created_at"]) == (60, "2026-11-22T11:00:00.000Z")
    stored = services.store.get(job_id, clock())
    assert stored is not None
    assert stored.budget.max_cost_nano_usd == 500_000_000
    shown = api("GET", f"/schedules/{made['id']}").json()
    assert (shown["last_job"], shown["last_fired_at"]) == (job_id, "2026-11-22T11:00:00.000Z")


def test_each_firing_makes_a_job_of_its_own(api: Api, due: Fire, clock: Clock, services: Services) -> None:
    make(api)
    made = []
    for _ in range(3):
        clock.advance(3600)
        made.append(due())
    assert sorted(made) == sorted(jobs(api))  # type: ignore[type-var]
    assert len(set(made)) == message_count(services) == 3


def test_many_who_fire_at_once_make_one_job(api: Api, services: Services, clock: Clock) -> None:
    make(api)
    firing = Firing.from_event(event_of(known()[0], clock()))
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: fire(services, firing), range(8)))
    assert made == set(jobs(api))
    assert (len(made), message_count(services)) == (1, 1)


def test_a_firing_that_comes_again_makes_no_second_job_though_the_first_is_forgotten(
    api: Api, due: Fire, make_worker: Callable[..., Worker]
) -> None:
    make(api)
    job_id = due()
    make_worker()()
    assert api("DELETE", f"/jobs/{job_id}").status == 204
    assert due() == job_id
    assert jobs(api) == []


def test_a_firing_that_comes_late_is_made_good_and_is_not_the_last(api: Api, due: Fire, clock: Clock) -> None:
    made = make(api, rate="1 minute")
    clock.advance(600)
    latest, late = due(), due(ago=120)
    assert due(ago=120) == late
    assert sorted([latest, late]) == sorted(jobs(api))  # type: ignore[type-var]
    assert api("GET", f"/schedules/{made['id']}").json()["last_job"] == latest


def test_a_job_is_stored_so_long_that_a_late_repetition_finds_it() -> None:
    config = RESOURCES["ScheduledFunction"]["Properties"]["EventInvokeConfig"]
    assert config["MaximumEventAgeInSeconds"] == PATIENCE
    assert MIN_TTL > 2 * PATIENCE


def test_a_large_input_is_fired_as_it_was_given(api: Api, due: Fire) -> None:
    given = {"text": "ü" * 40_000}
    make(api, input=given)
    job_id = due()
    assert api("GET", f"/jobs/{job_id}/input").json() == given


def test_a_priority_is_the_job_s(api: Api, due: Fire, services: Services, clock: Clock) -> None:
    make(api, priority="high")
    job_id = due()
    assert job_id is not None
    job: Job | None = services.store.get(job_id, clock())
    assert job is not None
    assert job.priority == "high"
    assert message_count(services) == 0  # it is in the other queue


def test_a_queue_that_refuses_leaves_the_job_to_the_sweeper(
    api: Api, due: Fire, services: Services, clock: Clock, sweep: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(api)
    with monkeypatch.context() as patch:
        patch.setattr(
            services.webhook_queue._client,
            "send_message",
            raising(EndpointConnectionError(endpoint_url="x")),
        )
        job_id = due()
    assert jobs(api) == [job_id]
    clock.advance(61)
    assert sweep() == 1


def test_a_function_that_dies_before_it_notes_the_job_is_repeated(
    api: Api, services: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(api)
    firing = Firing.from_event(event_of(known()[0], clock()))
    with monkeypatch.context() as patch:
        patch.setattr(services.store._client, "update_item", raising(Killed()))
        with pytest.raises(Killed):
            fire(services, firing)
    job_id = fire(services, firing)
    assert (jobs(api), message_count(services)) == ([job_id], 1)
    assert api("GET", f"/schedules/{made['id']}").json()["last_job"] == job_id


@pytest.mark.parametrize(
    "changes",
    [
        {"at": SCHEDULED_TIME},
        {"at": None},
        {"at": "2026-11-22T10:05:00"},
        {"owner": 5},
        {"schedule": "x"},
        {"token": []},
    ],
)
def test_what_is_no_firing_ends_in_the_dead_letters(
    scheduled: Callable[[dict[str, Any]], str | None], changes: dict[str, Any]
) -> None:
    with pytest.raises(NotAFiring):
        scheduled(load_event("scheduled") | changes)


def test_an_event_of_an_unknown_schedule_does_nothing(
    scheduled: Callable[[dict[str, Any]], str | None], services: Services
) -> None:
    assert scheduled(load_event("scheduled")) is None
    assert message_count(services) == 0


# ------------------------------------------------------------------ once


def test_what_is_to_be_once_is_and_says_so(api: Api, due: Fire, clock: Clock, services: Services) -> None:
    made = make(api, rate=None, at="2026-11-22T11:00:00", timezone="UTC")
    assert (made["at"], made["status"]) == ("2026-11-22T11:00:00.000Z", "active")
    assert known()[0]["ActionAfterCompletion"] == "DELETE"
    clock.advance(3600)
    job_id = due()
    shown = api("GET", f"/schedules/{made['id']}").json()
    assert (shown["status"], shown["last_job"]) == ("fired", job_id)
    assert services.schedules.count("acme") == 0
    assert api("POST", f"/schedules/{made['id']}/pause").status == 409
    clock.advance(KEPT)
    assert api("GET", f"/schedules/{made['id']}").status == 404
    assert api("GET", "/schedules").json()["schedules"] == []


def test_what_was_paused_at_its_time_is_missed(api: Api, due: Fire, clock: Clock) -> None:
    made = make(api, rate=None, at="2026-11-22T11:00:00")
    assert api("POST", f"/schedules/{made['id']}/pause").json()["status"] == "paused"
    clock.advance(3600)
    assert due() is None
    clock.advance(1)
    assert api("GET", f"/schedules/{made['id']}").json()["status"] == "missed"
    assert api("POST", f"/schedules/{made['id']}/resume").status == 409


def test_what_never_fired_is_missed(api: Api, clock: Clock) -> None:
    made = make(api, rate=None, at="2026-11-22T11:00:00")
    clock.advance(3600 + 2 * PATIENCE)
    assert api("GET", f"/schedules/{made['id']}").json()["status"] == "active"
    clock.advance(1)
    assert api("GET", f"/schedules/{made['id']}").json()["status"] == "missed"


# ------------------------------------------------------------------ changing them


def test_what_is_paused_fires_nothing(api: Api, due: Fire, clock: Clock, services: Services) -> None:
    made = make(api)
    for _ in range(2):
        answer = api("POST", f"/schedules/{made['id']}/pause")
        assert (answer.status, answer.json()["status"]) == (200, "paused")
    assert known()[0]["State"] == "DISABLED"
    assert due() is None  # EventBridge was about to
    clock.advance(3600)
    assert api("POST", f"/schedules/{made['id']}/resume").json() == made
    assert known()[0]["State"] == "ENABLED"
    assert jobs(api) == []
    assert [due()] == jobs(api)


def test_what_is_deleted_is_gone_everywhere(api: Api, due: Fire) -> None:
    made = make(api)
    [told] = known()
    job_id = due()
    assert api("DELETE", f"/schedules/{made['id']}").status == 204
    assert known() == []
    assert api("GET", f"/schedules/{made['id']}").status == 404
    assert api("DELETE", f"/schedules/{made['id']}").status == 404
    assert due(ago=60, told=told) is None
    assert jobs(api) == [job_id]


def test_a_deletion_that_died_half_way_leaves_what_fires_into_nothing_and_goes(
    services: Services, api: Api, due: Fire, when_calling: Any
) -> None:
    made = make(api)
    when_calling("DeleteSchedule", raising(Killed()))
    with pytest.raises(Killed):
        scheduling.remove(services, "acme", made["id"])
    assert api("GET", "/schedules").json()["schedules"] == []
    assert len(known()) == 1
    assert due() is None
    assert (known(), jobs(api)) == ([], [])


def test_what_eventbridge_does_not_delete_now_is_deleted_for_the_owner(api: Api, when_calling: Any) -> None:
    made = make(api)
    when_calling("DeleteSchedule", raising(EndpointConnectionError(endpoint_url="x")))
    assert api("DELETE", f"/schedules/{made['id']}").status == 204
    assert api("GET", f"/schedules/{made['id']}").status == 404


def test_a_leftover_is_not_taken_for_its_successor_under_the_same_key(api: Api, due: Fire, when_calling: Any) -> None:
    made = make(api, key="daily")
    [leftover] = known()
    when_calling("DeleteSchedule", raising(EndpointConnectionError(endpoint_url="x")))
    api("DELETE", f"/schedules/{made['id']}")
    assert make(api, key="daily")["id"] == made["id"]
    assert len(known()) == 2
    assert due(told=leftover) is None
    [left] = known()
    assert left["Name"] != leftover["Name"]
    assert due() is not None


# ------------------------------------------------------------------ crashes and races


@pytest.fixture
def half_made(services: Services, when_calling: Any) -> str:
    """The id of a schedule whose maker died between the table and EventBridge."""
    when_calling("CreateSchedule", raising(Killed()))
    new = scheduling.read_schedule(services, HOURLY)
    with pytest.raises(Killed):
        scheduling.make(services, "acme", new, "daily")
    assert known() == []
    [half], _ = services.schedules.list("acme", services.clock(), limit=10)
    assert half.status(services.clock()) is State.ARMING
    return half.id


def test_what_was_half_made_is_made_whole_by_looking_at_it(api: Api, half_made: str, services: Services) -> None:
    assert api.as_owner(services, "other")("GET", f"/schedules/{half_made}").status == 404
    assert known() == []
    assert api("GET", f"/schedules/{half_made}").json()["status"] == "active"
    assert known()[0]["Name"].startswith(half_made)


def test_what_was_half_made_is_made_whole_by_listing_it(api: Api, half_made: str) -> None:
    [listed] = api("GET", "/schedules").json()["schedules"]
    assert (listed["id"], listed["status"], len(known())) == (half_made, "active", 1)


def test_what_was_half_made_is_made_whole_by_trying_again(api: Api, half_made: str) -> None:
    assert make(api, key="daily")["id"] == half_made
    assert len(known()) == 1


def test_what_was_half_made_can_be_deleted(api: Api, half_made: str) -> None:
    assert api("DELETE", f"/schedules/{half_made}").status == 204


def test_what_was_half_made_and_cannot_be_is_forgotten(api: Api, half_made: str, when_calling: Any) -> None:
    when_calling("CreateSchedule", raising(refusal("Invalid Schedule Expression")))
    assert api("GET", f"/schedules/{half_made}").status == 404
    assert api("GET", "/schedules").json()["schedules"] == []


def test_eventbridge_is_told_again_when_the_mark_was_lost(
    services: Services, api: Api, monkeypatch: pytest.MonkeyPatch, due: Fire
) -> None:
    new = scheduling.read_schedule(services, HOURLY)
    with monkeypatch.context() as patch:
        patch.setattr(services.store._client, "update_item", raising(Killed()))
        with pytest.raises(Killed):
            scheduling.make(services, "acme", new, "daily")
    assert len(known()) == 1
    assert due() is not None  # it is in force already
    assert make(api, key="daily")["status"] == "active"
    assert len(known()) == 1


def test_an_eventbridge_that_does_not_answer_is_a_503_that_is_safe_to_repeat(api: Api, when_calling: Any) -> None:
    for _ in range(2):
        when_calling("CreateSchedule", raising(EndpointConnectionError(endpoint_url="x")))
        answer = api("POST", "/schedules", json=HOURLY, headers={"idempotency-key": "daily"})
        assert answer.status == 503
    instance = answer.json()["instance"]
    when_calling("CreateSchedule", raising(EndpointConnectionError(endpoint_url="x")))
    assert api("GET", instance).json()["status"] == "arming"
    assert f"/schedules/{make(api, key='daily')['id']}" == instance


def test_of_a_pause_and_a_resumption_at_once_the_table_s_last_word_counts(
    api: Api, services: Services, when_calling: Any
) -> None:
    made = make(api)
    # The pause is told to EventBridge only after the resumption, which came later, has been told.
    when_calling("UpdateSchedule", lambda: scheduling.pause(services, "acme", made["id"], paused=False))
    assert scheduling.pause(services, "acme", made["id"], paused=True).status(services.clock()) is State.ACTIVE
    assert known()[0]["State"] == "ENABLED"
    assert api("GET", f"/schedules/{made['id']}").json()["status"] == "active"


def test_what_is_deleted_while_it_is_made_leaves_nothing(services: Services, when_calling: Any) -> None:
    def delete() -> None:
        [half], _ = services.schedules.list("acme", services.clock(), limit=10)
        scheduling.remove(services, "acme", half.id)

    when_calling("CreateSchedule", delete)
    with pytest.raises(NotFound):
        scheduling.make(services, "acme", scheduling.read_schedule(services, HOURLY), None)
    assert known() == []


def test_names_fit_eventbridge() -> None:
    assert len(name_of("0" * 32, "0" * 16)) <= 64
