"""Schedules are made as they were meant, once for each key, and are their owner's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from common.jobs import DAY
from common.scheduler import name_of
from common.schedules import MIN_TTL, MOST, PATIENCE
from common.wiring import Services
from functions.api import scheduling
from tests.aws import Clock
from tests.functions.schedules.eventbridge import HOURLY, event_of, known, make, raising, refusal
from tests.handlers import Api, load_event


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


def test_names_fit_eventbridge() -> None:
    assert len(name_of("0" * 32, "0" * 16)) <= 64
