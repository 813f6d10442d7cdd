"""A job's events as Server-Sent Events: all that is new in one answer, or a stream for as long as the job runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from common.jobs import Job
from common.views import log_view, progress_view
from common.wiring import Services
from functions.api.body import dump

#: After how many milliseconds a browser whose stream has ended or broken comes back.
RETRY = 500
#: A stream that had nothing to say for so many seconds says that it is alive.
ALIVE = 15
#: Seconds between two looks at the job: right after news, and at the most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
#: So many looks a stream may be ahead of one a second.
BURST = 10
#: Most events of one look into the log.
PORTION = 1_000
#: Most bytes of events in one answer: Lambda carries 6 MB, in which quotes and accents are escaped.
MAX_ANSWER = 1_500_000

OPENING = f"retry: {RETRY}\n\n"


class Pace:
    """When to look again: soon after news, then ever later, and no more than once a second on average."""

    def __init__(self) -> None:
        self._pause = FIRST_PAUSE
        self._paid_until = 0.0

    def pause(self, now: float, *, news: bool) -> float:
        """Seconds until the next look."""
        self._pause = FIRST_PAUSE if news else min(LONGEST_PAUSE, self._pause * 1.5)
        self._paid_until = max(self._paid_until, now) + 1
        return max(self._pause, self._paid_until - now - BURST)


def read(services: Services, job: Job, after: int, limit: int = PORTION) -> list[tuple[int, str]]:
    """The job's next events, each with its number and as JSON; no more of them than one answer carries."""
    said = services.store.said(job, after, limit) if job.last_event > after else []
    found: list[tuple[int, str]] = []
    room = MAX_ANSWER
    for event in log_view(job, said, after, limit):
        text = dump(event)
        room -= len(text.encode())
        if room < 0 and found:
            break
        found.append((event["seq"], text))
    return found


def answer(services: Services, job: Job, after: int) -> str:
    """All that is new, and where the job is now: an answer that ends."""
    events = read(services, job, after)
    frames = [OPENING, *(_frame(text, number=number) for number, text in events)]
    if job.last_event <= (events[-1][0] if events else after):
        frames += [_end(job)] if job.status.is_final else [_progress(job)]
    return "".join(frames)


async def stream(
    services: Services, job: Job, after: int, is_stopping: Callable[[], bool] = lambda: False
) -> AsyncIterator[str]:
    """What is new as soon as it is, until the job has ended or is forgotten, or the server is to stop.

    The table is read outside of the event loop, which others need.
    """
    pace, shown, spoke_at = Pace(), "", services.clock()
    yield OPENING
    while True:
        news = False
        while job.last_event > after and (events := await asyncio.to_thread(read, services, job, after)):
            yield "".join(_frame(text, number=number) for number, text in events)
            after, news = events[-1][0], True
        if job.status.is_final:
            yield _end(job)
            return
        if (progress := _progress(job)) not in ("", shown):
            yield progress
            shown, news = progress, True
        now = services.clock()
        if news:
            spoke_at = now
        elif now - spoke_at >= ALIVE:
            yield ": alive\n\n"
            spoke_at = now
        await asyncio.sleep(pace.pause(now, news=news))
        seen = await asyncio.to_thread(services.store.get, job.id, services.clock())
        if seen is None or is_stopping():
            return
        job = seen


def _progress(job: Job) -> str:
    view = progress_view(job)
    return "" if view is None else _frame(dump(view), kind="progress")


def _end(job: Job) -> str:
    # Its number makes a browser that comes back say that it has everything, even if it saw nothing but this.
    return _frame(dump({"status": job.status, "last_event": job.last_event}), kind="end", number=job.last_event)


def _frame(text: str, *, kind: str | None = None, number: int | None = None) -> str:
    event = "" if kind is None else f"event: {kind}\n"
    name = "" if number is None else f"id: {number}\n"
    return f"{event}{name}data: {text}\n\n"
