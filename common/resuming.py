"""The moves of jobs that go on later: in another invocation, at another time, when somebody answered, or when told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase

from common.errors import CancelRequested, Conflict, InvalidTransition, LeaseLost
from common.events import Event
from common.expressions import Update
from common.items import due_shard, job_key, ms, page_item, step_item, wait_item
from common.jobs import Change, Job, Report, Status, Wait, WaitKind
from common.steps import Step, wait_id
from common.writes import RESEND, UNCHANGED, Failed, Writes, held, told, wake_after

#: More changes of status than these are moved out of the job's own item, which every write bills as a whole.
MOST_CHANGES = 24
#: So many of the latest stay.
KEPT_CHANGES = 8
#: Most changes that one move takes out, and most steps that one forgets: its transaction has room for a hundred items.
MOST_MOVED = 30
MOST_FORGOTTEN = 60
#: What such a job cannot become.
NOT_RETRIED = "retried: only failed and cancelled jobs are"


class Resuming(Writes):
    def put_back(self, job: Job, report: Report, ran: float, now: float) -> Job:
        """running -> pending, to go on in another invocation as the same attempt, which ran for `ran` seconds so far.

        Raises CancelRequested, LeaseLost.
        """
        update = self._changed(Status.PENDING, f"{job.token}-on", now, reason="continuation")
        update.set(run_at=0, wake_at=ms(now + RESEND)).add("continuations")
        return self._lay_down(job, Status.PENDING, update, report, ran, now)

    def wait(self, job: Job, waits: Mapping[str, Wait], report: Report, ran: float, now: float) -> Job:
        """running -> waiting, until the first of `waits` is over. Raises CancelRequested, LeaseLost."""
        until = min(wait.until for wait in waits.values())
        steps = sorted(wait.step for wait in waits.values())
        # None for no: receivers are told of questions alone.
        asks = any(wait.kind is WaitKind.ANSWER for wait in waits.values()) or None
        update = self._changed(Status.WAITING, f"{job.token}-on", now, waits_for=steps, asks=asks)
        update.set(waits={name: wait_item(wait) for name, wait in waits.items()}, run_at=ms(until))
        wake_at = wake_after(now, until - now)
        if any(wait.kind is WaitKind.CHILDREN for wait in waits.values()):
            # Should the process die before it looks whether they have ended meanwhile, the sweeper has another look.
            wake_at = min(wake_at, now + RESEND)
        update.set(wake_at=ms(wake_at))
        return self._lay_down(job, Status.WAITING, update, report, ran, now)

    def _lay_down(self, job: Job, to: Status, update: Update, report: Report, ran: float, now: float) -> Job:
        update.set(**told(job, report), wakes=0, ran=ms(ran), ran_of=job.attempt, due=due_shard(job.id))
        update.copy("next_attempt", "attempt").remove("lease_until")
        try:
            return self._move(job, to, update, held(job) & Attr("cancel_requested").not_exists(), now)
        except Failed as failed:
            seen = failed.job
            if seen is None or seen.token != job.token:
                raise LeaseLost(job.id) from None
            if seen.status is Status.RUNNING:
                raise CancelRequested(job.id) from None
            return seen

    def _move(
        self,
        job: Job,
        to: Status,
        update: Update,
        when: ConditionBase,
        now: float,
        deletes: Sequence[dict[str, Any]] = (),
    ) -> Job:
        """The change of status, and along with it changes that the job's own item has no room for any more. Raises Failed."""
        moved = _outgrown(job)
        if not moved and not deletes:
            return self._update(job.id, update, when)
        for change in moved:
            for mapping in ("history", "seqs", "attempts"):
                update.remove_from(mapping, change.token)
        pages = [page_item(job, [status_event(change)], change.seq, now) for change in moved]
        self._transact(job.id, update, when, puts=pages, deletes=deletes)
        return self.get(job.id, now, consistent=True) or replace(job, status=to)

    def answer(self, job: Job, step: Step, token: str, now: float) -> Job:
        """-> pending, with what was waited for written down as the step's result. Raises Conflict."""
        update = (
            self._changed(Status.PENDING, token, now, answered=step.key)
            .set(run_at=0, wake_at=ms(now + RESEND), wakes=0)
            .remove_from("waits", wait_id(step.key))
        )
        # Of two open questions the second may be answered before a worker has the job again; then it sees both.
        still = Attr("status").is_in([Status.WAITING, Status.PENDING])
        asked = still & Attr(f"waits.{wait_id(step.key)}").exists()
        same = Attr("created_at").eq(ms(job.created_at))
        try:
            self._transact(job.id, update, asked & same, puts=[step_item(job, step)])
        except Failed:
            raise Conflict(f"Job {job.id} does not wait for that (any more).") from None
        return self.get(job.id, now, consistent=True) or job

    def note_children(self, job: Job) -> None:
        """From now on the job's end is its children's affair, too. Raises LeaseLost."""
        self._as_holder(job, Update().set(has_children=True))

    def wake_parent(self, job_id: str, step: str, token: str, now: float) -> Job | None:
        """waiting -> pending, if it is for that step's children that the job waits; None if not, or not any more."""
        update = self._changed(Status.PENDING, token, now, ended=step).set(run_at=0, wake_at=ms(now + RESEND), wakes=0)
        update.remove_from("waits", wait_id(step))
        try:
            waits = Attr("status").eq(Status.WAITING) & Attr(f"waits.{wait_id(step)}").exists()
            return self._update(job_id, update, waits)
        except Failed:
            return None

    def revive(self, job: Job, token: str, now: float, first: Step | None = None) -> Job:
        """failed or cancelled -> pending, with all its attempts anew and its finished steps, but for `first` and those after.

        Raises InvalidTransition for a job that is not as it was when it was read: it may have been begun anew, and the steps
        that it has finished since are to stay. The last steps go first, so that a crash leaves no gap, and `first` goes with
        the move itself, so that whoever asks again finds it.
        """
        again = job.attempt + job.max_attempts - job.earlier_attempts
        update = (
            self._changed(Status.PENDING, token, now, reason="retry")
            .set(run_at=0, wake_at=ms(now + RESEND), wakes=0, due=due_shard(job.id), ran=0)
            .set(max_attempts=again, earlier_attempts=job.attempt)
            .remove("error", "result", "finished_at", "expires_at", "cancel_requested", "waits", "progress")
        )
        update.copy("next_attempt", "attempt", plus=1)
        keys = self._from(first, job) if first else []
        try:
            while len(keys) > MOST_FORGOTTEN:
                self._transact(job.id, UNCHANGED, _ended_still(job), deletes=keys[:MOST_FORGOTTEN])
                keys = keys[MOST_FORGOTTEN:]
            return self._move(job, Status.PENDING, update, _ended_still(job), now, deletes=keys)
        except Failed as failed:
            seen = failed.job
            if seen is not None and seen.was_changed_by(token):
                return seen  # it was written, and the answer lost
            raise InvalidTransition(seen or job, NOT_RETRIED) from None

    def _from(self, first: Step, job: Job) -> list[dict[str, Any]]:
        """The keys of that finished step and those after it, the last one's first."""
        later = sorted((step for step in self.steps(job).values() if step.order >= first.order), key=lambda s: -s.order)
        return [job_key(job.id, f"step#{step.key}") for step in later]


def status_event(change: Change) -> Event:
    """A change of status as the log has it."""
    return Event("status", change.at, {"status": change.status, "attempt": change.attempt, **change.detail})


def _outgrown(job: Job) -> Sequence[Change]:
    """The changes that are moved out; the first stays, since it is the job's submission."""
    return job.history[1:-KEPT_CHANGES][:MOST_MOVED] if len(job.history) > MOST_CHANGES else ()


def _ended_still(job: Job) -> ConditionBase:
    """The job has ended without a result, nobody deletes it, and nothing happened to it since it was read."""
    ended = Attr("status").is_in([Status.FAILED, Status.CANCELLED]) & Attr("given_up").not_exists()
    return ended & Attr("version").eq(job.version)
