"""The clients' receiver of webhooks: bytes in memory, answers on the world's clock. It is down now and then."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpcore

from tests.faults.cloud import Cloud


@dataclass(frozen=True)
class Message:
    """One webhook as it came in."""

    id: str
    body: dict[str, Any]
    accepted: bool


class Receiver(httpcore.AsyncNetworkBackend):
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        #: By the job that they tell of.
        self.received: dict[str, list[Message]] = defaultdict(list)

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        return _Connection(self)

    def answer(self, request: bytes) -> bytes:
        head, _, body = request.partition(b"\r\n\r\n")
        headers = dict(line.decode().lower().split(": ", 1) for line in head.split(b"\r\n")[1:])
        told = json.loads(body)
        fails = self.cloud.strikes("receiver")
        self.received[told["data"]["task_id"]].append(Message(headers["webhook-id"], told, not fails))
        self.cloud.note(f"webhook {told['type']} {'refused' if fails else 'taken'}")
        if fails and self.cloud.world.random.random() < 0.5:
            raise httpcore.ReadError("Broken off.")
        status = b"500 No" if fails else b"204 Yes"
        return b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Connection(httpcore.AsyncNetworkStream):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._sent, self._left = b"", b""
        self._answered = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._answered:
            self._answered = True
            self._left = self._receiver.answer(self._sent)
        data, self._left = self._left[:max_bytes], self._left[max_bytes:]
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._sent += buffer

    async def aclose(self) -> None:
        pass

    async def start_tls(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        return None


def ids(messages: Iterable[Message]) -> set[str]:
    return {message.id for message in messages}
