"""Makes jobs of what was checked before: the same for a submission and for a schedule's firing."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from common.jobs import Job, Priority, Status
from common.payloads import Payloads
from common.usage import Budget
from common.writes import wake_after


@dataclass(frozen=True)
class Order:
    """What a job is to be: nothing is left to be checked or to be taken from its task. `input` is JSON text."""

    task: str
    input: str = field(repr=False)
    max_attempts: int
    timeout_seconds: int
    ttl_seconds: int
    task_version: int = 1
    callback_url: str | None = None
    budget: Budget = field(default_factory=Budget)
    metadata: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    #: The job whose child it is to be, when that was born, and the step that makes it: see `common/families.py`.
    parent: str | None = None
    parent_born: int | None = None
    parent_step: str | None = None


def make_job(
    payloads: Payloads,
    order: Order,
    *,
    job_id: str,
    owner: str,
    now: float,
    fingerprint: str = "",
    delay: float = 0,
    trace: str | None = None,
) -> Job:
    """A new job, its input stored where it belongs; the job itself is not put yet. `delay` is seconds."""
    return Job(
        id=job_id,
        owner=owner,
        task=order.task,
        status=Status.PENDING,
        input=payloads.put_input(job_id, order.input, now),
        created_at=now,
        updated_at=now,
        max_attempts=order.max_attempts,
        timeout_seconds=order.timeout_seconds,
        ttl_seconds=order.ttl_seconds,
        fingerprint=fingerprint,
        token=secrets.token_hex(8),
        run_at=now + delay if delay else 0,
        wake_at=wake_after(now, delay),
        task_version=order.task_version,
        callback_url=order.callback_url,
        budget=order.budget,
        trace=trace,
        metadata=order.metadata,
        priority=order.priority,
        parent=order.parent,
        parent_born=order.parent_born,
        parent_step=order.parent_step,
    )
