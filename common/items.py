"""The shape of a job's item, in one pair of functions. Times are milliseconds there (expires_at: seconds, TTL's unit)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from common.events import Event, page_text
from common.expressions import from_item, to_item
from common.jobs import MAX_LIFE, Change, Failure, Job, Payload, Priority, Progress, Status, Wait, WaitKind
from common.steps import Step
from common.usage import Budget, Usage

#: Partitions of the index of unfinished items.
SHARDS = 4

_TIMES = (
    "created_at",
    "updated_at",
    "started_at",
    "finished_at",
    "run_at",
    "lease_until",
    "wake_at",
    "watched_until",
    "ran",
)

_COLUMNS = frozenset(field.name for field in fields(Job))


def job_item(job: Job) -> dict[str, Any]:
    values = asdict(job) | {
        "pk": f"job#{job.id}",
        "sk": "job",
        "listed": place(job),
        # Most jobs end before anybody would look for them there: see Waking.enlist. One that is delayed does not.
        "due": due_shard(job.id) if job.run_at else None,
        "metadata": dict(job.metadata),
        "cancel_requested": job.cancel_requested or None,
        "has_children": job.has_children or None,
        "history": {job.token: {"at": ms(job.created_at), "status": job.status}},
        "seqs": {job.token: 1},
        "attempts": {job.token: job.attempt},
        "waits": None,
    }
    del values["id"]
    return to_item(values | {name: ms(values[name]) for name in _TIMES if values[name] is not None})


def page_item(job: Job, page: Sequence[Event], last: int, now: float) -> dict[str, Any]:
    """A page of events, filed under the number of its last one: whoever has read up to N asks for what lies over N."""
    return to_item(
        {
            "pk": f"job#{job.id}",
            "sk": f"events#{last:08d}",
            "last": last,
            "born": ms(job.created_at),
            "text": page_text(page),
            "expires_at": math.ceil(now + MAX_LIFE),
        }
    )


def item_job(item: dict[str, Any]) -> Job:
    row = from_item(item)
    row |= {name: row[name] / 1000 for name in _TIMES if name in row}
    seqs, attempts = row.pop("seqs"), row.pop("attempts")
    changes = [
        Change(
            seq=seqs[token],
            at=change.pop("at") / 1000,
            status=Status(change.pop("status")),
            attempt=attempts[token],
            token=token,
            detail=change,
        )
        for token, change in row.pop("history").items()
    ]
    return Job(
        id=row["pk"].partition("#")[2],
        status=Status(row.pop("status")),
        input=Payload(**row.pop("input")),
        result=Payload(**result) if (result := row.pop("result", None)) else None,
        error=Failure(**error) if (error := row.pop("error", None)) else None,
        progress=_progress(row.pop("progress", None), row["attempt"]),
        usage=Usage(**row.pop("usage", {})),
        budget=Budget(**row.pop("budget", {})),
        priority=Priority(row.pop("priority", Priority.NORMAL)),
        waits={name: item_wait(wait) for name, wait in row.pop("waits", {}).items()},
        history=tuple(sorted(changes, key=lambda change: change.seq)),
        # What a newer release has added is not for this one: both run side by side for as long as a deployment takes.
        **{name: value for name, value in row.items() if name in _COLUMNS},
    )


def _progress(row: dict[str, Any] | None, attempt: int) -> Progress | None:
    """Where the present attempt is; what an earlier one said of itself is not true any more."""
    return None if row is None or row.pop("attempt") != attempt else Progress(**row)


def wait_item(wait: Wait) -> dict[str, Any]:
    # A schema is JSON, which has numbers that the table has not.
    schema = None if wait.schema is None else json.dumps(wait.schema)
    return {
        "step": wait.step,
        "kind": wait.kind,
        "until": ms(wait.until),
        "of": wait.of,
        "question": wait.question,
        "schema": schema,
    }


def item_wait(row: dict[str, Any]) -> Wait:
    schema = json.loads(row["schema"]) if "schema" in row else None
    return Wait(row["step"], WaitKind(row["kind"]), row["until"] / 1000, row["of"], row.get("question"), schema)


def step_item(job: Job, step: Step) -> dict[str, Any]:
    return to_item(
        {
            "pk": f"job#{job.id}",
            "sk": f"step#{step.key}",
            "born": ms(job.created_at),
            "of": step.of,
            "at": ms(step.at),
            "order": step.order,
            "result": asdict(step.result),
            "error": step.error,
            "expires_at": math.ceil(step.at + MAX_LIFE),
        }
    )


def item_step(item: dict[str, Any]) -> Step:
    row = from_item(item)
    return Step(
        key=row["sk"].partition("#")[2],
        of=row["of"],
        result=Payload(**row["result"]),
        at=row["at"] / 1000,
        order=row["order"],
        error=row.get("error"),
    )


def job_key(job_id: str, sk: str = "job") -> dict[str, Any]:
    return to_item({"pk": f"job#{job_id}", "sk": sk})


def due_shard(job_id: str) -> str:
    """The partition of the index of unfinished items that whatever belongs to the job is in."""
    return f"due#{int(job_id[:8], 16) % SHARDS}"


def place(job: Job) -> str:
    """Among its owner's jobs, which are listed by their age."""
    return f"{ms(job.created_at):013d}#{job.id}"


def ms(seconds: float) -> int:
    return round(seconds * 1000)
