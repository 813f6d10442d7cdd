"""Makes the one job of a firing, however often and by however many it is told of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common import metrics
from common.jobs import is_id
from common.making import make_job
from common.telemetry import about, logger
from common.wiring import Services


class NotAFiring(Exception):
    """An event that is not ours: it ends in the dead letters, where it can be looked at."""


@dataclass(frozen=True)
class Firing:
    """What the schedule's target is given. `at` is the time that it was due, in seconds since 1970."""

    owner: str
    schedule: str
    token: str
    at: float

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Firing:
        """Raises NotAFiring."""
        try:
            owner, schedule, token = (event[name] for name in ("owner", "schedule", "token"))
            at = datetime.fromisoformat(event["at"])
        except (KeyError, TypeError, ValueError):
            raise NotAFiring("The event names no schedule, or no time.") from None
        named = isinstance(owner, str) and isinstance(token, str) and isinstance(schedule, str) and is_id(schedule)
        if not named or at.tzinfo is None:
            raise NotAFiring("The event names no schedule, or no time.")
        return cls(owner, schedule, token, at.timestamp())


def fire(services: Services, firing: Firing) -> str | None:
    """The id of the firing's job; None where there is to be none: its schedule is gone, or paused."""
    now = services.clock()
    schedule = services.schedules.get(firing.owner, firing.schedule, now)
    if schedule is None or schedule.token != firing.token:
        services.scheduler.remove(firing.schedule, firing.token)
        logger.warning("fired into nothing", owner=firing.owner, schedule=firing.schedule)
        return None
    if schedule.paused:
        return None
    if schedule.last_fired_at == firing.at:  # its job may be forgotten by now
        return schedule.last_job
    job = make_job(services.payloads, schedule.order, job_id=schedule.job_id(firing.at), owner=schedule.owner, now=now)
    job, is_new = services.store.put(job, now)
    if is_new:
        metrics.submitted(job)
        services.queues.nudge(job)
    services.schedules.note(schedule, firing.at, job.id, now)
    logger.info("fired", **about(job), schedule=schedule.id, is_new=is_new)
    return job.id
