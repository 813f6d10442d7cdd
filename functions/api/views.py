"""How things look to a client of the API: API.md's JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from common.documents import Entry
from common.jobs import Job
from common.tasks import Task
from common.views import rfc3339

#: Longest that a client is told to wait before it asks again, in seconds.
MAX_RETRY_AFTER = 15


def summary_view(job: Job, now: float) -> dict[str, Any]:
    """What a list shows of a job."""
    return {
        "id": job.id,
        "task": job.task,
        "status": job.seen_status(now),
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
        "expires_at": rfc3339(job.expires_at),
    }


def document_view(entry: Entry) -> dict[str, Any]:
    return asdict(entry) | {"updated_at": rfc3339(entry.updated_at)}


def task_view(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "description": task.description,
        "timeout_seconds": task.timeout_seconds,
        "max_attempts": task.max_attempts,
        "input_schema": task.input_schema(),
    }


def etag(job: Job, now: float) -> str:
    """Changes with every change that the job's view shows."""
    return f'W/"{job.version}-{job.attempt}-{job.seen_status(now)}"'


def retry_after(job: Job, now: float) -> str:
    """Seconds to wait before asking again: a tenth of the job's age, so that long jobs are asked after seldom."""
    return str(min(MAX_RETRY_AFTER, max(1, int((now - job.created_at) / 10))))
