"""The API: routes over the services. Knows no Lambda."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.datastructures import Headers

import tasks  # noqa: F401  # registers them: unknown tasks and bad inputs are refused at submission
from common import tracing
from common.addresses import Resolver, look_up
from common.telemetry import logger
from common.wiring import Services
from functions.api import agents, documents, events, jobs, problems, resuming, schedules, webhooks

health = APIRouter()


@health.get("/health")
async def get_health() -> dict[str, str]:
    """Whether the API answers; asks nothing of what is behind it."""
    return {"status": "ok"}


def create_app(services: Services, *, resolve: Resolver = look_up) -> FastAPI:
    app = FastAPI(
        title="Longrun",
        version="0.1.0",
        description="Jobs for AI agents, with no servers.",
        redoc_url=None,
        redirect_slashes=False,
        # Its spans would hold the query, a ticket for example.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = services
    app.state.resolve = resolve
    for router in (
        health,
        jobs.router,
        events.router,
        agents.router,
        documents.router,
        webhooks.router,
        resuming.router,
        schedules.router,
    ):
        app.include_router(router)
    problems.install(app)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    app.add_middleware(RequestLog)
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """For those who ask for it: nobody else waits for what describes it to be imported."""
    if app.openapi_schema is None:
        from functions.api.described import described

        app.openapi_schema = described(app)
    return app.openapi_schema


class RequestLog:
    """One line a request, and a span if it is traced.

    Plain ASGI: Starlette's own kind of middleware would cost more than the request.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parent = tracing.of_request(Headers(scope=scope).get("traceparent"))
        path = scope["path"][:200]
        with tracing.entered(parent, scope["method"], "SERVER", **{"url.path": path}) as said:
            said["http.response.status_code"] = await self._answered(scope, receive, send)

    async def _answered(self, scope: Any, receive: Any, send: Any) -> int:
        """The answer's status."""
        started, status, has_begun = time.perf_counter(), 500, False

        async def watched(message: Any) -> None:
            nonlocal status, has_begun
            if message["type"] == "http.response.start":
                status, has_begun = message["status"], True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # here: the server would write its message into the log, an input perhaps
            if has_begun:  # a stream that broke: there is nothing more to say
                raise
            await problems.unforeseen(Request(scope), error)(scope, receive, watched)
        finally:
            # The gateway's access log has every request; what went well need not be paid for twice.
            say = logger.info if status >= HTTPStatus.BAD_REQUEST else logger.debug
            say(
                "request",
                method=scope["method"],
                # The path as it came, for a log line; %r would be needed only if lines were not JSON.
                path=scope["path"][:200],
                status=status,
                owner=scope.get("state", {}).get("owner"),
                ms=round((time.perf_counter() - started) * 1000, 1),
            )
        return status
