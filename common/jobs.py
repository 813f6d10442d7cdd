"""What a job is and which moves it may make. Pure: no clock, no network, no randomness but ids."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from common.usage import Budget, Usage


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return not TRANSITIONS[self]


class Priority(StrEnum):
    """Which of the queues a job waits in; each has workers of its own."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


#: Every move a job can make; a final status has none (its owner may begin it anew, though). running -> running is a claim
#: after the holder's lease ran out, waiting -> running one of a job that has slept long enough.
TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.PENDING: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELLED}),
        Status.RUNNING: frozenset(
            {Status.RUNNING, Status.PENDING, Status.WAITING, Status.COMPLETED, Status.FAILED, Status.CANCELLED}
        ),
        Status.WAITING: frozenset({Status.RUNNING, Status.PENDING, Status.FAILED, Status.CANCELLED}),
        Status.COMPLETED: frozenset(),
        Status.FAILED: frozenset(),
        Status.CANCELLED: frozenset(),
    }
)

DAY = 86_400

#: How long a claim holds without renewal, in seconds. Longer than clocks differ.
LEASE = 60
#: Longest that one attempt may run, in seconds, over all the invocations that it takes; waiting does not count.
MAX_TIMEOUT = 7 * DAY
#: A job waits (for a time, an answer, its children) no longer than so many seconds after its submission.
MAX_WAIT = 37 * DAY
#: Most attempts of a job.
MAX_ATTEMPTS = 20
#: Longest delay before a job may start, in seconds.
MAX_DELAY = 7 * DAY
#: Longest that an ended job is kept, in seconds.
MAX_TTL = 30 * DAY
#: How long an ended job is kept unless it says otherwise, in seconds.
DEFAULT_TTL = DAY
#: How long what belongs to a job is kept at the most, in seconds: longer than any job can live.
MAX_LIFE = MAX_WAIT + MAX_TIMEOUT + MAX_TTL + DAY
#: Largest input or result, in bytes of UTF-8.
MAX_PAYLOAD = 50_000_000


@dataclass(frozen=True)
class Payload:
    """Where an input or a result is: in the job itself, in an item of its own, or in the bucket. Sizes are bytes of UTF-8."""

    size: int
    inline: str | None = None
    item: str | None = None
    blob: str | None = None


@dataclass(frozen=True)
class Progress:
    """Where a running job is now. `percent` is 0–100; `current` of `total` counts whatever the task counts."""

    percent: int | None = None
    current: int | None = None
    total: int | None = None
    message: str | None = None


@dataclass(frozen=True)
class Report:
    """What goes along with a worker's write; None leaves what stands there. `usage` is the job's sum."""

    progress: Progress | None = None
    usage: Usage | None = None


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended badly."""

    type: str
    message: str
    retryable: bool
    attempt: int


class WaitKind(StrEnum):
    SLEEP = "sleep"
    ANSWER = "answer"
    CHILDREN = "children"


@dataclass(frozen=True)
class Wait:
    """What a step waits for, at the longest until `until` (seconds since 1970). A question has its text and schema."""

    step: str
    kind: WaitKind
    until: float
    #: Tells what was asked for, as the step will be recorded (see `steps.Step`).
    of: str = ""
    question: str | None = None
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Change:
    """A change of status, numbered among the job's events."""

    seq: int
    at: float
    status: Status
    attempt: int = 0
    #: Who made it.
    token: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One run of a task. Times are seconds since 1970 (UTC), exact to the millisecond."""

    id: str
    owner: str
    task: str
    status: Status
    input: Payload
    created_at: float
    updated_at: float
    max_attempts: int
    timeout_seconds: int
    ttl_seconds: int
    #: The payload's hash under its idempotency key: the same key with another one is refused.
    fingerprint: str
    #: Who made the present claim (or the job itself): tells a repeated write from another's.
    token: str
    #: Not to be started before; 0 for at once, whatever another machine's clock says.
    run_at: float
    attempt: int = 0
    #: What the next claim makes of `attempt`: one more, or the same when the job only goes on.
    next_attempt: int = 1
    #: How often the job was claimed, went on in another invocation, and how long this attempt ran before that, in seconds.
    claims: int = 0
    continuations: int = 0
    ran: float = 0
    ran_of: int = 0
    #: Attempts of its earlier lives: `max_attempts` counts them, too, once its owner had it retried.
    earlier_attempts: int = 0
    #: What a waiting job waits for, by `steps.wait_id` of the step that does.
    waits: Mapping[str, Wait] = field(default_factory=dict)
    #: The version of its task that it was submitted to.
    task_version: int = 1
    #: The job whose child it is, when that was born (milliseconds), and its place there: `family#number`.
    parent: str | None = None
    parent_born: int | None = None
    parent_step: str | None = None
    has_children: bool = False
    result: Payload | None = None
    error: Failure | None = None
    progress: Progress | None = None
    started_at: float | None = None
    finished_at: float | None = None
    #: When an ended job is forgotten; an unfinished one never is.
    expires_at: float | None = None
    lease_until: float | None = None
    #: When the sweeper looks at an unfinished job again.
    wake_at: float | None = None
    #: How often it did since the last claim.
    wakes: int = 0
    cancel_requested: bool = False
    callback_url: str | None = None
    #: How the callback likes its message; None for the common form.
    callback_form: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    budget: Budget = field(default_factory=Budget)
    #: The `traceparent` of the request that made it, if that is traced.
    trace: str | None = None
    priority: Priority = Priority.NORMAL
    last_event: int = 1
    #: So long somebody may be watching over a WebSocket, and who was the last to begin: its subscription's token.
    watched_until: float | None = None
    watched_by: str | None = None
    #: Counts the changes that a client can see.
    version: int = 1
    history: tuple[Change, ...] = ()

    def is_expired(self, now: float) -> bool:
        """TTL deletes late (days), so every read asks this."""
        return self.expires_at is not None and self.expires_at <= now

    @property
    def ran_before(self) -> float:
        """How long the present attempt ran in earlier invocations, in seconds."""
        return self.ran if self.ran_of == self.attempt else 0

    def is_leased(self, now: float) -> bool:
        return self.status is Status.RUNNING and self.lease_until is not None and self.lease_until > now

    def is_watched(self, now: float) -> bool:
        return self.watched_until is not None and self.watched_until > now

    def was_changed_by(self, token: str) -> bool:
        """Whether one of its changes of status left that token: one of the latest, of a job that has changed often."""
        return any(change.token == token for change in self.history)

    def seen_status(self, now: float) -> Status:
        """What a client is told: `running` only while somebody holds a live lease."""
        if self.status is Status.RUNNING and not self.is_leased(now):
            return Status.PENDING
        return self.status


def new_id() -> str:
    return secrets.token_hex(16)


def derived_id(owner: str, key: str) -> str:
    """The id of the one job that `owner` can have under an idempotency `key`."""
    return hashlib.sha256(f"{owner}\n{key}".encode()).hexdigest()[:32]


def is_id(text: str) -> bool:
    return len(text) == 32 and all(c in "0123456789abcdef" for c in text)


def froms(to: Status) -> list[Status]:
    """The statuses from which a job can become `to`."""
    return [status for status, nexts in TRANSITIONS.items() if to in nexts]
