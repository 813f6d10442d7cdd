"""Entry point: turns the table's stream of changes into webhooks and live pushes."""

from typing import Any

from common import wiring
from functions.notifier.records import notify

services = wiring.from_environment()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001
    return notify(services, event["Records"])
