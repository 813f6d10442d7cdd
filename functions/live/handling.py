"""The Lambda handler of the WebSocket API: one event for each connection, message and end of a connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from common.telemetry import logger
from common.wiring import Services
from functions.live.connecting import connect, disconnect
from functions.live.messages import hear

#: Seconds before the function's time limit after which no post is begun: one that hangs takes four.
MARGIN = 6


def make_handler(services: Services) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        started = time.perf_counter()
        about, answer = event["requestContext"], {"statusCode": 200}
        match about["eventType"]:
            case "CONNECT":
                answer = connect(services, event)
            case "DISCONNECT":
                disconnect(services, about["connectionId"])
            case _:
                hear(services, about["connectionId"], event.get("body"), lambda: _seconds_left(context) > MARGIN)
        # Never the query: a ticket is in it.
        logger.info(
            "live",
            event_type=about["eventType"],
            connection=about["connectionId"],
            status=answer["statusCode"],
            ms=round((time.perf_counter() - started) * 1000, 1),
        )
        return answer

    return handler


def _seconds_left(context: Any) -> float:
    return float(context.get_remaining_time_in_millis()) / 1000
