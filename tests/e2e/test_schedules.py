"""Schedules on the built functions, fired by the emulator's own scheduler, with roles enforced."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from dev.emulator import until
from tests.e2e.deployment import Deployment, wait_for_end

#: The emulator's scheduler looks every 10 s, at what is due in a minute at the soonest.
FIRE_LIMIT = 90


def test_schedules_fire_each_in_its_time(deployment: Deployment, acme: httpx.Client, stranger: httpx.Client) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    paused = make(acme, at=soon, name="paused")
    assert acme.post(f"/schedules/{paused['id']}/pause").raise_for_status().json()["status"] == "paused"
    once, every = make(acme, at=soon, name="once"), make(acme, rate="1 minute", name="every")
    assert stranger.get(f"/schedules/{once['id']}").status_code == 404
    assert {each["name"] for each in acme.get("/schedules").json()["schedules"]} == {"paused", "once", "every"}
    assert len(known(deployment)) == 3

    fired = {each["name"]: wait_for_firing(acme, each["id"]) for each in (once, every)}
    for name, schedule in fired.items():
        job = wait_for_end(acme, schedule["last_job"], seconds=30)
        assert (job["status"], job["result"], job["metadata"]) == ("completed", {"n": 1}, {"by": name})
    assert fired["once"]["status"] == "fired"
    assert fired["once"]["last_fired_at"] == soon.replace("Z", ".000Z")
    assert fired["every"]["status"] == "active"
    shown = acme.get(f"/schedules/{paused['id']}").json()
    assert (shown["status"], shown["last_job"]) == ("missed", None)

    for schedule in (paused, once, every):
        assert acme.delete(f"/schedules/{schedule['id']}").status_code == 204
    assert known(deployment) == []


def test_the_function_makes_one_job_of_a_firing_and_clears_up_what_fires_into_nothing(
    deployment: Deployment, acme: httpx.Client
) -> None:
    made = make(acme, rate="1 day", name="daily")
    [name] = known(deployment)
    scheduler = deployment.emulator.client("scheduler")
    told = scheduler.get_schedule(GroupName=deployment.outputs["ScheduleGroup"], Name=name)
    event = told["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", "2026-11-22T10:00:00Z")
    first, second = invoke(deployment, event), invoke(deployment, event)
    assert first == second
    assert wait_for_end(acme, first["job"], seconds=30)["status"] == "completed"
    acme.delete(f"/schedules/{made['id']}").raise_for_status()
    # A deletion that died half-way would have left it.
    scheduler.create_schedule(
        Name=name,
        GroupName=deployment.outputs["ScheduleGroup"],
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=told["Target"],
    )
    assert invoke(deployment, event) == {"job": None}
    assert known(deployment) == []


def make(http: httpx.Client, **when: str) -> dict[str, Any]:
    body = {"task": "echo", "input": {"n": 1}, "metadata": {"by": when["name"]}} | when
    answer = http.post("/schedules", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def known(deployment: Deployment) -> list[str]:
    """The names of the stack's schedules in EventBridge."""
    found = deployment.emulator.client("scheduler").list_schedules(GroupName=deployment.outputs["ScheduleGroup"])
    group = deployment.outputs["ScheduleGroup"]
    return [each["Name"] for each in found["Schedules"] if each["GroupName"] == group]


def wait_for_firing(http: httpx.Client, schedule_id: str) -> dict[str, Any]:
    def fired() -> Any:
        schedule = http.get(f"/schedules/{schedule_id}").raise_for_status().json()
        return schedule if schedule["last_job"] else None

    found: dict[str, Any] = until(fired, seconds=FIRE_LIMIT, what="the firing", every=1)
    return found


def invoke(deployment: Deployment, event: str) -> dict[str, Any]:
    answer = deployment.emulator.client("lambda").invoke(
        FunctionName=deployment.functions["ScheduledFunction"], Payload=event.encode()
    )
    result: dict[str, Any] = json.loads(answer["Payload"].read())
    return result
