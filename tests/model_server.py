"""A provider of models on loopback, which answers as scripted, in whatever protocol it is spoken to.

    with ModelServer() as server:
        server.script(Calls("search_documents", query="leases"), Says("Sixty seconds."))
        environ = {"LONGRUN_MODEL": "openai:test", "LONGRUN_MODEL_URL": server.openai}

It speaks OpenAI's two protocols, Anthropic's messages and Bedrock's Converse, each whole and streamed. One step of the
script is one request; when the script is used up, `otherwise` answers.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests import model_protocols


@dataclass(frozen=True)
class Says:
    """The model answers with a text. `refused` ends it by a content filter; `counted=False` leaves the usage out."""

    text: str = ""
    input_tokens: int = 12
    output_tokens: int = 7
    cached_tokens: int = 0
    refused: bool = False
    counted: bool = True


@dataclass(frozen=True, init=False)
class Calls:
    """The model calls a tool, and by `and_` more of them at once; `after` is what it says first."""

    calls: tuple[tuple[str, dict[str, Any]], ...]
    text: str = ""
    input_tokens: int = 12
    output_tokens: int = 7
    cached_tokens: int = 0
    refused: bool = False
    counted: bool = True

    def __init__(self, tool: str, /, **arguments: Any) -> None:
        object.__setattr__(self, "calls", ((tool, arguments),))

    def and_(self, tool: str, /, **arguments: Any) -> Calls:
        return self._with(calls=(*self.calls, (tool, arguments)))

    def after(self, text: str) -> Calls:
        return self._with(text=text)

    def _with(self, **changes: Any) -> Calls:
        changed = copy(self)
        for name, value in changes.items():
            object.__setattr__(changed, name, value)
        return changed


@dataclass(frozen=True)
class Fails:
    """The provider answers with an error: its status, its words, its code, and further headers."""

    status: int
    message: str = "The provider says no."
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Breaks:
    """The connection breaks after so much of the answer."""

    text: str = "The first half of"


@dataclass(frozen=True)
class FailsInside:
    """A streamed answer begins well and goes on with an error."""

    text: str = "The first half of"
    message: str = "Overloaded"
    code: str = "overloaded_error"


@dataclass(frozen=True)
class Hangs:
    """Nothing is answered until the server is closed."""


Step = Says | Calls | Fails | Breaks | FailsInside | Hangs


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def text(self) -> str:
        """All that was sent, to look into."""
        return json.dumps(self.body, ensure_ascii=False)


class ModelServer:
    """Use it as a context manager. `requests` are those that came, in their order."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.otherwise: Callable[[Request], Step] = lambda _: Fails(418, "The script has no more steps.")
        self._steps: deque[Step] = deque()
        self._lock = threading.Lock()
        #: Set once a request has come.
        self.asked = threading.Event()
        self.closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def script(self, *steps: Step) -> None:
        self._steps.extend(steps)

    @property
    def url(self) -> str:
        """For Anthropic and Bedrock."""
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def openai(self) -> str:
        return f"{self.url}/v1"

    def next_step(self, request: Request) -> Step:
        with self._lock:
            self.requests.append(request)
            self.asked.set()
            return self._steps.popleft() if self._steps else self.otherwise(request)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nobody answers any more."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


def _handler(server: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            step = server.next_step(request)
            protocol, streamed = model_protocols.spoken(self.path, body)
            match step:
                case Hangs():
                    server.closing.wait(30)
                    self.close_connection = True
                case Fails(status, message, code, headers):
                    kind, sent, more = protocol.error(status, message, code)
                    self._send(status, kind, sent, {**more, **headers})
                case _ if streamed:
                    self._stream(protocol, step)
                case Breaks():
                    self._send(200, "application/json", b'{"id": ', {"content-length": "1000"})
                    self.close_connection = True
                case Says() | Calls():
                    self._send(200, "application/json", json.dumps(protocol.whole(step)).encode(), {})
                case _:
                    raise AssertionError(f"{step} needs a streamed request.")

        def _send(self, status: int, kind: str, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, protocol: Any, step: Says | Calls | Breaks | FailsInside) -> None:
            self.send_response(200)
            self.send_header("content-type", protocol.stream_type)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in protocol.pieces(step):
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if isinstance(step, Breaks):
                self.close_connection = True  # without the chunk that ends the answer
            else:
                self.wfile.write(b"0\r\n\r\n")

    return Handler
