"""What a task has said and nobody has written yet."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.events import MAX_PAGE, Event, joined
from common.steps import Step

#: A task that has said so many bytes more than could be written waits until some are.
MAX_WAITING = 1_000_000
#: How long one wait takes before it looks around again, in seconds: a thread in a longer one could not be stopped.
LOOK_AROUND = 0.2


@dataclass(frozen=True)
class Batch:
    """What one write takes along: a page of events, which follow the job's event number `after`, and finished steps."""

    after: int
    page: Sequence[Event]
    steps: Sequence[Step]


class Outbox:
    """Takes events from the task's threads and gives them in pages to whoever writes them.

    A page stays the same until it is dropped: one whose write's answer was lost is to be written again as it was.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._waiting: deque[Event] = deque()
        self._bytes = 0
        self._page: tuple[Event, ...] = ()
        #: Whether the page has all that had been said when it was taken.
        self.took_all = True
        self._room = threading.Condition()
        self._closed = False

    def put(self, event: Event) -> None:
        """Waits while too much is waiting already; drops nothing, but for a task that was given up."""
        with self._room:
            while self._bytes > MAX_WAITING and not self._closed:
                self._room.wait(LOOK_AROUND)
            if self._closed:
                return
            is_first = not self._waiting
            self._waiting.append(event)
            self._bytes += event.size
        if is_first:
            self._changed()

    def page(self) -> tuple[Event, ...]:
        """The next page, or the last one that was not dropped; empty if there is nothing."""
        with self._room:
            if not self._page:
                size, taken = 0, []
                while self._waiting and size + self._waiting[0].size <= MAX_PAGE:
                    taken.append(self._waiting.popleft())
                    size += taken[-1].size
                self._bytes -= size
                self._page = tuple(joined(taken))
                self.took_all = not self._waiting
                self._room.notify_all()
            return self._page

    def drop(self) -> None:
        """The page was written."""
        with self._room:
            self._page = ()

    def close(self) -> None:
        """Whatever is said from now on is nobody's."""
        with self._room:
            self._closed = True
            self._room.notify_all()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._page)
