"""What the tests of the agents share: inputs, stored documents, results and logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.jobs import Job, Payload
from common.tasks import Document
from common.wiring import Services
from tests.model_server import ModelServer

ROOT = Path(__file__).parent.parent.parent
#: This repository's own pages.
PAGES = {path.name: path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]}


def given(**input: Any) -> Payload:
    text = json.dumps(input)
    return Payload(size=len(text.encode()), inline=text)


def store(services: Services, document_id: str, text: str | bytes, kind: str = "text/markdown") -> None:
    data = text.encode() if isinstance(text, str) else text
    services.documents.put("acme", Document(document_id, kind, data), services.clock())


def store_pages(services: Services) -> None:
    for name, path in PAGES.items():
        store(services, name, path.read_bytes())


def result(services: Services, job: Job) -> Any:
    assert job.error is None, job.error
    assert job.result is not None
    return json.loads(services.payloads.get(job.id, job.result))


def log_of(services: Services, job: Job) -> list[tuple[str, Any]]:
    """What the job said, in order, without how its use of the model grew, and which steps were done. Streamed text is in one
    piece."""
    from common.views import log_view

    events = log_view(job, services.store.said(job, 0, 1_000_000), 0, 1_000_000)
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    log: list[tuple[str, Any]] = []
    for kind, data in [(one["type"], one["data"]) for one in events if one["type"] not in {"usage", "step"}]:
        if kind == "output" and log and log[-1][0] == "output":
            log[-1] = ("output", {"text": log[-1][1]["text"] + data["text"]})
        else:
            log.append((kind, data))
    return log


def kinds(log: list[tuple[str, Any]]) -> list[str]:
    return [kind for kind, _ in log]


def use(monkeypatch: pytest.MonkeyPatch, server: ModelServer) -> None:
    """The model of the tasks is the scripted one."""
    monkeypatch.setenv("LONGRUN_MODEL", "openai:test")
    monkeypatch.setenv("LONGRUN_MODEL_URL", server.openai)
