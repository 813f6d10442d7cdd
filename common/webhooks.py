"""What a webhook says, and what becomes of it after a try. Pure: no clock, no network; chance is passed in.

The format is Standard Webhooks 1.0: any of its libraries verifies our messages.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any

from common.errors import NotFound
from common.jobs import DAY, Change, Failure, Job, Status
from common.payloads import Payloads
from common.views import job_view, rfc3339

#: The changes of status that are told.
TYPES: Mapping[Status, str] = MappingProxyType(
    {
        Status.COMPLETED: "job.completed",
        Status.FAILED: "job.failed",
        Status.CANCELLED: "job.cancelled",
        Status.WAITING: "job.waiting",
    }
)
#: Waits before the second and each further try, in seconds: the schedule that Standard Webhooks recommends.
SCHEDULE = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
#: Longest wait that a receiver can ask for by Retry-After, in seconds.
MAX_RETRY_AFTER = DAY
#: An endpoint that has only failed for so long is disabled, in seconds.
PATIENCE = 5 * DAY
#: Largest body, in bytes: a larger one carries the job without its result, then without its input.
MAX_BODY = 20_000
#: How much of a receiver's answer is kept, in bytes.
KEPT_ANSWER = 1_024


@dataclass(frozen=True)
class Try:
    """One call of the receiver: `status` of its answer, or `error`, why there was none. `answer` is its beginning."""

    at: float
    url: str
    seconds: float
    status: int | None = None
    error: str | None = None
    answer: str | None = None
    #: Not before, in seconds from the try: what the receiver asked for.
    retry_after: float = 0

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True)
class Again:
    """To be tried again, `after` seconds from now."""

    after: float


@dataclass(frozen=True)
class Exhausted:
    """Not delivered, and not tried any more unless somebody asks for it."""

    reason: str


Decision = Delivered | Again | Exhausted


def decide(made: Try, tries: int, chance: Callable[[], float]) -> Decision:
    """What follows the `tries`-th try of a round. `chance` gives [0, 1): a wait is spread over its own width, ± 50 %."""
    if made.ok:
        return Delivered()
    if made.status == 410:
        return Exhausted("The receiver answered 410 Gone.")
    if tries > len(SCHEDULE):
        return Exhausted(f"All {tries} tries failed.")
    return Again(max(SCHEDULE[tries - 1] * (0.5 + chance()), min(made.retry_after, MAX_RETRY_AFTER)))


def message_id(job: Job, change: Change, kind: str) -> str:
    """The same for every try, and for every time that the same change is seen: the stream may show it twice."""
    # The birth tells jobs apart that follow each other under one idempotency key.
    told = f"{job.id} {round(job.created_at * 1000)} {change.seq} {kind}"
    return f"msg_{hashlib.sha256(told.encode()).hexdigest()[:32]}"


def body(job: Job, change: Change, payloads: Payloads, api_url: str, *, simple: bool) -> str:
    """The message, as JSON text of at most MAX_BODY bytes.

    What does not fit is left out, the result first, and a link says where it is. `simple` adds what the receivers of
    POST /agent/submit-with-callback look for.
    """
    for without in ((), ("result",), ("result", "input")):
        if _size(job, without) > MAX_BODY:
            continue  # not worth fetching
        with contextlib.suppress(NotFound):  # its owner has deleted it meanwhile
            text = _text(job, change, job_view(job, change.at, payloads, without=without), api_url, simple=simple)
            if len(text.encode()) <= MAX_BODY:
                return text
    bare = replace(job, metadata={}, progress=None, error=job.error and replace(job.error, message=_short(job.error)))
    view = job_view(bare, change.at, payloads, without=("result", "input")) | {"cut": True}
    return _text(bare, change, view, api_url, simple=simple)


def _size(job: Job, without: Sequence[str]) -> int:
    stored = {"input": job.input, "result": job.result}
    return sum(each.size for name, each in stored.items() if each and each.blob is None and name not in without)


def _text(job: Job, change: Change, view: dict[str, Any], api_url: str, *, simple: bool) -> str:
    view |= {name: api_url + path for name, path in view.items() if name.endswith("_link")}
    # As it was at the change, whatever has become of the job since.
    view["status"] = change.status
    message = {"type": TYPES[change.status], "timestamp": rfc3339(change.at), "data": {"task_id": job.id, "job": view}}
    if simple:
        message |= {"task_id": job.id, "status": change.status, "result": view["result"], "error": error_text(job)}
        message |= {"result_link": view["result_link"]} if "result_link" in view else {}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def error_text(job: Job) -> str | None:
    """Why there is no result, in one sentence."""
    if job.status is Status.CANCELLED:
        return "The job was cancelled."
    return job.error.message if job.error else None


def _short(error: Failure) -> str:
    return error.message[:500] + "…"


def retry_after(value: str | None, now: float) -> float:
    """Seconds that a Retry-After header asks for, in either of its forms; 0 for none or nonsense."""
    if not value:
        return 0
    try:
        return max(0.0, float(value)) if value.strip().isdigit() else _until(value, now)
    except (ValueError, TypeError, OverflowError):
        return 0


def _until(date: str, now: float) -> float:
    moment = parsedate_to_datetime(date)
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)


def kept_answer(data: bytes) -> str:
    """The beginning of an answer, as text that the table can hold."""
    return data[:KEPT_ANSWER].decode(errors="replace").replace("\x00", "�")


def try_view(made: Try) -> dict[str, Any]:
    """A try, as its owner sees it."""
    return {
        "at": rfc3339(made.at),
        "url": made.url,
        "status": made.status,
        "seconds": round(made.seconds, 3),
        "error": made.error,
        "answer": made.answer,
    }
