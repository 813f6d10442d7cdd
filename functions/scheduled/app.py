"""Entry point: EventBridge Scheduler says that a schedule is due."""

from typing import Any

from common import wiring
from functions.scheduled.firing import Firing, fire

services = wiring.from_environment()


def handler(event: dict[str, Any], context: Any) -> dict[str, str | None]:  # noqa: ARG001
    return {"job": fire(services, Firing.from_event(event))}
