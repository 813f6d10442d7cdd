"""Who is calling."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from common.errors import Unauthorized
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


def _credentials(request: Request) -> str | None:
    """None if there are none at all; a wrong scheme counts as a wrong key, never as no key."""
    if (header := request.headers.get("authorization")) is not None:
        scheme, _, key = header.partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get("x-api-key")


Caller = Annotated[str, Depends(caller)]
