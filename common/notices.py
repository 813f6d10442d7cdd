"""Makes webhooks of a job's changes: one delivery for each receiver, then its message.

If the process dies between the two, the delivery is found by the sweeper. If it dies before them, the stream shows the
change again; what was made already is found by its id, which the change alone decides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from common.deliveries import KEPT, Delivery, State
from common.endpoints import Endpoint
from common.items import ms
from common.jobs import Change, Job, Status
from common.webhooks import TYPES, body, message_id
from common.wiring import Services

#: How the receivers of POST /agent/submit-with-callback like it.
SIMPLE = "simple"


def told_changes(old: Job | None, new: Job) -> list[Change]:
    """The changes of status, new since `old`, that receivers are told. Of children it is their parent that is."""
    if new.parent is not None:
        return []
    # A job under a reused idempotency key takes an expired one's place; its own history begins anew.
    known = {change.seq for change in old.history} if old and old.created_at == new.created_at else set()
    return [change for change in new.history if _is_told(change) and change.seq not in known]


def _is_told(change: Change) -> bool:
    """A job that sleeps, or waits for its children, needs nobody."""
    return change.status in TYPES and (change.status is not Status.WAITING or bool(change.detail.get("asks")))


class Notices:
    """For one batch: an owner's endpoint is read once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._endpoint: Callable[[str], Endpoint] = cache(services.endpoints.get)

    def make(self, job: Job, change: Change) -> int:
        """The webhooks of a change; returns how many are new. Doing it twice is harmless."""
        endpoint = self._endpoint(job.owner)
        made = []
        if job.callback_url is not None:
            made.append(self._delivery(job, change, "callback", url=job.callback_url))
        if endpoint.url is not None and endpoint.url != job.callback_url:
            made.append(self._delivery(job, change, "endpoint", reason=_why_not(endpoint)))
        return sum(self._begin(delivery) for delivery in made)

    def recover(self, job: Job) -> int:
        """What the notifier may have failed to make."""
        return sum(self.make(job, change) for change in told_changes(None, job))

    def _delivery(
        self, job: Job, change: Change, kind: str, *, url: str | None = None, reason: str | None = None
    ) -> Delivery:
        services, now = self._services, self._services.clock()
        simple = kind == "callback" and job.callback_form == SIMPLE
        return Delivery(
            job_id=job.id,
            id=message_id(job, change, kind),
            owner=job.owner,
            type=TYPES[change.status],
            url=url,
            body=body(job, change, services.payloads, services.settings.api_url, simple=simple),
            created_at=now,
            born=ms(job.created_at),
            next_at=now,
            expires_at=now + KEPT,
            state=State.EXHAUSTED if reason else State.PENDING,
            reason=reason,
        )

    def _begin(self, delivery: Delivery) -> bool:
        is_new = self._services.deliveries.put(delivery, self._services.clock())
        if is_new and delivery.state is State.PENDING:
            self._services.webhook_queue.nudge(delivery.reminder())
        return is_new


def _why_not(endpoint: Endpoint) -> str | None:
    return None if endpoint.is_enabled else f"The endpoint is disabled. {endpoint.disabled_reason}"
