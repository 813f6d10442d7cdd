"""One subscription: the past first, and then live, with nothing missing and nothing twice in between.

Until it goes live, this function alone posts to it, and when it has, the notifier alone does. In between lies one write of
the subscription. A change of the job that the notifier handled before that write was not pushed, and may be newer than what
was read here. So the job itself is touched afterwards: the touch comes down the table's stream behind that change, and
whoever is live then and lacks anything is sent it. A transaction with a condition on the job's item would close the gap, too,
but it would make the worker's own write at that moment fail: readers must not disturb the work.

If this function dies on the way, the client hears nothing, and subscribes again with the last number that it has.
"""

from __future__ import annotations

from collections.abc import Callable

from common.errors import NotFound
from common.jobs import Job
from common.live import LIFE, Connection
from common.sockets import end, live, log, told
from common.wiring import Services

#: Most events that are read at a time.
PORTION = 1_000


def subscribe(
    services: Services, connection: Connection, job_id: str, after: int, has_time: Callable[[], bool]
) -> None:
    """Tells what the job's log has after number `after`, and leaves the rest to the notifier.

    Raises NotFound, in the same words for another's job as for none, Conflict, and what posting does.
    """
    job = _find(services, connection, job_id)
    if _is_told_already(services, connection, job, after):
        services.sockets.post(connection.id, live(job, after))
        return
    subscription = services.subscriptions.begin(connection, job, after, services.clock())
    sent = after
    while job.last_event > sent:
        if not has_time():
            return
        for message in told(job, log(services.store, job, sent, PORTION)):
            if not has_time():
                return
            services.sockets.post(connection.id, message)
            sent = message.last or sent
        job = _find(services, connection, job_id)
    if job.status.is_final:
        services.sockets.post(connection.id, end(job))
        services.subscriptions.end(subscription)
        return
    services.sockets.post(connection.id, live(job, sent))
    if services.subscriptions.go_live(subscription, sent):
        services.store.watch(job, subscription.token, services.clock() + LIFE)


def _find(services: Services, connection: Connection, job_id: str) -> Job:
    job = services.store.get(job_id, services.clock(), consistent=True)
    if job is None or not connection.may_watch(job):
        raise NotFound("No such job.")
    return job


def _is_told_already(services: Services, connection: Connection, job: Job, after: int) -> bool:
    """Whether a live subscription says the same: a client that has heard nothing for a while only asks."""
    if job.last_event != after or job.status.is_final or not job.is_watched(services.clock()):
        return False
    found = services.subscriptions.find(connection, job)
    return found is not None and found.live and found.sent == after and found.is_of(job)
