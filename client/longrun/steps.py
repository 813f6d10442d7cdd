"""What a call is made of. A call is a generator that yields steps (send this, sleep, tell the caller) and returns its
value; it knows nothing of threads or event loops, so that one text serves the blocking and the async client.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import httpx

T = TypeVar("T")
S = TypeVar("S")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Send:
    """One HTTP request. It yields a `httpx.Response`, or the `httpx.RequestError` that came in its place."""

    method: str
    url: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    #: Not in the repr, as the key is in them.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes | None = field(default=None, repr=False)
    #: Seconds that the service may hold the request before it answers, on top of the usual timeout.
    hold: float = 0
    #: Set for a POST that does no harm when it is done twice.
    harmless_twice: bool = False

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent again when nobody knows if it arrived."""
        return self.method != "POST" or self.harmless_twice or "Idempotency-Key" in self.headers

    def __str__(self) -> str:
        return f"{self.method} {httpx.URL(self.url).path}"


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let this many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Tell:
    """Call the caller's function; the async client also awaits what it returns, if that can be awaited."""

    call: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Give(Generic[T_co]):
    """Hand one item to whoever iterates."""

    item: T_co


@dataclass(frozen=True, slots=True)
class Done(Generic[T_co]):
    """The call has ended with this value."""

    value: T_co


@dataclass(frozen=True, slots=True)
class Open:
    """Open a line to the service, in place of the one that this call has: an answer that goes on, or a WebSocket.

    It yields the `httpx.Response` (read to its end if it is no success), `None` for a WebSocket, or what cut it.
    """

    request: Send
    websocket: bool = False


@dataclass(frozen=True, slots=True)
class Hear:
    """The next piece of the line: bytes of the answer, a WebSocket's message, `None` after so many seconds of silence,
    or what cut it. An answer's silence is a cut, after the time that its request allows.
    """

    seconds: float = 0


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message on the WebSocket. It yields `None`, or what cut the line."""

    text: str


@dataclass(frozen=True, slots=True)
class Cut:
    """The line is gone; `ended` if the service closed it in due form."""

    reason: str
    ended: bool = False


Outcome: TypeAlias = httpx.Response | httpx.RequestError
Step: TypeAlias = Send | Sleep | Tell
#: Only calls that give items have a line.
LineStep: TypeAlias = Open | Hear | Say
#: A call that ends with one value.
Steps: TypeAlias = Generator[Step, Any, T]
#: A call that gives items one by one.
Items: TypeAlias = Generator[Step | LineStep | Give[T], Any, None]
#: A part of such a call that ends with why it cannot go on, or with `None` when all has been given.
Reading: TypeAlias = Generator[Step | LineStep | Give[T], Any, str | None]


def send(request: Send) -> Steps[Outcome]:
    """Send once, and return whatever came of it."""
    outcome: Outcome = yield request
    return outcome


class Page(Protocol):
    """Some of many items, and where the next ones begin; `None` at the end."""

    @property
    def next_cursor(self) -> int | str | None: ...


P = TypeVar("P", bound=Page)


def paged(page_after: Callable[[Any], Steps[P]], items: Callable[[P], Iterable[T]]) -> Items[T]:
    """Every item, page by page as the iteration goes on; `page_after` asks for the page after a cursor, `None` at first."""
    cursor: Any = None
    while True:
        page = yield from page_after(cursor)
        for item in items(page):
            yield Give(item)
        if not (cursor := page.next_cursor):
            return


def advance(steps: Generator[S, Any, T], outcome: object = None) -> S | Done[T]:
    """Go on to the next step, given what came of the last one."""
    try:
        return steps.send(outcome)
    except StopIteration as stop:
        return Done(stop.value)
