"""`longrun schedule`, and the client's calls behind it, against a scripted service."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import longrun
from tests.unit.conftest import Run
from tests.unit.scripted_answers import error_of
from tests.unit.scripted_service import DROP, Caller, Reply, ScriptedService, problem


def schedule_view(**more: Any) -> dict[str, Any]:
    """A schedule as the service shows it."""
    return {
        "id": "s1",
        "name": "hourly",
        "status": "active",
        "cron": None,
        "rate": "1 hour",
        "at": None,
        "timezone": "UTC",
        "task": "research",
        "input": {"query": "tides"},
        "timeout_seconds": 300,
        "max_attempts": 3,
        "ttl_seconds": 86_400,
        "callback_url": None,
        "priority": "normal",
        "max_tokens": None,
        "max_cost_usd": None,
        "metadata": {},
        "created_at": "2026-01-31T12:00:00Z",
        "last_fired_at": None,
        "last_job": None,
        **more,
    }


def test_a_schedule_is_made(service: ScriptedService, run: Run) -> None:
    service.on("POST /schedules", Reply(201, schedule_view()))
    done = run("schedule", "create", "hourly", "research", "--rate", "1 hour", "-i", '{"query": "tides"}', "--key", "k")
    assert (done.exit_code, done.stdout) == (0, "s1\n")
    assert "research, every 1 hour" in done.stderr
    [sent] = service.seen
    assert sent.json == {"name": "hourly", "rate": "1 hour", "task": "research", "input": {"query": "tides"}}
    assert sent.headers["idempotency-key"] == '"k"'


def test_a_schedule_is_made_with_every_option(service: ScriptedService, run: Run) -> None:
    service.on("POST /schedules", Reply(201, schedule_view(cron="0 9 ? * MON-FRI *", rate=None)))
    numbers = {"timeout_seconds": 60, "max_attempts": 2, "ttl_seconds": 90_000}
    options = [part for name, value in numbers.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    options += ["--priority", "low", "--callback-url", "https://x.example/h", "--metadata", "team=a"]
    options += ["--cron", "0 9 ? * MON-FRI *", "--timezone", "Europe/Berlin"]
    done = run("schedule", "create", "daily", "research", *options, "--json")
    assert json.loads(done.stdout)["id"] == "s1"
    assert service.seen[0].json == numbers | {
        "name": "daily",
        "task": "research",
        "input": {},
        "cron": "0 9 ? * MON-FRI *",
        "timezone": "Europe/Berlin",
        "priority": "low",
        "callback_url": "https://x.example/h",
        "metadata": {"team": "a"},
    }


@pytest.mark.parametrize("when", [[], ["--rate", "1 hour", "--at", "2027-01-31T09:00:00"]])
def test_one_time_is_to_be_named(service: ScriptedService, run: Run, when: list[str]) -> None:
    done = run("schedule", "create", "hourly", "research", *when, "--json")
    assert "give one of --cron, --rate and --at" in error_of(done)["message"]
    assert service.seen == []


def test_what_the_service_does_not_take_is_told(service: ScriptedService, run: Run) -> None:
    errors = [{"loc": ["rate"], "msg": "A rate is a whole number and a unit."}]
    service.on("POST /schedules", problem(422, "Invalid", errors=errors))
    done = run("schedule", "create", "hourly", "research", "--rate", "often")
    assert done.exit_code != 0
    assert "rate: A rate is a whole number and a unit." in done.stderr


def test_schedules_are_listed(service: ScriptedService, run: Run) -> None:
    views = [
        schedule_view(),
        schedule_view(
            id="s2", cron="0 9 ? * MON *", rate=None, timezone="Asia/Tokyo", status="paused\x1b[2J", name=None
        ),
        schedule_view(
            id="s3", at="2027-01-31T09:00:00Z", rate=None, status="fired", last_fired_at="2027-01-31T09:00:00Z"
        ),
    ]
    pages: list[dict[str, Any]] = [
        {"schedules": views[:2], "next_cursor": "s2"},
        {"schedules": views[2:], "next_cursor": None},
    ]
    service.on("GET /schedules", *pages, *pages)
    done = run("schedule", "list")
    for text in ("every 1 hour", "0 9 ? * MON * Asia/Tokyo", "at 2027-01-31 09:00:00Z", "hourly", "fired"):
        assert " ".join(text.split()) in " ".join(done.stdout.split())
    assert "\x1b[2J" not in done.stdout
    found = json.loads(run("schedule", "list", "--json").stdout)["schedules"]
    assert [each["id"] for each in found] == ["s1", "s2", "s3"]
    assert [sent.query for sent in service.seen] == [{"limit": "100"}, {"limit": "100", "cursor": "s2"}] * 2


def test_a_schedule_is_shown(service: ScriptedService, run: Run) -> None:
    fired = {"last_fired_at": "2026-01-31T13:00:00Z", "last_job": "j1", "metadata": {"team": "a"}}
    service.on("GET /schedules/s1", schedule_view(**fired), schedule_view(), problem(404, "Not found"))
    done = run("schedule", "show", "s1")
    for text in ("every 1 hour", "2026-01-31 13:00:00Z", "j1", "tides", "team"):
        assert text in done.stdout
    assert json.loads(run("schedule", "show", "s1", "--json").stdout) == schedule_view()
    assert run("schedule", "show", "s1").exit_code != 0


def test_a_schedule_is_paused_resumed_and_deleted(service: ScriptedService, run: Run) -> None:
    service.on("POST /schedules/s1/pause", schedule_view(status="paused"))
    service.on("POST /schedules/s1/resume", schedule_view())
    service.on("DELETE /schedules/s1", Reply(204))
    assert "schedule s1 is paused" in run("schedule", "pause", "s1").stderr
    assert json.loads(run("schedule", "pause", "s1", "--json").stdout)["status"] == "paused"
    assert "schedule s1 is active" in run("schedule", "resume", "s1").stderr
    assert "forgotten" in run("schedule", "delete", "s1").stderr
    assert json.loads(run("schedule", "delete", "s1", "--json").stdout) == {"deleted": "s1"}


@pytest.mark.parametrize(
    ("at", "sent"),
    [
        (datetime(2027, 1, 31, 9, tzinfo=UTC), "2027-01-31T09:00:00+00:00"),
        (datetime(2027, 1, 31, 9, 0, 0, 5, tzinfo=timezone(timedelta(hours=1))), "2027-01-31T09:00:00+01:00"),
        (datetime(2027, 1, 31, 9), "2027-01-31T09:00:00"),  # noqa: DTZ001  # in the schedule's time zone
        ("2027-01-31T09:00", "2027-01-31T09:00"),
    ],
)
def test_a_time_is_sent_as_it_is_meant(service: ScriptedService, call: Caller, at: Any, sent: str) -> None:
    service.on("POST /schedules", Reply(201, schedule_view(rate=None, at="2027-01-31T09:00:00Z")))
    made = call("create_schedule", "research", {"query": "tides"}, at=at)
    assert made.at == datetime(2027, 1, 31, 9, tzinfo=UTC)
    assert service.seen[0].json == {"task": "research", "input": {"query": "tides"}, "at": sent}


def test_lost_answers_are_asked_for_again_and_make_no_second_schedule(service: ScriptedService, call: Caller) -> None:
    service.on("POST /schedules", DROP, problem(503, "Unavailable"), Reply(201, schedule_view()))
    service.on("POST /schedules/s1/pause", DROP, schedule_view(status="paused"))
    service.on("DELETE /schedules/s1", DROP, problem(404, "Not found"))
    assert call("create_schedule", "research", rate="1 hour").id == "s1"
    assert len({sent.headers["idempotency-key"] for sent in service.asked("POST /schedules")}) == 1
    assert call("pause_schedule", "s1").status == "paused"
    assert call("delete_schedule", "s1") is None
    service.on("DELETE /schedules/s1", problem(404, "Not found"))
    with pytest.raises(longrun.NotFound):
        call("delete_schedule", "s1")
    with pytest.raises(longrun.InvalidInput):
        call("schedule", "..")


def test_the_schedules_come_page_by_page(service: ScriptedService, call: Caller) -> None:
    pages = [{"schedules": [schedule_view(id=name)], "next_cursor": after} for name, after in (("a", "c"), ("b", None))]
    service.on("GET /schedules", *pages)
    assert [each.id for each in call("schedules", page_size=1)] == ["a", "b"]
