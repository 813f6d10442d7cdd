"""What an ending means to a job's relatives: its parent may have heard enough to go on, its children need not go on.

Called for every ending that the table's stream shows, as often as it shows it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from itertools import groupby

from common.families import Ended, step_of
from common.jobs import Job, Status
from common.wiring import Services

#: Longest text of a child's error that its parent sees, in characters.
ERROR = 1_000


def tell_parents(services: Services, children: Iterable[Job]) -> None:
    """Counts jobs that have ended for their parents, and wakes those that have waited for it."""
    ended = sorted((job for job in children if job.parent and job.status.is_final), key=_family_of)
    for (parent_id, name, born), jobs in groupby(ended, key=_family_of):
        family = services.families.note_ended(parent_id, name, born, [_ended(job) for job in jobs])
        if family is not None and family.wants_its_parent:
            parent = services.store.wake_parent(parent_id, step_of(name), secrets.token_hex(8), services.clock())
            if parent is not None:
                services.queues.nudge(parent)


def release_children(services: Services, job: Job) -> None:
    """A job that ended before its children did takes them along: a worker that gets its message sees to it."""
    if job.has_children and job.status in (Status.FAILED, Status.CANCELLED):
        services.queues.send(job)


def _family_of(job: Job) -> tuple[str, str, int]:
    return job.parent or "", (job.parent_step or "").rpartition("#")[0], job.parent_born or 0


def _ended(job: Job) -> Ended:
    number = int((job.parent_step or "#0").rpartition("#")[2])
    error = job.error.message[:ERROR] if job.error else None
    return Ended(number, job.id, job.status, job.result, "cancelled" if job.status is Status.CANCELLED else error)
