"""What to do after an attempt failed. Pure: the decision is a value, and chance is passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.egress import ForbiddenAddress
from common.errors import Permanent, Refused, Retryable, TaskTimeout, WorkerLost

#: The first wait is up to this, in seconds; each further one up to twice as long.
BASE = 4
#: Longest wait, in seconds: what a message can be delayed by.
CAP = 900

#: The code is at fault, and will be the next time.
BUGS = (AssertionError, AttributeError, ImportError, NameError, NotImplementedError, SyntaxError, TypeError)
#: HTTP statuses of a provider that mean: later. 529 is an overloaded model.
LATER = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
#: AWS error codes that mean: later.
THROTTLED = (
    "Throttl",
    "TooManyRequests",
    "RequestLimitExceeded",
    "ProvisionedThroughput",
    "ServiceUnavailable",
    "SlowDown",
)


@dataclass(frozen=True)
class Retry:
    """Try again, `after` seconds from now."""

    after: float


@dataclass(frozen=True)
class GiveUp:
    """The job has failed."""


Decision = Retry | GiveUp


def decide(error: BaseException, attempt: int, max_attempts: int, chance: Callable[[], float]) -> Decision:
    """Retry while attempts are left and the error may pass. `chance` gives [0, 1): full jitter spreads a burst's retries."""
    if attempt >= max_attempts or not is_retryable(error):
        return GiveUp()
    if isinstance(error, WorkerLost):
        return Retry(after=0)
    wait = min(CAP, BASE * 2 ** (attempt - 1)) * chance()
    return Retry(after=min(CAP, max(wait, asked_to_wait(error))))


def is_retryable(error: BaseException) -> bool:
    """Unknown errors are: an agent's work fails for passing reasons more often than for lasting ones."""
    if isinstance(error, Retryable | WorkerLost):
        return True
    # pydantic's ValidationError of what a model answered is a ValueError, and may pass; that of the input is Permanent.
    if isinstance(error, (Permanent, TaskTimeout, Refused, ForbiddenAddress, *BUGS)):
        return False
    if (status := http_status(error)) is not None:
        return status in LATER or status < 400
    if (code := _aws_code(error)) is not None:
        return any(word in code for word in THROTTLED) or "Timeout" in code or "Internal" in code
    return isinstance(error, Exception)


def asked_to_wait(error: BaseException) -> float:
    """Seconds that a provider asked for: `Retryable(after=…)`, or the Retry-After of an HTTP library's error; else 0."""
    after = getattr(error, "after", None)
    if after is None:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        after = headers.get("retry-after") if hasattr(headers, "get") else None
    try:
        return max(0.0, float(after))  # type: ignore[arg-type]  # None is refused like any other non-number
    except (TypeError, ValueError):
        return 0.0


def http_status(error: BaseException) -> int | None:
    """The status of an HTTP library's or a provider SDK's error: they agree on these two names."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _aws_code(error: BaseException) -> str | None:
    response: Any = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else None
