"""The only code that knows EventBridge Scheduler. It only keeps the time: what is wanted is said by the table."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from common.schedules import PATIENCE, Kind, Schedule

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

#: EventBridge puts the time of the firing here: the same for each try to hand it over.
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"


class NotTaken(Exception):
    """EventBridge refuses the expression or the time zone."""


@dataclass(frozen=True)
class Place:
    """Where schedules are made, and what they call: a group's name, and ARNs of function, role and dead letters."""

    group: str
    target: str
    role: str
    dead_letters: str


class Scheduler:
    def __init__(self, connect: Callable[[], EventBridgeSchedulerClient], place: Place) -> None:
        self._connect = connect
        self._place = place

    @cached_property
    def _client(self) -> EventBridgeSchedulerClient:
        return self._connect()

    def put(self, schedule: Schedule) -> None:
        """Has EventBridge do what the schedule says; doing it twice is harmless. Raises NotTaken."""
        arguments = self._arguments(schedule)
        try:
            try:
                self._client.create_schedule(**arguments)
            except self._client.exceptions.ConflictException:
                self._client.update_schedule(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationException":
                raise
            raise NotTaken(error.response["Error"].get("Message", "")) from None

    def remove(self, schedule_id: str, token: str) -> None:
        """Deletes it, if it is there."""
        with contextlib.suppress(self._client.exceptions.ResourceNotFoundException):
            self._client.delete_schedule(Name=name_of(schedule_id, token), GroupName=self._place.group)

    def _arguments(self, schedule: Schedule) -> dict[str, Any]:
        firing = {
            "owner": schedule.owner,
            "schedule": schedule.id,
            "token": schedule.token,
            "at": SCHEDULED_TIME,
        }
        return {
            "Name": name_of(schedule.id, schedule.token),
            "GroupName": self._place.group,
            "ScheduleExpression": f"{schedule.kind}({schedule.expression})",
            "ScheduleExpressionTimezone": schedule.timezone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "DISABLED" if schedule.paused else "ENABLED",
            "ActionAfterCompletion": "DELETE" if schedule.kind is Kind.AT else "NONE",
            "Target": {
                "Arn": self._place.target,
                "RoleArn": self._place.role,
                "Input": json.dumps(firing),
                "RetryPolicy": {"MaximumEventAgeInSeconds": PATIENCE, "MaximumRetryAttempts": 185},
                "DeadLetterConfig": {"Arn": self._place.dead_letters},
            },
        }


def name_of(schedule_id: str, token: str) -> str:
    """Its name in EventBridge."""
    return f"{schedule_id}-{token}"
