"""The API's Lambda handler as a WSGI application: each request becomes API Gateway's event, each answer comes from Mangum's.

So what is tested is what is deployed, from the event on; an ASGI client would pass Mangum by.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from tests.handlers import Api, load_event

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Gateway:
    def __init__(self, api: Api) -> None:
        self._api = api

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        asyncio.set_event_loop(self._api.loop)  # the worker's asyncio.run has taken it away
        answer = self._api.handler(event_of(environ), SimpleNamespace())
        body = answer["body"] or ""
        data = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        status = HTTPStatus(answer["statusCode"])
        start_response(f"{status.value} {status.phrase}", list(answer["headers"].items()))
        return [data]


def event_of(environ: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = load_event("api")
    # WSGI has paths as bytes in Latin-1, percent-decoded, as the gateway has them.
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    }
    event["rawPath"] = path
    event["rawQueryString"] = environ["QUERY_STRING"]
    event["requestContext"]["http"] |= {"method": environ["REQUEST_METHOD"], "path": path}
    event["headers"] = headers
    event["body"] = base64.b64encode(environ["wsgi.input"].read()).decode()
    event["isBase64Encoded"] = True
    return event
