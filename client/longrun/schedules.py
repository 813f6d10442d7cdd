"""The calls about schedules, as generators of steps like all others (`calls.py`), and what they answer."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, Field

from longrun.models import Value
from longrun.service import Service, encoded, quoted, segment
from longrun.steps import Items, Steps, paged
from longrun.uploads import JSON


class Schedule(Value):
    """A job that is submitted again and again, or once: whenever the one of `cron`, `rate` and `at` that is set says so.

    `status` is `active`, `paused`, `fired` (it was for once), `missed` (its time passed while it was paused) or `arming`
    (stored, and about to be in force). `last_job` is the job of the latest firing. In a list, `input` is left out.
    """

    id: str
    name: str | None = None
    status: str
    cron: str | None = None
    rate: str | None = None
    at: AwareDatetime | None = None
    timezone: str = "UTC"
    task: str
    input: Any = None
    timeout_seconds: int | float | None = None
    max_attempts: int | None = None
    ttl_seconds: int | float | None = None
    callback_url: str | None = None
    priority: str | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: AwareDatetime | None = None
    last_fired_at: AwareDatetime | None = None
    last_job: str | None = None


class SchedulePage(Value):
    """Some schedules; `next_cursor` asks for the ones after them and is `None` at the end."""

    schedules: tuple[Schedule, ...]
    next_cursor: str | None = None


class ScheduleCalls:
    """The calls about schedules; `Calls` has them too."""

    __slots__ = ()
    service: Service

    def create_schedule(
        self,
        task: str,
        input: object = None,
        *,
        cron: str | None = None,
        rate: str | None = None,
        at: datetime | str | None = None,
        timezone: str | None = None,
        name: str | None = None,
        callback_url: str | None = None,
        timeout_seconds: float | None = None,
        max_attempts: int | None = None,
        ttl_seconds: float | None = None,
        priority: str | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Steps[Schedule]:
        """Have a job submitted whenever one of these says so, exactly one each time.

        `cron` has six fields (`0 9 ? * MON-FRI *`: minute, hour, day of the month, month, day of the week, year), `rate` is
        `5 minutes`, `1 hour` or `7 days`, `at` is a time, for once. Times are in `timezone` (`Europe/Berlin`; UTC unless
        said), but for an `at` that has its own offset. The rest is as in `submit`; `ttl_seconds` is 3 hours at least. The
        same `idempotency_key` always gives the same schedule. Raises InvalidInput before anything is sent,
        InvalidRequest, and Conflict when there are too many.
        """
        options = {
            "name": name,
            "cron": cron,
            "rate": rate,
            "at": at.isoformat(timespec="seconds") if isinstance(at, datetime) else at,
            "timezone": timezone,
            "callback_url": callback_url,
            "timeout_seconds": timeout_seconds,
            "max_attempts": max_attempts,
            "ttl_seconds": ttl_seconds,
            "priority": priority,
            "metadata": metadata,
        }
        given = {name: value for name, value in options.items() if value is not None}
        body = encoded({"task": task, "input": {} if input is None else input} | given, "the schedule")
        headers = JSON | {"Idempotency-Key": quoted(idempotency_key or str(uuid.uuid4()))}
        request = self.service.request("POST", "/schedules", headers=headers, content=body)
        return (yield from self.service.ask(request)).parse(Schedule)

    def schedule(self, schedule_id: str) -> Steps[Schedule]:
        """The schedule as it is now. Raises NotFound."""
        return (yield from self.service.ask(self.service.request("GET", _path(schedule_id)))).parse(Schedule)

    def schedules(self, *, page_size: int = 100) -> Items[Schedule]:
        """Every schedule, asked for page by page as the iteration goes on."""
        return paged(lambda cursor: self._page(page_size, cursor), lambda page: page.schedules)

    def pause_schedule(self, schedule_id: str) -> Steps[Schedule]:
        """Have it submit nothing until it is resumed. Raises NotFound, and Conflict for one that has had its time."""
        return self._turn(schedule_id, "pause")

    def resume_schedule(self, schedule_id: str) -> Steps[Schedule]:
        """Have it submit again; what it left out meanwhile is not made up for. Raises NotFound, Conflict."""
        return self._turn(schedule_id, "resume")

    def delete_schedule(self, schedule_id: str) -> Steps[None]:
        """Forget it; the jobs that it has submitted stay. Raises NotFound."""
        return self.service.delete(_path(schedule_id))

    def _page(self, limit: int, cursor: str | None) -> Steps[SchedulePage]:
        request = self.service.request("GET", "/schedules", params={"limit": limit, "cursor": cursor})
        return (yield from self.service.ask(request)).parse(SchedulePage)

    def _turn(self, schedule_id: str, how: str) -> Steps[Schedule]:
        request = self.service.request("POST", f"{_path(schedule_id)}/{how}", harmless_twice=True)
        return (yield from self.service.ask(request)).parse(Schedule)


def _path(schedule_id: str) -> str:
    return f"/schedules/{segment('schedule', schedule_id)}"
