"""API Gateway's management API on the loopback interface: it keeps what is posted to its connections."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class Gateway:
    """`statuses` says how a connection answers, 200 unless said; one that is in `hanging` does not answer at all."""

    def __init__(self) -> None:
        self.posts: dict[str, list[bytes]] = defaultdict(list)
        self.closed: list[str] = []
        self.statuses: dict[str, int] = {}
        self.hanging: set[str] = set()
        #: How many posts to them there were at the same time, at the most.
        self.most_waiting = 0
        #: Set when the test is over: whoever hangs may go.
        self.over = threading.Event()
        self.url = ""

    def said_to(self, connection: str) -> list[Any]:
        """All messages, in their order."""
        return [json.loads(data) for data in self.posts[connection]]

    def events_of(self, connection: str, job_id: str) -> list[Any]:
        """The job's events, in the order of the messages."""
        messages = [message for message in self.said_to(connection) if message.get("job") == job_id]
        return [event for message in messages for event in message.get("events", [])]

    def numbers(self, connection: str, job_id: str) -> list[int]:
        return [event["seq"] for event in self.events_of(connection, job_id) if "seq" in event]


@contextmanager
def serving() -> Iterator[Gateway]:
    gateway = Gateway()
    waiting: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            connection = self._connection()
            if connection in gateway.hanging:
                waiting.add(connection)
                gateway.most_waiting = max(gateway.most_waiting, len(waiting))
                gateway.over.wait()
            status = gateway.statuses.get(connection, 410 if connection in gateway.closed else 200)
            if status == 200:
                gateway.posts[connection].append(data)
            self._answer(status)

        def do_DELETE(self) -> None:
            gateway.closed.append(self._connection())
            self._answer(204)

        def _connection(self) -> str:
            return unquote(self.path.rpartition("/@connections/")[2])

        def _answer(self, status: int) -> None:
            self.send_response(status)
            if status == 410:
                self.send_header("x-amzn-ErrorType", "GoneException")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    gateway.url = f"http://127.0.0.1:{server.server_port}/live"
    try:
        yield gateway
    finally:
        gateway.over.set()
        server.shutdown()
        server.server_close()
