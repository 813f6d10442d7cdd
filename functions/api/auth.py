"""Who is calling."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import Depends, Query, Request

from common.errors import NotFound, Unauthorized
from common.keys import NotAnOwner, check_owner
from common.settings import LOCAL_OWNER, AuthMode
from common.wiring import Services

#: What the owners begin with that stand for a subject which cannot be an owner's name itself.
HASHED = "sub."


async def caller(request: Request) -> str:
    """The owner that the request's key, or its token, belongs to. Raises Unauthorized, in the same words for every reason."""
    services: Services = request.app.state.services
    if services.settings.auth_mode is AuthMode.JWT:
        verified = _verified_owner(request)
        request.state.owner = verified
        return verified
    credentials = _credentials(request)
    if credentials is None:
        if services.settings.auth_mode is AuthMode.OPEN:
            request.state.owner = LOCAL_OWNER
            return LOCAL_OWNER
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


def _verified_owner(request: Request) -> str:
    """Whose token API Gateway has verified; what the request itself says is not looked at."""
    authorizer = request.scope.get("aws.event", {}).get("requestContext", {}).get("authorizer") or {}
    subject = authorizer.get("jwt", {}).get("claims", {}).get("sub")
    if not subject:
        raise Unauthorized("Send a valid token: Authorization: Bearer …")
    return owner_of(subject)


def owner_of(subject: str) -> str:
    """The subject itself, where that can be an owner's name; else one that stands for it, and for no other subject."""
    try:
        check_owner(subject)
    except NotAnOwner:
        pass
    else:
        if not subject.startswith(HASHED):
            return subject
    return HASHED + hashlib.sha256(subject.encode()).hexdigest()[:48]


def _credentials(request: Request) -> str | None:
    """None if there are none at all; a wrong scheme counts as a wrong key, never as no key."""
    if (header := request.headers.get("authorization")) is not None:
        scheme, _, key = header.partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get("x-api-key")


Caller = Annotated[str, Depends(caller)]
Reader = Annotated[str, Depends(reader)]
