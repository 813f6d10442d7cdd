"""Who connects: whoever shows a ticket in the address, or an API key among the sub-protocols, which are not logged anywhere.

A browser can set no header but that of the sub-protocols: `new WebSocket(url, ["longrun", "key.lr_…"])`.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.live import Connection
from common.settings import LOCAL_OWNER, AuthMode
from common.telemetry import logger
from common.wiring import Services

#: The sub-protocol that is spoken.
PROTOCOL = "longrun"
#: What an API key among the sub-protocols begins with.
KEY = "key."


def connect(services: Services, event: dict[str, Any]) -> dict[str, Any]:
    """Answers the gateway: 200, or 401 in the same way for every reason."""
    connection_id = event["requestContext"]["connectionId"]
    query = event.get("queryStringParameters") or {}
    protocols = _protocols(event)
    connection = _caller(services, connection_id, query.get("ticket"), protocols)
    if connection is None:
        return {"statusCode": 401}
    services.subscriptions.connect(connection, services.clock())
    if PROTOCOL in protocols:
        return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": PROTOCOL}}
    return {"statusCode": 200}


def disconnect(services: Services, connection_id: str) -> None:
    """Nobody repeats this event. If it fails, the next post finds the connection gone, and TTL what is left of it."""
    try:
        services.subscriptions.disconnect(connection_id)
    except (ClientError, BotoCoreError) as error:
        logger.warning("connection not forgotten", connection=connection_id, error=type(error).__name__)


def _caller(services: Services, connection_id: str, ticket: str | None, protocols: list[str]) -> Connection | None:
    """The connection, with whose it is; None for a ticket or key that is wrong, or none where one is needed."""
    now = services.clock()
    if ticket is not None:
        found = services.tickets.find(ticket, now)
        return None if found is None else Connection(connection_id, found.owner, found.job_id)
    if services.settings.auth_mode is AuthMode.JWT:  # nobody verifies a token here: it is shown for a ticket
        return None
    keys = [protocol.removeprefix(KEY) for protocol in protocols if protocol.startswith(KEY)]
    is_open = services.settings.auth_mode is AuthMode.OPEN
    owner = services.keys.owner_of(keys[0], now) if keys else LOCAL_OWNER if is_open else None
    return None if owner is None else Connection(connection_id, owner)


def _protocols(event: dict[str, Any]) -> list[str]:
    """Those that are offered. The gateway gives headers' names as the client wrote them."""
    offered = [
        value
        for name, values in (event.get("multiValueHeaders") or {}).items()
        if name.lower() == "sec-websocket-protocol"
        for value in values
    ]
    return [protocol.strip() for value in offered for protocol in value.split(",")]
