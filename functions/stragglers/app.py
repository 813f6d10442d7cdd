"""Entry point: reads the table's stream a minute late. What has not ended by then, the sweeper is to look after."""

from typing import Any

from common import wiring
from common.telemetry import logger
from functions.stragglers.enlisting import enlist

services = wiring.from_environment()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001
    enlisted, failed = enlist(services, event["Records"])
    if enlisted:
        logger.info("enlisted", jobs=enlisted)
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}
