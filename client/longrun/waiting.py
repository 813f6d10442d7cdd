"""Waiting for a job to end: long polls, with pauses between them that the service or the job's own pace decides."""

from collections.abc import Callable
from functools import partial

from longrun.errors import WaitTimeout
from longrun.models import Job
from longrun.service import Answer, Service, segment
from longrun.steps import Sleep, Steps, Tell

#: Seconds that the service may hold a poll until the job ends, or differs from what we know; it allows no more.
HOLD = 20
#: Seconds between polls when the service names none: the first pause, doubled while nothing changes, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0

Clock = Callable[[], float]


def wait(
    service: Service, clock: Clock, job_id: str, timeout: float | None, on_change: Callable[[Job], object] | None
) -> Steps[Job]:
    """The job once it has ended, in whichever way. Raises WaitTimeout."""
    deadline = float("inf") if timeout is None else clock() + timeout
    job: Job | None = None
    etag: str | None = None
    idle = 0
    while True:
        asked_at = clock()
        # Whoever watches wants to see the job at once, and then each change; whoever waits, only the end.
        watched = on_change is not None
        hold = 0 if watched and job is None else int(max(0, min(HOLD, deadline - asked_at)))
        answer = yield from _look(service, job_id, hold, etag if watched else None)
        seen, job = job, _newest(answer, job)
        etag = answer.response.headers.get("ETag", etag)
        changed = seen is None or _face(seen) != _face(job)
        if changed and on_change is not None:
            yield Tell(partial(on_change, job))
        if job.is_final:
            return job
        now = clock()
        if timeout is not None and now >= deadline:
            raise WaitTimeout(job, timeout)
        idle = 0 if changed else idle + 1
        yield Sleep(min(_pause(service, answer, idle, held=now - asked_at if hold else 0), deadline - now))


def _look(service: Service, job_id: str, hold: int, etag: str | None) -> Steps[Answer]:
    headers = {"If-None-Match": etag} if etag else {}
    path = f"/jobs/{segment('job', job_id)}"
    return service.ask(
        service.request("GET", path, params={"wait": hold or None}, headers=headers, hold=hold), also=(304,)
    )


def _newest(answer: Answer, job: Job | None) -> Job:
    return job if job is not None and answer.status == 304 else answer.parse(Job)


def _pause(service: Service, answer: Answer, idle: int, *, held: float) -> float:
    """Seconds until the next poll; those that the service held this one are seconds waited already."""
    asked = answer.retry_after
    if asked is not None:
        return max(0, service.retries.spread(asked) - held)
    backoff = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(idle, 10))
    return max(0, backoff * (1 + service.retries.random()) / 2 - held)


def _face(job: Job) -> tuple[object, ...]:
    """What a watcher sees change; a worker's renewals of its lease are not in it."""
    return job.status, job.attempt, job.progress, job.usage, job.last_event
