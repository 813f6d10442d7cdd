"""The only code that knows the table. One method a move, each one conditional write.

A write whose answer was lost is repeated by botocore as it was, and then its own effect fails its condition. So every move
leaves its maker's token or attempt behind, and a failed condition looks for it before it says no.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Attr, ConditionBase
from botocore.exceptions import ClientError

from common.errors import CancelRequested, InvalidTransition, LeaseLost, NotClaimable, NotFound
from common.events import Event
from common.expressions import Update, condition, to_item
from common.items import due_shard, job_item, job_key, ms, page_item, step_item
from common.jobs import LEASE, Failure, Job, Payload, Report, Status, froms
from common.resuming import Resuming
from common.steps import Step, wait_id
from common.waking import GRACE, Waking
from common.writes import MOST_DELETED, RESEND, UNCHANGED, Failed, held, is_held, standing, told

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: A delayed job may start this much before its time, in seconds: clocks differ, and messages come in whole seconds.
SLACK = 1
#: Longest message of a passing error that is kept in the history, in characters: every write bills the whole item.
NOTE = 200


class Store(Resuming, Waking):
    def __init__(self, client: DynamoDBClient, table: str, *, lease: float = LEASE) -> None:
        super().__init__(client, table)
        self.lease = lease

    # -------------------------------------------------------------- the moves

    def put(self, job: Job, now: float) -> tuple[Job, bool]:
        """Puts a new job, or finds the one that its idempotency key made before: (job, whether it is new)."""
        free = Attr("pk").not_exists() | Attr("expires_at").lte(math.floor(now))
        try:
            self._client.put_item(
                TableName=self._table,
                Item=job_item(job),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **condition(free),
            )
        except ClientError as error:
            found = standing(error)
            if found is None:
                raise
            return found, found.token == job.token
        return job, True

    def claim(self, job_id: str, *, token: str, now: float) -> Job:
        """pending, done waiting, or running with a dead lease -> running, leased. Raises NotClaimable.

        A sweep that comes before the lease is over does no harm: it sees the lease and comes again. So a claim leaves the
        next sweep where it is, unless that is too late: what is in the index of unfinished items need not move in there.
        """
        due = Attr("status").is_in([Status.PENDING, Status.WAITING]) & Attr("run_at").lte(ms(now + SLACK))
        abandoned = (
            Attr("status").eq(Status.RUNNING)
            & Attr("lease_until").lte(ms(now))
            & Attr("next_attempt").lte(Attr("max_attempts"))
        )
        free = due | abandoned
        lease_until = now + self.lease
        sweep_at = ms(lease_until + GRACE)
        update = (
            self._changed(Status.RUNNING, token, now, attempt="next_attempt")
            .copy("attempt", "next_attempt")
            .copy("next_attempt", "next_attempt", plus=1)
            .set(token=token, lease_until=ms(lease_until), wakes=0)
            .set_once(started_at=ms(now))
            .add("claims")
        )
        try:
            return self._update(job_id, update, free & Attr("wake_at").lte(sweep_at))
        except Failed as failed:
            seen = failed.job
        if seen is not None and seen.token != token and ms(seen.wake_at or 0) > sweep_at:
            try:
                return self._update(job_id, update.set(wake_at=sweep_at), free)
            except Failed as failed:
                seen = failed.job
        if seen is not None and seen.token == token:
            return seen
        raise NotClaimable(seen)

    def renew(self, job: Job, now: float) -> Job:
        """Holds the lease for as long again. Raises LeaseLost."""
        until = now + self.lease
        update = Update().set(lease_until=ms(until), wake_at=ms(until + GRACE), due=due_shard(job.id))
        return self._as_holder(job, update)

    def report(self, job: Job, report: Report, now: float) -> Job:
        """Writes where the job is now. Raises LeaseLost."""
        return self._as_holder(job, Update().set(**told(job, report), updated_at=ms(now)).add("version"))

    def flush(
        self,
        job: Job,
        page: Sequence[Event],
        report: Report,
        now: float,
        steps: Sequence[Step] = (),
        after: int | None = None,
    ) -> Job:
        """Writes a page of what the task said, numbered on from the job's last event, its finished steps, and where the job
        is, all as one.

        What a finished step waited for is not open any more. Raises LeaseLost. A page whose write's answer was lost must be
        written again as it was, `after` the event that was the last one then: the job may have been read since.
        """
        after = job.last_event if after is None else after
        last = after + len(page)
        update = Update().set(**told(job, report), last_event=last, updated_at=ms(now)).add("version")
        closed = {wait_id(step.key) for step in steps} & job.waits.keys()
        for name in closed:
            update.remove_from("waits", name)
        puts = [page_item(job, page, last, now)] if page else []
        puts += [step_item(job, step) for step in steps]
        try:
            self._transact(job.id, update, held(job) & Attr("last_event").eq(after), puts=puts)
        except Failed as failed:
            seen = failed.job
            # Another's ending of the job may have counted its events up, too.
            if seen is None or not is_held(seen, job) or seen.last_event != last:
                raise LeaseLost(job.id) from None
            return seen
        waits = {name: wait for name, wait in job.waits.items() if name not in closed}
        return replace(job, last_event=last, version=job.version + 1, waits=waits)

    def complete(self, job: Job, result: Payload, report: Report, now: float) -> Job:
        """running -> completed. Raises LeaseLost."""
        return self._end_as_holder(job, Status.COMPLETED, now, report, result=asdict(result))

    def fail(self, job: Job, error: Failure, report: Report, now: float) -> Job:
        """running -> failed. Raises LeaseLost."""
        return self._end_as_holder(job, Status.FAILED, now, report, error=asdict(error))

    def end_cancelled(self, job: Job, report: Report, now: float) -> Job:
        """running -> cancelled, by its worker. Raises LeaseLost."""
        return self._end_as_holder(job, Status.CANCELLED, now, report)

    def retry(self, job: Job, error: Failure, run_at: float, report: Report, now: float) -> Job:
        """running -> pending, for another attempt at `run_at`. Raises CancelRequested or LeaseLost."""
        noted = asdict(replace(error, message=error.message[:NOTE]))
        update = (
            self._changed(Status.PENDING, f"{job.token}-retry", now, error=noted)
            .set(**told(job, report), run_at=ms(run_at), wake_at=ms(run_at + RESEND), wakes=0, due=due_shard(job.id))
            .remove("lease_until")
        )
        try:
            return self._update(job.id, update, held(job) & Attr("cancel_requested").not_exists())
        except Failed as failed:
            seen = failed.job
            if seen is None or seen.token != job.token:
                raise LeaseLost(job.id) from None
            if seen.status is Status.RUNNING:
                raise CancelRequested(job.id) from None
            return seen

    def request_cancel(self, job: Job, token: str, now: float) -> Job:
        """Ends a job that nobody runs; asks the worker of one that runs. Raises InvalidTransition, NotFound."""
        idle = Attr("status").is_in([s for s in froms(Status.CANCELLED) if s is not Status.RUNNING])
        try:
            return self._end(job, Status.CANCELLED, token, now, idle)
        except Failed:
            pass
        asked = Update().set(cancel_requested=True, updated_at=ms(now)).add("version")
        # Not of a job that has ended and was begun anew since: nobody wants that one stopped.
        meant = Attr("earlier_attempts").eq(job.earlier_attempts)
        try:
            return self._update(job.id, asked, Attr("status").eq(Status.RUNNING) & meant)
        except Failed as failed:
            if failed.job is None:
                raise NotFound(f"No job {job.id}.") from None
            if failed.job.status is Status.CANCELLED:
                return failed.job
            if not failed.job.status.is_final:  # went back to the queue in between
                return self.request_cancel(failed.job, token, now)
            raise InvalidTransition(failed.job, Status.CANCELLED) from None

    def bury(self, job: Job, error: Failure | None, token: str, now: float) -> Job | None:
        """Ends a job that no worker will end: failed with `error`, or cancelled without one. None: it need not be.

        Never one that a live worker holds, nor one that waits for its time.
        """
        idle = Attr("status").eq(Status.PENDING) & Attr("run_at").lte(ms(now))
        abandoned = Attr("status").eq(Status.RUNNING) & Attr("lease_until").lte(ms(now))
        to = Status.FAILED if error else Status.CANCELLED
        extra = {"error": asdict(error)} if error else {}
        try:
            return self._end(job, to, token, now, (idle | abandoned) & Attr("attempt").eq(job.attempt), **extra)
        except Failed:
            return None

    def watch(self, job: Job, token: str, until: float) -> None:
        """Has each change of the job told to those who watch it, this one included. Raises NotFound.

        No change that a client can see: neither the version nor the time of the last update moves.
        """
        update = Update().set(watched_until=ms(until), watched_by=token)
        try:
            self._update(job.id, update, Attr("created_at").eq(ms(job.created_at)))
        except Failed:
            raise NotFound("No such job.") from None

    def give_up(self, job: Job) -> None:
        """An ended job can only be deleted from here on: what its next attempt would need may go. Raises InvalidTransition."""
        try:
            self._update(job.id, Update().set(given_up=True), _ended(job))
        except Failed as failed:
            if failed.job is not None:
                raise InvalidTransition(failed.job, "deleted") from None

    def forget(self, job: Job) -> None:
        """Deletes an ended job and every item of it; the job's own item with the last of them, so that a crash can be repeated.

        Raises InvalidTransition for a job that has not ended (any more). One that is gone already is none.
        """
        # What its next attempt would need goes last.
        names = sorted(set(self.sort_keys(job.id)) - {"job"}, key=lambda sk: sk.startswith(("step#", "input#")))
        keys = [job_key(job.id, sk) for sk in names]
        try:
            while len(keys) > MOST_DELETED:
                self._transact(job.id, UNCHANGED, _ended(job), deletes=keys[:MOST_DELETED])
                keys = keys[MOST_DELETED:]
            self._transact(job.id, None, _ended(job), deletes=keys)
        except Failed as failed:
            if failed.job is not None:
                raise InvalidTransition(failed.job, "deleted") from None

    # -------------------------------------------------------------- what is too large for the job's item

    def put_text(self, job_id: str, name: str, text: str, expires_at: float) -> None:
        item = to_item({"pk": f"job#{job_id}", "sk": name, "text": text, "expires_at": math.ceil(expires_at)})
        self._client.put_item(TableName=self._table, Item=item)


def _ended(job: Job) -> ConditionBase:
    """This very job, not one that took its place under an idempotency key, has ended."""
    is_final = Attr("status").is_in([status for status in Status if status.is_final])
    return is_final & Attr("created_at").eq(ms(job.created_at))
