"""A receiver of webhooks on this machine, which verifies each message and says what came; for trying things out."""

import json
import queue
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from longrun.errors import InvalidInput

#: Largest message that is read, in bytes; the service's are far smaller.
MAX_BODY = 1_000_000
#: How long a sender may say nothing, in seconds.
PATIENCE = 15
#: Most messages whose tries are counted, the latest ones.
REMEMBERED = 10_000


@dataclass(frozen=True)
class Received:
    """A message that came: what is wrong with it (`None` when it is verified), and what was answered.

    `number` counts the tries of the same id, from 1.
    """

    error: str | None
    answered: int
    id: str | None
    number: int
    message: Any

    @property
    def verified(self) -> bool:
        """Whether the service that has our secret sent it."""
        return self.error is None

    @property
    def type(self) -> str | None:
        """For example `job.completed`."""
        return _text(self.message, "type")

    @property
    def job(self) -> str | None:
        """The job's id."""
        return _text(self.message, "data", "job", "id") or _text(self.message, "data", "task_id")

    @property
    def status(self) -> str | None:
        """The job's status."""
        return _text(self.message, "data", "job", "status")

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {
            "verified": self.verified,
            "error": self.error,
            "answered": self.answered,
            "id": self.id,
            "type": self.type,
            "job": self.job,
            "status": self.status,
            "try": self.number,
            "message": self.message,
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a sender that went away is no news."""


class Receiver:
    """Listens on loopback. `failing` is how many tries of each message are answered with 500, however good they are.

    It answers 204 to what its secret verifies and 401 to everything else. What comes before `verify_with` waits for it.
    """

    def __init__(self, port: int, failing: int = 0) -> None:
        """Raises OSError when the port is taken; port 0 is any that is free."""
        self._failing = failing
        self._came: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._tries: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        self._webhook: Webhook | None = None
        self._is_ready = threading.Event()
        self._server = _Server(("127.0.0.1", port), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def verify_with(self, secret: str) -> None:
        """What signs the messages. Raises InvalidInput for what is no secret."""
        self._webhook = webhook_of(secret)
        self._is_ready.set()

    def messages(self) -> Iterator[Received]:
        """What comes, as it comes, for ever."""
        while True:
            yield self._came.get()

    @contextmanager
    def listening(self) -> Iterator["Receiver"]:
        """Listen in a thread for as long as the block takes."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def judge(self, headers: Mapping[str, str], body: bytes) -> Received:
        """What to make of a message."""
        error = self._why_not(headers, body)
        identifier = headers.get("webhook-id")
        number = self._count(identifier)
        answered = 401 if error else 500 if number <= self._failing else 204
        return Received(error, answered, identifier, number, _parsed(body))

    def _why_not(self, headers: Mapping[str, str], body: bytes) -> str | None:
        if not self._is_ready.wait(PATIENCE) or self._webhook is None:
            return "the secret is not known yet"
        try:
            self._webhook.verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError as error:
            return str(error)
        except ValueError:  # What the library makes of a signature that is none, and of a body that is no text.
            return "Malformed message"
        return None

    def _count(self, identifier: str | None) -> int:
        if identifier is None:
            return 1
        with self._lock:
            number = self._tries.pop(identifier, 0) + 1
            self._tries[identifier] = number
            if len(self._tries) > REMEMBERED:
                self._tries.popitem(last=False)
            return number

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = PATIENCE
            server_version, sys_version = "longrun-webhooks-listen", ""

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY:
                    self._answer(413)
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = receiver.judge(headers, self.rfile.read(int(length)))
                receiver._came.put(received)
                self._answer(received.answered)

            def _answer(self, status: int) -> None:
                self.close_connection = True
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: what came is told by `messages`."""

        return Handler


def webhook_of(secret: str) -> Webhook:
    """What verifies messages that this secret signed. Raises InvalidInput, which does not show it."""
    secret = secret.strip()
    try:
        if secret.startswith("whsec_"):
            return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        pass
    raise InvalidInput("that is no secret: one looks like whsec_…")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text(value: Any, *path: str) -> str | None:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
