"""Errors become HTTP here, once: application/problem+json (RFC 9457) for each of them."""

from __future__ import annotations

import re
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from common import errors
from common.errors import Fault, LongrunError, MethodNotAllowed, NotFound, Refused, Unavailable
from common.telemetry import logger, reason
from functions.api.body import dump

#: The nearest class in an error's ancestry decides.
STATUSES: dict[type[LongrunError], int] = {
    errors.BadRequest: 400,
    errors.Unauthorized: 401,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.Unprocessable: 422,
    errors.QuotaExceeded: 429,
    errors.Unavailable: 503,
}
#: Seconds after which a 503 may be tried again.
RETRY_AFTER = 2

#: What an `Allow` may name.
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def problem(error: LongrunError, path: str) -> dict[str, Any]:
    """The body of an answer that says no."""
    kind = _kind(error)
    content: dict[str, Any] = {
        "type": "urn:longrun:problem:" + re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower(),
        "title": kind("").title,
        "status": STATUSES[kind],
        "detail": getattr(error, "detail", str(error)),
        "instance": getattr(error, "instance", None) or path,
    }
    if isinstance(error, errors.KeyReused):
        content |= {"type": "urn:longrun:problem:key-reused", "title": error.title}
    if isinstance(error, errors.QuotaExceeded):
        content |= {"quota": error.quota, "limit": error.limit, "retry_after": error.retry_after}
    if isinstance(error, Refused) and error.errors:
        content["errors"] = list(error.errors)
    return content


def answer(error: LongrunError, request: Request, headers: dict[str, str] | None = None) -> Response:
    content = problem(error, request.url.path)
    headers = dict(headers or {})
    if content["status"] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if content["status"] == 429:
        headers["Retry-After"] = str(content["retry_after"])
    if content["status"] == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return Response(dump(content), content["status"], headers, "application/problem+json")


def install(app: FastAPI) -> None:
    app.add_exception_handler(LongrunError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(HTTPException, _of_routing)
    app.add_exception_handler(ClientError, _of_aws)
    app.add_exception_handler(BotoCoreError, _of_aws)


def _kind(error: LongrunError) -> type[LongrunError]:
    return next(kind for kind in type(error).__mro__ if kind in STATUSES)


async def _of_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, LongrunError)
    return answer(error, request)


async def _of_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults: list[Fault] = [{"loc": list(found["loc"]), "msg": found["msg"]} for found in error.errors()]
    return answer(errors.Unprocessable("Some parameters are not valid.", faults), request)


async def _of_routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = ", ".join(_methods(request))
        return answer(MethodNotAllowed(f"Allowed here: {allowed}."), request, {"Allow": allowed})
    return answer(NotFound("There is nothing at this path."), request)


def _methods(request: Request) -> list[str]:
    """What this path offers. Each method is a route of its own, and the router's own answer names the first one's alone."""
    scope, routes = request.scope, request.app.routes
    return [m for m in METHODS if any(route.matches({**scope, "method": m})[0] is Match.FULL for route in routes)]


async def _of_aws(request: Request, error: Exception) -> Response:
    logger.error("aws call failed", error=type(error).__name__, reason=reason(error))
    return answer(Unavailable("The service cannot reach its storage; try again."), request)


def unforeseen(request: Request, error: Exception) -> Response:
    logger.error("unforeseen", exc_info=error)
    content = {
        "type": "about:blank",
        "title": "Internal error",
        "status": 500,
        "detail": "This is our fault; it has been logged.",
        "instance": request.url.path,
    }
    return Response(dump(content), 500, media_type="application/problem+json")
