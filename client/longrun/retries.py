"""What to do when a request was not answered well: pure decisions, on values."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from longrun.steps import Outcome, Send, Sleep

#: Answers that are worth another try: too many requests, or a service that is not there for a moment.
PASSING = frozenset({429, 502, 503, 504})
#: Errors that every further try would only repeat.
LASTING = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how patiently a request is tried. Times are in seconds."""

    tries: int = 5
    #: The longest pause after the first try; it doubles with every try. The pause is anything up to it ("full jitter").
    first_pause: float = 0.25
    longest_pause: float = 10.0
    #: A service that asks for more patience than this is reported instead.
    longest_retry_after: float = 60.0
    #: Gives a number from 0 up to 1.
    random: Callable[[], float] = field(default=random.random)

    def decide(self, request: Send, outcome: Outcome, tried: int) -> Sleep | None:
        """The pause before the next try of `request`, of which `tried` have been made; `None` when there is none."""
        if tried >= self.tries or not request.is_repeatable or not _may_pass(outcome):
            return None
        asked = retry_after(outcome)
        if asked is None:
            return Sleep(self.backoff(tried))
        return Sleep(self.spread(asked)) if asked <= self.longest_retry_after else None

    def backoff(self, tried: int) -> float:
        """Seconds to pause after this many tries, with full jitter."""
        return self.random() * min(self.longest_pause, self.first_pause * 2.0 ** min(tried - 1, 30))

    def spread(self, seconds: float) -> float:
        """At least so many seconds, and up to a tenth more, so that those who were told the same do not come together."""
        return seconds * (1 + self.random() / 10)


def _may_pass(outcome: Outcome) -> bool:
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in PASSING
    return not isinstance(outcome, LASTING)


def leaves_doubt(outcome: Outcome) -> bool:
    """Whether the service may have done what it was asked, although it did not say so."""
    return outcome.status_code in (502, 504) if isinstance(outcome, httpx.Response) else True


def retry_after(outcome: Outcome, now: datetime | None = None) -> float | None:
    """The seconds that an answer's `Retry-After` asks for, given as a number or as a date; `None` without one."""
    value = outcome.headers.get("Retry-After", "").strip() if isinstance(outcome, httpx.Response) else ""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
