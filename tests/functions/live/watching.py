"""What the tests of watching share: a client, a job that says what it is told to, and what is left of a connection."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from common.events import event
from common.jobs import Job, Payload, Progress, Report
from common.wiring import Services
from tests.aws import SESSION
from tests.gateway import Gateway
from tests.handlers import load_event

#: Gives the notifier what is new in the table's stream.
Notify = Callable[[], None]


@dataclass
class Page:
    """A client: its connection, what it was answered, what it says."""

    id: str
    handler: Callable[[Any, Any], Any]
    gateway: Gateway
    answer: Any = None

    def connect(
        self, *, ticket: str | None = None, protocols: str | None = None, header: str = "Sec-WebSocket-Protocol"
    ) -> int:
        given = load_event("live-connect")
        given["multiValueHeaders"].pop("Sec-WebSocket-Protocol")
        if protocols is not None:
            given["multiValueHeaders"][header] = [protocols]
        if ticket is not None:
            given["queryStringParameters"] = {"ticket": ticket}
        self.answer = self._send(given)
        return int(self.answer["statusCode"])

    def says(self, text: Any, seconds: float = 29) -> None:
        given = load_event("live-message")
        given["body"] = text if isinstance(text, str | None) else json.dumps(text)
        assert self._send(given, seconds) == {"statusCode": 200}

    def subscribe(self, job_id: str, after: int = 0, seconds: float = 29) -> None:
        self.says({"action": "subscribe", "job": job_id, "after": after}, seconds)

    def disconnect(self) -> None:
        self._send(load_event("live-disconnect"))

    @property
    def heard(self) -> list[Any]:
        return self.gateway.said_to(self.id)

    def numbers(self, job: Job) -> list[int]:
        return self.gateway.numbers(self.id, job.id)

    def _send(self, given: Any, seconds: float = 29) -> Any:
        given["requestContext"]["connectionId"] = self.id
        return self.handler(given, SimpleNamespace(get_remaining_time_in_millis=lambda: seconds * 1000))


@dataclass
class Talker:
    """A job that runs, and says what the test has it say."""

    services: Services
    job: Job

    def says(self, count: int = 1, text: str = "hm", progress: Progress | None = None) -> None:
        now = self.services.clock()
        page = [event("thought", now, {"text": text}) for _ in range(count)]
        self.job = self.services.store.flush(self.job, page, Report(progress), now)

    def moves(self, percent: int) -> None:
        self.job = self.services.store.report(self.job, Report(Progress(percent=percent)), self.services.clock())

    def ends(self) -> None:
        result = Payload(size=2, inline="{}")
        self.job = self.services.store.complete(self.job, result, Report(), self.services.clock())


def up_to(last: int) -> list[int]:
    return list(range(1, last + 1))


def left_of(services: Services, connection: str) -> list[str]:
    """The sort keys of what the table still holds for a connection."""
    items = SESSION.client("dynamodb").scan(TableName="longrun")["Items"]
    keys = [(item["pk"]["S"], item["sk"]["S"]) for item in items]
    return sorted(sk for pk, sk in keys if pk == f"connection#{connection}" or sk == f"live#{connection}")


def count_calls(services: Services, what: Callable[[], object]) -> list[str]:
    """The calls to the table that `what` makes."""
    seen: list[str] = []

    def note(model: Any, **_: Any) -> None:
        seen.append(model.name)

    events = services.store._client.meta.events
    events.register("provide-client-params.*.*", note)
    try:
        what()
    finally:
        events.unregister("provide-client-params.*.*", note)
    return seen
