"""What EventBridge Scheduler writes into its targets' inputs; the emulator hands them over as they were written.

What is left to know of the emulator's scheduler: it looks every 10 s, takes every cron expression for UTC, whatever its time
zone, tries once, and checks no expression; one that it cannot read never fires.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

Invoke = Callable[..., Any]


def telling_the_time(invoke: Invoke) -> Invoke:
    """Invokes targets as before, but schedules' targets learn when they were due."""

    def told(target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any], *rest: Any) -> Any:
        if event.get("Source") == "aws.scheduler" and "Input" in target:
            due = due_at(rule["ScheduleExpression"], event["Time"])
            target = {**target, "Input": target["Input"].replace("<aws.scheduler.scheduled-time>", due)}
        return invoke(target, event, rule, *rest)

    return told


def due_at(expression: str, now: float) -> str:
    """When the firing of `now` (seconds since 1970) was due: of a cron expression its minute, of a rate this second."""
    if once := re.fullmatch(r"at\((.+)\)", expression):
        return f"{once[1]}Z"
    due = now - now % 60 if expression.startswith("cron(") else now
    return datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
