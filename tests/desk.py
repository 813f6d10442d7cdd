"""A context without a worker, for what tasks are made of."""

from __future__ import annotations

import json
from typing import Any

from common.context import Call, Context, Gathering
from common.documents import Document
from common.errors import NotFound
from common.jobs import Progress, WaitKind
from common.usage import Usage


class Desk:
    """The worker's side of a context, in memory."""

    def __init__(self, **documents: Document) -> None:
        self.stored = documents
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.seen: list[Progress] = []
        self.reads = 0

    def progress(self, progress: Progress) -> None:
        self.seen.append(progress)

    def say(self, kind: str, data: dict[str, Any]) -> None:
        self.said.append((kind, data))

    def use(self, usage: Usage) -> None: ...

    def is_cancelled(self) -> bool:
        return False

    def remaining(self) -> float:
        return 300

    def document(self, document_id: str) -> Document:
        self.reads += 1
        if document_id not in self.stored:
            raise NotFound(f"No document {document_id}.")
        return self.stored[document_id]

    def documents(self) -> list[str]:
        return list(self.stored)

    def remember(self, session_id: str, interaction: dict[str, Any]) -> None: ...

    async def step(self, call: Call) -> Any:
        """Nothing is recorded here."""
        return json.loads(json.dumps(await call.function(*call.arguments, **call.options)))

    def wait(self, kind: WaitKind, name: str, key: str | None, seconds: float, **asked: Any) -> Any:
        raise NotImplementedError

    def gather(self, family: Gathering) -> Any:
        raise NotImplementedError


def text(document_id: str, content: str) -> Document:
    return Document(document_id, "text/markdown", content.encode())


def context(desk: Desk) -> Context:
    return Context(desk, job_id="j", task="t", attempt=1)
