"""What the tests of schedules share: making them, what EventBridge knows, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from common.scheduler import SCHEDULED_TIME
from tests.aws import client
from tests.handlers import Api

GROUP = "longrun-schedules"
HOURLY = {"name": "hourly", "rate": "1 hour", "task": "echo", "input": {"n": 1}}


class Killed(BaseException):
    """The process ends here."""


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


def raising(error: BaseException) -> Callable[..., object]:
    def happens(**_: Any) -> object:
        raise error

    return happens


def refusal(message: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "CreateSchedule")
