"""What clients say: subscribe, unsubscribe, ping. Whatever else comes is answered with a problem, never with a failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from common.errors import BadRequest, Conflict, LongrunError, NotFound, Unavailable
from common.jobs import is_id
from common.live import Closed
from common.sockets import Gone, Message, Undeliverable, say
from common.telemetry import logger, reason
from common.wiring import Services
from functions.live.subscribing import subscribe

#: The nearest class in an error's ancestry decides.
STATUSES: dict[type[LongrunError], int] = {BadRequest: 400, NotFound: 404, Conflict: 409, Unavailable: 503}
ACTIONS = ("subscribe", "unsubscribe", "ping")
#: Largest number of an event.
MAX_SEQ = 99_999_999
#: Longest message that is looked at, in characters.
MAX_TEXT = 4_096


@dataclass(frozen=True)
class Wish:
    """What a client wants. `job_id` has the shape of an id."""

    action: str
    job_id: str = ""
    after: int = 0


def hear(services: Services, connection_id: str, text: str | None, has_time: Callable[[], bool]) -> None:
    """Does what the message says, or tells the client why not."""
    try:
        problem = _do(services, connection_id, text, has_time)
        if problem is not None:
            services.sockets.post(connection_id, problem)
    except Closed:
        services.sockets.close(connection_id)
    except Undeliverable as reason:
        services.subscriptions.disconnect(connection_id)
        if not isinstance(reason, Gone):
            services.sockets.close(connection_id)


def _do(services: Services, connection_id: str, text: str | None, has_time: Callable[[], bool]) -> Message | None:
    """What stood in the way, as a message; None if nothing did. Raises Closed, Undeliverable."""
    wish = None
    try:
        wish = read(text)
        if wish.action == "ping":
            services.sockets.post(connection_id, say(pong=True))
        elif wish.action == "unsubscribe":
            services.subscriptions.cancel(connection_id, wish.job_id)
            services.sockets.post(connection_id, say(job=wish.job_id, unsubscribed=True))
        else:
            connection = services.subscriptions.connection(connection_id)
            subscribe(services, connection, wish.job_id, wish.after, has_time)
    except LongrunError as error:
        return _problem(wish, error)
    except (ClientError, BotoCoreError) as error:
        logger.error("aws call failed", error=type(error).__name__, reason=reason(error))
        return _problem(wish, Unavailable("The service cannot reach its storage; try again."))
    return None


def read(text: str | None) -> Wish:
    """Raises BadRequest; NotFound for what cannot be a job's id, in the words for a job that there is not."""
    try:
        said = json.loads(text or "") if len(text or "") <= MAX_TEXT else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise BadRequest('Send JSON such as {"action": "subscribe", "job": "…", "after": 0}.')
    action, job_id, after = said.get("action"), said.get("job"), said.get("after", 0)
    if action not in ACTIONS:
        raise BadRequest(f"action is one of {', '.join(ACTIONS)}.")
    if action == "ping":
        return Wish("ping")
    if not isinstance(job_id, str):
        raise BadRequest("job is the id of a job.")
    if type(after) is not int or not 0 <= after <= MAX_SEQ:
        raise BadRequest(f"after is the number of the last event that is known, 0 to {MAX_SEQ}.")
    if not is_id(job_id):
        raise NotFound("No such job.")
    return Wish(action, job_id, after)


def _problem(wish: Wish | None, error: LongrunError) -> Message:
    kind = next(kind for kind in type(error).__mro__ if kind in STATUSES)
    content = {"status": STATUSES[kind], "title": kind("").title, "detail": getattr(error, "detail", str(error))}
    return say(job=wish.job_id if wish and wish.job_id else None, problem=content)
