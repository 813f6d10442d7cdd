"""A scripted service for the client's tests: a real HTTP server on loopback that answers what it is told to, and
remembers what it was asked. It never sleeps, and neither does a `Caller`, whose clock goes on only by its own pauses.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from longrun import AsyncClient, Client, Retries


@dataclass(frozen=True)
class Reply:
    """One answer. `drop` closes the connection instead; `hold` is waited for before anything is answered."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hold: threading.Event | None = None


@dataclass(frozen=True)
class Seen:
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


DROP = Reply(drop=True)


def problem(status: int, title: str = "Problem", **more: Any) -> Reply:
    """An error as the service writes it; `headers` are sent along."""
    headers = {"Content-Type": "application/problem+json", **more.pop("headers", {})}
    return Reply(status, {"type": "about:blank", "title": title, "status": status, **more}, headers)


def job_view(status: str = "pending", **more: Any) -> dict[str, Any]:
    """A job as the service shows it."""
    return {
        "id": "j1",
        "task": "research",
        "status": status,
        "progress": None,
        "input": {"query": "tides"},
        "result": None,
        "error": None,
        "attempt": 1,
        "max_attempts": 3,
        "timeout_seconds": 300,
        "created_at": "2026-01-31T12:00:00Z",
        "started_at": "2026-01-31T12:00:01Z",
        "updated_at": "2026-01-31T12:00:02Z",
        "finished_at": None,
        "expires_at": "2026-02-07T12:00:00Z",
        "callback_url": None,
        "metadata": {},
        "usage": {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0},
        "last_event": 1,
        **more,
    }


class ScriptedService:
    """Answers each `METHOD /path` with its replies in turn, the last of them for ever; everything else with 404."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.arrived = threading.Event()
        self._replies: dict[str, list[Reply]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def on(self, route: str, *replies: Reply | dict[str, Any]) -> None:
        """Script a route; a plain dict is a 200 with that body."""
        self._replies[route] = [reply if isinstance(reply, Reply) else Reply(200, reply) for reply in replies]

    def asked(self, route: str) -> list[Seen]:
        """The requests that came for this route."""
        return [seen for seen in self.seen if f"{seen.method} {seen.path}" == route]

    def _take(self, seen: Seen) -> Reply:
        with self._lock:
            self.seen.append(seen)
            self.arrived.set()
            replies = self._replies.get(f"{seen.method} {seen.path}", [problem(404, "Not found")])
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer waits 40 ms

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = service._take(Seen(self.command, self.path, headers, body))
                if reply.hold:
                    reply.hold.wait(10)
                if reply.drop:
                    self.close_connection = True
                    return
                self.answer(reply)

            def answer(self, reply: Reply) -> None:
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                body = b"" if reply.status in (204, 304) else body
                self.send_response(reply.status)
                for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - http.server looks for these names

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    @contextmanager
    def running(self) -> Iterator["ScriptedService"]:
        """Serve in a thread for as long as the block takes."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


class Caller:
    """Calls the blocking or the async client, so that one test speaks for both; records its pauses in `sleeps`."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url = kind, url
        self.sleeps: list[float] = []
        self.now = 0.0
        self.random: Callable[[], float] = lambda: 0.0
        self.tries = 5
        self.options: dict[str, Any] = {}

    def __call__(self, name: str, *args: Any, **options: Any) -> Any:
        """What the client's method `name` returns; an iterator's items as a list."""
        if self.kind == "async":
            return asyncio.run(self._call(name, *args, **options))
        with Client(self.url, "secret-key", **self._parts(), sleep=self._pause) as client:
            value = getattr(client, name)(*args, **options)
            return list(value) if isinstance(value, Iterator) else value

    async def _call(self, name: str, *args: Any, **options: Any) -> Any:
        async with AsyncClient(self.url, "secret-key", **self._parts(), sleep=self._apause) as client:
            value = getattr(client, name)(*args, **options)
            return [item async for item in value] if hasattr(value, "__aiter__") else await value

    def _parts(self) -> dict[str, Any]:
        retries = Retries(tries=self.tries, random=self.random)
        return {"retries": retries, "clock": lambda: self.now, **self.options}

    def _pause(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    async def _apause(self, seconds: float) -> None:
        self._pause(seconds)
