"""Who is calling."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from common.errors import NotFound, Unauthorized
from common.settings import AuthMode
from common.wiring import Services

#: Who calls without a key where that is allowed.
LOCAL = "local"


async def caller(request: Request) -> str:
    """The owner that the request's key belongs to. Raises Unauthorized, in the same words for every reason."""
    services: Services = request.app.state.services
    credentials = _credentials(request)
    if credentials is None:
        if services.settings.auth_mode is AuthMode.OPEN:
            request.state.owner = LOCAL
            return LOCAL
        raise Unauthorized("Send a valid API key: Authorization: Bearer lr_…")
    owner = services.keys.owner_of(credentials, services.clock())
    if owner is None:
        raise Unauthorized("Send a valid API key: Authorization: Bearer lr_…")
    request.state.owner = owner
    return owner


async def reader(
    request: Request,
    job_id: str,
    ticket: Annotated[str | None, Query(description="In place of a key, from POST /live-ticket.")] = None,
) -> str:
    """Who reads the job's events: the ticket's owner if there is one, else the caller. Raises Unauthorized, NotFound."""
    if ticket is None:
        return await caller(request)
    services: Services = request.app.state.services
    found = services.tickets.find(ticket, services.clock())
    if found is None:
        raise Unauthorized("This ticket opens nothing, or not any more; POST /live-ticket gives another.")
    request.state.owner = found.owner
    if not found.opens(job_id):
        raise NotFound("No such job.")
    return found.owner


def _credentials(request: Request) -> str | None:
    """None if there are none at all; a wrong scheme counts as a wrong key, never as no key."""
    if (header := request.headers.get("authorization")) is not None:
        scheme, _, key = header.partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get("x-api-key")


Caller = Annotated[str, Depends(caller)]
Reader = Annotated[str, Depends(reader)]
