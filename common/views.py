"""How a job looks to a client: API.md's JSON, the same in answers, webhooks and live messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from common.events import Numbered
from common.jobs import Job, Status, Wait, WaitKind
from common.payloads import Payloads
from common.resuming import status_event
from common.usage import Usage


def rfc3339(seconds: float | None) -> str | None:
    """UTC with a Z, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job_view(job: Job, now: float, payloads: Payloads, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """The job. Inputs and results in the bucket, and those in `without`, are not in it: links say where they are."""
    stored = {"input": job.input, "result": job.result}
    linked = {name for name, payload in stored.items() if payload and (payload.blob is not None or name in without)}
    content = {
        name: json.loads(payloads.get(job.id, payload)) if payload and name not in linked else None
        for name, payload in stored.items()
    }
    return {
        "id": job.id,
        "task": job.task,
        "status": job.seen_status(now),
        "priority": job.priority,
        "progress": asdict(job.progress) if job.progress else None,
        **content,
        "error": asdict(job.error) if job.error else None,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "timeout_seconds": job.timeout_seconds,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "updated_at": rfc3339(job.updated_at),
        "finished_at": rfc3339(job.finished_at),
        "expires_at": rfc3339(job.expires_at),
        "continuations": job.continuations,
        "parent": job.parent,
        "has_children": job.has_children,
        "questions": [_question_view(name, wait) for name, wait in job.waits.items() if wait.kind is WaitKind.ANSWER]
        if job.status in (Status.WAITING, Status.PENDING)
        else [],
        "cancel_requested": job.cancel_requested,
        "callback_url": job.callback_url,
        "metadata": dict(job.metadata),
        "usage": usage_view(job.usage),
        "last_event": job.last_event,
        **{f"{name}_link": f"/jobs/{job.id}/{name}" for name in sorted(linked)},
    }


def _question_view(name: str, wait: Wait) -> dict[str, Any]:
    schema = None if wait.schema is None else dict(wait.schema)
    return {"id": name, "question": wait.question, "schema": schema, "expires_at": rfc3339(wait.until)}


def usage_view(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cost_usd": usage.cost_usd,
    }


def log_view(job: Job, said: Iterable[Numbered], after: int, limit: int) -> list[dict[str, Any]]:
    """The job's events with numbers over `after`: what its task said, and its changes of status, in their order."""
    told = {one.seq: (one.event.at, one.event.type, dict(one.event.data)) for one in said}
    for change in job.history:
        told[change.seq] = (change.at, "status", dict(status_event(change).data))
    numbers = sorted(seq for seq in told if seq > after)[:limit]
    return [
        {"seq": seq, "at": rfc3339(at), "type": kind, "data": data} for seq in numbers for at, kind, data in [told[seq]]
    ]


def progress_view(job: Job) -> dict[str, Any] | None:
    """Where the job is now, as the event that is never numbered; None if it does not run, or does not say."""
    if job.status is not Status.RUNNING or job.progress is None:
        return None
    return {"type": "progress", "at": rfc3339(job.updated_at), "data": asdict(job.progress)}
