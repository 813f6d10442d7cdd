"""The moves of what the sweeper looks after: where it finds an unfinished job, and when it looks at it next."""

from __future__ import annotations

import contextlib

from boto3.dynamodb.conditions import Attr

from common.expressions import Update
from common.items import due_shard, ms
from common.jobs import Job, Status
from common.writes import RESEND, RESEND_MAX, Failed, Writes

#: The sweeper looks this long after something should have happened, in seconds.
GRACE = 5


class Waking(Writes):
    def enlist(self, job_id: str) -> bool:
        """Puts an unfinished job into the index where the sweeper looks; False: it is in there, or has ended.

        A new job is not in there: most end within the minute, and would pay twice for an entry that nobody looks at.
        """
        try:
            self._update(
                job_id, Update().set(due=due_shard(job_id)), Attr("wake_at").exists() & Attr("due").not_exists()
            )
        except Failed:
            return False
        return True

    def wake(self, job_id: str, wake_at: float, wakes: int, now: float) -> Job | None:
        """Takes one overdue job for sending again; None: it has moved since, another sweeper took it, or somebody runs it."""
        again = now + min(RESEND * 2**wakes, RESEND_MAX)
        update = Update().set(wake_at=ms(again)).add("wakes")
        overdue = Attr("due").exists() & Attr("wake_at").eq(ms(wake_at))
        idle = Attr("status").ne(Status.RUNNING) | Attr("lease_until").lte(ms(now - GRACE))
        try:
            return self._update(job_id, update, overdue & idle)
        except Failed as failed:
            leased_until = failed.job.lease_until if failed.job is not None else None
        if leased_until is not None and leased_until > now - GRACE:
            later = Update().set(wake_at=ms(leased_until + GRACE))
            with contextlib.suppress(Failed):
                self._update(job_id, later, overdue & Attr("lease_until").eq(ms(leased_until)))
        return None

    def put_off(self, job_id: str, until: float) -> None:
        """The job's message is away until then: the sweeper need not send another. Nothing if somebody runs the job."""
        later = Update().set(wake_at=ms(until + RESEND))
        idle = Attr("status").is_in([Status.PENDING, Status.WAITING])
        with contextlib.suppress(Failed):
            self._update(job_id, later, idle & Attr("wake_at").lt(ms(until + RESEND)))
