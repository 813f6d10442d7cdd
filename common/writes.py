"""How moves are written: one conditional write each, whose maker is known by what it leaves behind."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase
from botocore.exceptions import ClientError

from common.errors import LeaseLost
from common.expressions import Update, condition
from common.items import item_job, job_key, ms
from common.jobs import Job, Report, Status, froms
from common.queue import MAX_DELAY
from common.reads import Reads

#: How long a sent message may take to be claimed before the sweeper sends another, in seconds; doubled each time…
RESEND = 60
#: …up to this, so that a long backlog is not filled with copies of itself.
RESEND_MAX = 3600
#: The sweeper sends what waits for longer than a message can be delayed this much before its time, in seconds.
AHEAD = 60
#: Most items that are deleted by one transaction, which has room for a hundred.
MOST_DELETED = 90
#: Waits between tries of a write that met another's transaction, in seconds; None after the last.
CONFLICT_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, None)


#: A transaction's hold on a job that it does not change.
UNCHANGED = Update().copy("version", "version")


class Writes(Reads):
    def _changed(self, to: Status, token: str, now: float, *, attempt: str = "attempt", **detail: Any) -> Update:
        """A change of status, with its place among the job's events, all by the one write that makes it.

        `attempt` names the attribute that holds the number of the attempt it belongs to. None is made twice: a copy of its
        request may arrive late, when the job has moved on and is once more as that request would have it.
        """
        return (
            Update()
            .only_if(Attr(f"history.{token}").not_exists())
            .set(status=to, updated_at=ms(now))
            .put_in("history", token, {"at": ms(now), "status": to, **detail})
            .put_next("seqs", token, "last_event")
            .put_from("attempts", token, attempt)
            .add("last_event", "version")
        )

    def _end(self, job: Job, to: Status, token: str, now: float, when: ConditionBase, **values: Any) -> Job:
        """The move to a final status. Raises Failed."""
        update = (
            self._changed(to, f"{token}-end", now)
            .set(**values, finished_at=ms(now), expires_at=math.ceil(now + job.ttl_seconds))
            .remove("due", "wake_at", "lease_until")
        )
        return self._update(job.id, update, Attr("status").is_in(froms(to)) & when)

    def _end_as_holder(self, job: Job, to: Status, now: float, report: Report, **values: Any) -> Job:
        try:
            return self._end(job, to, job.token, now, held(job), **values, **told(job, report))
        except Failed as failed:
            seen = failed.job
            if seen is not None and seen.token == job.token and seen.status is to:
                return seen
            raise LeaseLost(job.id) from None

    def _as_holder(self, job: Job, update: Update) -> Job:
        try:
            return self._update(job.id, update, held(job))
        except Failed:
            raise LeaseLost(job.id) from None

    def _update(self, job_id: str, update: Update, when: ConditionBase) -> Job:
        """Raises Failed."""
        arguments: Any = {"TableName": self._table, "Key": job_key(job_id), "ReturnValues": "ALL_NEW"}
        arguments |= update.arguments(Attr("pk").exists() & when)
        try:
            answer = patiently(
                lambda: self._client.update_item(ReturnValuesOnConditionCheckFailure="ALL_OLD", **arguments)
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            raise Failed(standing(error)) from None
        return item_job(answer["Attributes"])

    def _transact(
        self,
        job_id: str,
        update: Update | None,
        when: ConditionBase,
        *,
        puts: Sequence[dict[str, Any]] = (),
        deletes: Sequence[dict[str, Any]] = (),
    ) -> None:
        """The job's update, or its deletion, if `when` holds, and other items of the job's, as one. Raises Failed.

        `puts` are items, `deletes` are keys: 99 at the most.
        """
        guard = Attr("pk").exists() & when
        arguments = (condition(guard) if update is None else update.arguments(guard)) | {
            "TableName": self._table,
            "Key": job_key(job_id),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        items: Any = [{"Delete" if update is None else "Update": arguments}]
        items += [{"Put": {"TableName": self._table, "Item": item}} for item in puts]
        items += [{"Delete": {"TableName": self._table, "Key": key}} for key in deletes]
        # The same for each try: one whose answer was lost must not fail on its own effect.
        token = secrets.token_hex(16)
        try:
            patiently(lambda: self._client.transact_write_items(TransactItems=items, ClientRequestToken=token))
        except ClientError as error:
            reasons: Any = error.response.get("CancellationReasons") or [{}]
            if reasons[0].get("Code") != "ConditionalCheckFailed":
                raise
            raise Failed(item_job(reasons[0]["Item"]) if reasons[0].get("Item") else None) from None


def ended_by(job: Job, token: str) -> bool:
    """Whether the job has ended, and by the move that left this token."""
    return job.status.is_final and job.history[-1].token == f"{token}-end"


def wake_after(now: float, wait: float) -> float:
    """When the sweeper is to look at a job that waits so many seconds: some time after the job's own message, if that can be
    delayed for so long; else it is the sweeper who sends it."""
    return now + (wait + RESEND if wait <= MAX_DELAY else wait - AHEAD)


def patiently(write: Callable[[], Any]) -> Any:
    """A write that met another's transaction is made again: botocore does not do that by itself."""
    for pause in CONFLICT_PAUSES:
        try:
            return write()
        except ClientError as error:
            reasons: Any = error.response.get("CancellationReasons") or []
            met = error.response["Error"]["Code"] == "TransactionConflictException"
            if pause is None or not (met or any(reason.get("Code") == "TransactionConflict" for reason in reasons)):
                raise
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


class Failed(Exception):
    """A condition did not hold; `job` is what stood there."""

    def __init__(self, job: Job | None) -> None:
        self.job = job


def held(job: Job) -> ConditionBase:
    """The fence: this very claim still holds the job."""
    return Attr("status").eq(Status.RUNNING) & Attr("attempt").eq(job.attempt) & Attr("token").eq(job.token)


def is_held(seen: Job, job: Job) -> bool:
    """The fence, for what was read."""
    return (seen.status, seen.attempt, seen.token) == (Status.RUNNING, job.attempt, job.token)


def told(job: Job, report: Report) -> dict[str, Any]:
    """The attributes of what goes along with a holder's write. Progress is its attempt's: another one's is not shown."""
    progress = None if report.progress is None else asdict(report.progress) | {"attempt": job.attempt}
    usage = None if report.usage is None else asdict(report.usage)
    return {name: value for name, value in (("progress", progress), ("usage", usage)) if value is not None}


def standing(error: ClientError) -> Job | None:
    """What a failed condition found in the way; None for nothing."""
    item: Any = error.response.get("Item")  # botocore puts a failed condition's modelled members there
    return item_job(item) if item else None
