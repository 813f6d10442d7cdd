"""Making and changing schedules: the table first, then EventBridge (`common/schedules.py` says what a crash leaves)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field

from common.errors import Conflict, KeyReused, NotFound, Unavailable
from common.jobs import DEFAULT_TTL, MAX_TTL, derived_id, is_id, new_id
from common.scheduler import NotTaken
from common.schedules import MAX_INPUT, MIN_TTL, MOST, Kind, Schedule, State
from common.telemetry import logger
from common.wiring import Services
from functions.api.requests import valid
from functions.api.submissions import Submission, checked, fingerprint, order_of
from functions.api.whens import read_when, wrong

#: How long before its time EventBridge must hear of something that is to be once, in seconds: what is past never fires.
LEAD = 5
#: How often EventBridge is told again when the schedule was changed meanwhile.
_TRIES = 5

Unreached = (ClientError, BotoCoreError)


class NewSchedule(Submission):
    """A submission, and when it is to be made: one of `cron`, `rate` and `at`."""

    name: str | None = Field(default=None, min_length=1, max_length=100, description="For people.")
    cron: str | None = Field(default=None, max_length=250, description="Six fields: `0 9 ? * MON-FRI *`.")
    rate: str | None = Field(default=None, max_length=250, description="`5 minutes`, `1 hour`, `7 days`.")
    at: str | None = Field(default=None, max_length=250, description="Once: `2027-01-31T09:00:00`.")
    timezone: str | None = Field(
        default=None, min_length=1, max_length=50, description="Of `cron` and `at`; UTC unless said."
    )
    ttl_seconds: int = Field(
        default=DEFAULT_TTL, ge=MIN_TTL, le=MAX_TTL, description="How long a job is kept after its end."
    )


@dataclass(frozen=True)
class Made:
    schedule: Schedule
    #: It was there before, under the same idempotency key.
    replayed: bool


def read_schedule(services: Services, body: Any) -> NewSchedule:
    """Raises Unprocessable, saying what is wrong where."""
    new = valid(services, NewSchedule, body, "schedule")
    for field in ("upload", "delay_seconds"):
        if field in new.model_fields_set:
            raise wrong(field, "A schedule takes none.")
    return new


def make(services: Services, owner: str, new: NewSchedule, key: str | None) -> Made:
    """Raises Unprocessable or Conflict (nothing was stored), KeyReused, or Unavailable (stored, and to be asked for again)."""
    task, text = checked(services, owner, new)
    if len(text.encode()) > MAX_INPUT:
        raise wrong("input", f"Over {MAX_INPUT:,} bytes; store a document, and name it in the input.")
    when = read_when({Kind.CRON: new.cron, Kind.RATE: new.rate, Kind.AT: new.at}, new.timezone)
    now = services.clock()
    schedule = Schedule(
        owner=owner,
        id=new_id() if key is None else derived_id(owner, f"schedule\n{key}"),
        kind=when.kind,
        expression=when.expression,
        timezone=when.timezone,
        order=order_of(new, task, text),
        fingerprint=fingerprint(new, text),
        token=secrets.token_hex(8),
        created_at=now,
        name=new.name,
    )
    standing = services.schedules.get(owner, schedule.id, now) if key else None
    is_new = False
    if standing is None:
        if schedule.moment is not None and schedule.moment < now + LEAD:
            raise wrong("at", f"That time has passed, or is less than {LEAD} s away.")
        if services.schedules.count(owner) >= MOST:
            raise Conflict(f"There are {MOST} schedules already; delete one first.")
        standing, is_new = services.schedules.put(schedule, now)
    if standing.fingerprint != schedule.fingerprint:
        raise KeyReused(
            f"Schedule {standing.id} was made with this key and another payload; use a new key for a new one."
        )
    return Made(_told(services, standing), replayed=not is_new)


def find(services: Services, owner: str, schedule_id: str) -> Schedule:
    """The caller's schedule, EventBridge told of it if it was not. Raises the same NotFound for another's as for none."""
    seen = seen_to(services, _standing(services, owner, schedule_id))
    if seen is None:
        raise NotFound("No such schedule.")
    return seen


def seen_to(services: Services, schedule: Schedule) -> Schedule | None:
    """The schedule, EventBridge told of it if it was not and can be now; None if it turned out to be none."""
    try:
        return _settled(services, schedule)
    except (NotFound, NotTaken):
        return None
    except Unreached as error:
        logger.warning("schedule not settled", schedule=schedule.id, error=type(error).__name__)
        return schedule


def pause(services: Services, owner: str, schedule_id: str, *, paused: bool) -> Schedule:
    """Stops it for a while, or starts it again. Doing it twice is harmless. Raises NotFound, Conflict, Unavailable."""
    found = _standing(services, owner, schedule_id)
    if found.status(services.clock()) in (State.FIRED, State.MISSED):
        raise Conflict("It was to fire once, and its time has passed.")
    return _told(services, services.schedules.pause(found, paused=paused))


def remove(services: Services, owner: str, schedule_id: str) -> None:
    """Forgets it; from now on it makes no jobs. Raises NotFound."""
    gone = services.schedules.remove(owner, schedule_id) if is_id(schedule_id) else None
    if gone is None or gone.is_expired(services.clock()):
        raise NotFound("No such schedule.")
    try:
        services.scheduler.remove(gone.id, gone.token)
    except Unreached as error:  # it fires into nothing once, and is deleted then
        logger.warning("schedule left in EventBridge", schedule=gone.id, error=type(error).__name__)


def _standing(services: Services, owner: str, schedule_id: str) -> Schedule:
    """What is stored. Raises NotFound."""
    found = services.schedules.get(owner, schedule_id, services.clock()) if is_id(schedule_id) else None
    if found is None:
        raise NotFound("No such schedule.")
    return found


def _told(services: Services, schedule: Schedule) -> Schedule:
    """The schedule, known to EventBridge. Raises Unprocessable, NotFound, Unavailable."""
    try:
        return _settled(services, schedule)
    except NotTaken as error:
        about_zone = "timezone" in str(error).lower().replace(" ", "")
        raise wrong("timezone" if about_zone else schedule.kind, "EventBridge Scheduler does not take it.") from None
    except Unreached as error:
        logger.error("schedule not settled", schedule=schedule.id, error=type(error).__name__)
        raise Unavailable(
            "The schedule is stored, but EventBridge Scheduler could not be told of it now. Asking for it again does "
            "that, and so does sending the same request with the same Idempotency-Key.",
            instance=f"/schedules/{schedule.id}",
        ) from error


def _settled(services: Services, schedule: Schedule) -> Schedule:
    """Has EventBridge do what stands in the table. Raises NotTaken, NotFound (it was deleted meanwhile), AWS's own."""
    for _ in range(_TRIES):
        if schedule.settled or schedule.status(services.clock()) in (State.FIRED, State.MISSED):
            return schedule
        try:
            services.scheduler.put(schedule)
        except NotTaken:
            if schedule.version == 1:  # it never was in force
                services.schedules.remove(schedule.owner, schedule.id, schedule.token)
            raise
        settled = services.schedules.settle(schedule)
        if settled is not None:
            return settled
        standing = services.schedules.get(schedule.owner, schedule.id, services.clock())
        if standing is None or standing.token != schedule.token:
            services.scheduler.remove(schedule.id, schedule.token)
            raise NotFound("The schedule was deleted meanwhile.")
        # Changed by another request; EventBridge may have heard us after it, so it is told once more in any case.
        schedule = replace(standing, settled=False)
    raise Conflict("The schedule is being changed by somebody else; ask again.")
