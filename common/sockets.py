"""What is said over WebSockets, and the way to the clients: API Gateway's management API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from common.jobs import Job
from common.reads import Reads
from common.telemetry import logger
from common.views import log_view, progress_view

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

#: Largest message, in bytes: one frame of the gateway's.
MAX_MESSAGE = 32_768


class Undeliverable(Exception):
    """A message could not be handed to its connection in time."""


class Gone(Undeliverable):
    """The connection has ended."""


@dataclass(frozen=True)
class Message:
    """What a client is sent. `last` is the number of the last event in it; None if it holds none."""

    data: bytes
    last: int | None = None


class Sockets:
    """The client is made at the first use: most functions have nothing to say here. Any thread may call."""

    def __init__(self, connect: Callable[[], ApiGatewayManagementApiClient]) -> None:
        self._connect = connect

    @cached_property
    def _client(self) -> ApiGatewayManagementApiClient:
        return self._connect()

    def open(self) -> None:
        """Makes the client, which threads must not do side by side."""
        _ = self._client

    def post(self, connection_id: str, message: Message) -> None:
        """Raises Gone, Undeliverable."""
        try:
            self._client.post_to_connection(ConnectionId=connection_id, Data=message.data)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise (Gone if code in {"GoneException", "410"} else Undeliverable)(code) from None
        except BotoCoreError as error:
            raise Undeliverable(type(error).__name__) from None

    def close(self, connection_id: str) -> None:
        """Ends the connection; if that fails, too, the gateway will some time."""
        try:
            self._client.delete_connection(ConnectionId=connection_id)
        except (ClientError, BotoCoreError) as error:
            logger.warning("connection not closed", connection=connection_id, error=type(error).__name__)


# -------------------------------------------------------------------------- what is said


def say(**content: Any) -> Message:
    return Message(_dump(content))


def live(job: Job, sent: int) -> Message:
    return say(job=job.id, live=True, last_event=sent)


def end(job: Job) -> Message:
    return say(job=job.id, end={"status": job.status, "last_event": job.last_event})


def told(job: Job, events: Iterable[dict[str, Any]]) -> Iterator[Message]:
    """The events in as few messages as hold them, in their order."""
    frame = len(_dump({"job": job.id, "events": []}))
    waiting: list[dict[str, Any]] = []
    size = frame
    for event in events:
        more = len(_dump(event)) + 1  # and a comma
        if waiting and size + more > MAX_MESSAGE:
            yield _of_events(job, waiting)
            waiting, size = [], frame
        waiting.append(event)
        size += more
    if waiting:
        yield _of_events(job, waiting)


def log(store: Reads, job: Job, after: int, limit: int) -> list[dict[str, Any]]:
    """Up to `limit` of the job's events with numbers over `after`."""
    said = store.said(job, after, limit) if job.last_event > after else []
    return log_view(job, said, after, limit)


def progress(job: Job) -> list[dict[str, Any]]:
    """Where a running job is now, as an event without a number; none if it has not said."""
    view = progress_view(job)
    return [] if view is None else [view]


def _of_events(job: Job, events: list[dict[str, Any]]) -> Message:
    last = max((event["seq"] for event in events if "seq" in event), default=None)
    return Message(_dump({"job": job.id, "events": events}), last)


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
