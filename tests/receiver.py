"""A receiver of webhooks on loopback, which answers as a test says and remembers what came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: A status; a status with headers and a body; "hang" for no answer at all, "close" for a connection that is broken off.
Answer = int | str | tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """`answer` says what comes of the request of a number, counted from 0."""

    def __init__(self, answer: Callable[[int], Answer]) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver.lock:
                    number = len(receiver.received)
                    receiver.received.append(Received(self.path, headers, body))
                receiver.reply(self, receiver.answer(number))

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def reply(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        handler.close_connection = True
        if answer == "hang":
            self.closing.wait()
        elif answer != "close":
            status, headers, body = answer if isinstance(answer, tuple) else (int(answer), {}, b"thanks")
            handler.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body)), "Connection": "close"}).items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)


@contextmanager
def receiving(answer: Callable[[int], Answer]) -> Iterator[Receiver]:
    receiver = Receiver(answer)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closing.set()
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
