"""Entry point: every minute, moves whatever is overdue."""

from typing import Any

from common import wiring
from common.telemetry import logger
from functions.sweeper.sweep import sweep

services = wiring.from_environment()

#: What the last sends need, in milliseconds.
MARGIN = 5_000


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:  # noqa: ARG001
    sent = sweep(services, has_time=lambda: context.get_remaining_time_in_millis() > MARGIN)
    logger.info("swept", sent=sent)
    return {"sent": sent}
