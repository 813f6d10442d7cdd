"""Ends the jobs of messages that no worker could handle."""

from __future__ import annotations

import secrets
from typing import Any

from common import metrics
from common.errors import DeadLettered
from common.jobs import Failure, Job, Status
from common.queue import Message, NotAMessage
from common.telemetry import about, logger
from common.wiring import Services


def bury(services: Services, record: dict[str, Any]) -> None:
    """A job that a living worker holds, or that waits for its time, is left alone: its message was a spare one.

    So is one that was claimed since the message was sent: workers can handle it, but some died of it, or with it. How
    often that may happen its attempts say; the sweeper sends another message.
    """
    try:
        message = Message.from_record(record)
    except NotAMessage as unknown:
        # Nobody's job: nothing to end. Its id is enough to find it in the queue's own logs.
        logger.error("dead letter names no job", reason=str(unknown))
        return
    job = services.store.get(message.job_id, services.clock(), consistent=True)
    if job is None or job.status.is_final or _was_claimed_since(job, record):
        return
    error = DeadLettered("No worker could handle this job's message; it was given up after several receives.")
    failure = Failure(type(error).__name__, str(error), retryable=True, attempt=job.attempt)
    ending = None if job.cancel_requested else failure
    token = secrets.token_hex(8)
    buried = services.store.bury(job, ending, token, services.clock())
    if buried is not None:
        logger.error("job dead-lettered", **about(buried), task=job.task)
        metrics.ended(buried, by=token)


def _was_claimed_since(job: Job, record: dict[str, Any]) -> bool:
    """What moves a message to the dead letters leaves the time at which it was sent as it was."""
    sent_at = int(record["attributes"]["SentTimestamp"]) / 1000
    return any(change.status is Status.RUNNING and change.at >= sent_at for change in job.history)
