"""What becomes of a batch of the table's stream. Nothing that a record holds can stop those after it.

A record that fails is handed to the webhook queue, whose function looks at its job again, in its own time. Only if that
queue does not answer either is the record reported as failed: then the stream shows it again, with those after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.items import item_job
from common.jobs import Job, is_id
from common.kinship import release_children, tell_parents
from common.notices import Notices, told_changes
from common.queue import Reminder
from common.telemetry import logger
from common.wiring import Services
from functions.notifier.live import push


@dataclass(frozen=True)
class JobChange:
    """A job before and after a write."""

    old: Job | None
    new: Job

    @property
    def is_ending(self) -> bool:
        return self.new.status.is_final and not (self.old is not None and self.old.status.is_final)


def notify(services: Services, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Makes the webhooks and pushes the news to who is watching; returns which records the stream must show again."""
    notices = Notices(services)
    failed: list[str] = []
    changes: list[JobChange] = []
    for record in records:
        try:
            change = job_change(record)
            if change is None:
                continue
            changes.append(change)
            for told in told_changes(change.old, change.new):
                notices.make(change.new, told)
            if change.is_ending:
                release_children(services, change.new)
        except Exception as error:  # noqa: BLE001  # a poison record must not hold up the next one
            if not _hand_over(services, _job_id(record), error):
                failed.append(record["dynamodb"]["SequenceNumber"])
    if not _tell_parents(services, [change.new for change in changes if change.is_ending and change.new.parent]):
        failed = [record["dynamodb"]["SequenceNumber"] for record in records]
    push(services, changes)
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}


def _tell_parents(services: Services, children: list[Job]) -> bool:
    """All of a batch at once: so one write counts many. False if neither that nor handing them over was possible."""
    try:
        tell_parents(services, children)
    except Exception as error:  # noqa: BLE001
        return all(_hand_over(services, child.id, error) for child in children)
    return True


def job_change(record: dict[str, Any]) -> JobChange | None:
    """The change of a job that a record tells of; None for any other item, and for a job that was deleted."""
    seen = record["dynamodb"]
    if seen["Keys"]["sk"]["S"] != "job" or "NewImage" not in seen:
        return None
    old = item_job(seen["OldImage"]) if "OldImage" in seen else None
    return JobChange(old, item_job(seen["NewImage"]))


def _job_id(record: dict[str, Any]) -> str:
    return str(record.get("dynamodb", {}).get("Keys", {}).get("pk", {}).get("S", "")).partition("#")[2]


def _hand_over(services: Services, job_id: str, error: Exception) -> bool:
    """Whether somebody will look at the job again, or nobody can."""
    logger.error("record failed", job_id=job_id, error=type(error).__name__, exc_info=error)
    if not is_id(job_id):
        return True
    try:
        services.webhook_queue.remind(Reminder(job_id))
    except Exception as refused:  # noqa: BLE001
        logger.error("record not handed over", job_id=job_id, error=type(refused).__name__)
        return False
    return True
