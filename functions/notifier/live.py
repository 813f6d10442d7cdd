"""Pushes what happened in a job to those who watch it over WebSockets.

A job that nobody watches costs nothing: its own image says so. Otherwise its subscriptions are read, and each one that is
live is sent what lies between its `sent` and the job's last event; then `sent` is moved there. The stream gives a job's changes
to one invocation at a time and in their order, so nobody else posts to a live subscription meanwhile, and nothing is
repeated. If this process dies between a post and the move, the stream repeats the batch and the client gets some numbers
twice, which it drops; the other way round they would be lost.

A subscription goes live first and touches its job then (functions/live/subscribing.py): the touch comes down the stream
behind every change that was pushed without it. Whatever fell between its replay and that moment is sent here, like any news.

A client that cannot be reached is disconnected: it comes back with the last number that it has. What this invocation has no
time left for, the job's next change brings, or the client's own asking when it has heard nothing for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

from common.jobs import Job
from common.live import Subscription
from common.sockets import Gone, Undeliverable, end, log, progress, told
from common.telemetry import about, logger
from common.wiring import Services

#: Connections that are posted to side by side.
SIDE_BY_SIDE = 64
#: No post is begun later than so many seconds after the first; each ends by itself within four.
PATIENCE = 8
#: How long one batch may take in all, in seconds: the function's time limit must be longer.
LIMIT = 15
#: Most events that are read at a time.
PORTION = 1_000


class Changed(Protocol):
    """A record of the table's stream: a job before, None for a new one, and after a write."""

    @property
    def old(self) -> Job | None: ...
    @property
    def new(self) -> Job: ...


@dataclass(frozen=True)
class News:
    """A job as it is after the whole batch; `moved`: tell where it is, too."""

    job: Job
    moved: bool


def push(services: Services, changes: Iterable[Changed]) -> None:
    """Tells everybody who watches what has changed. Raises nothing: what is missed here is asked for again."""
    try:
        news = watched(changes, services.clock())
        if news:
            _push(services, news)
    except Exception:  # noqa: BLE001
        logger.exception("push failed")


def watched(changes: Iterable[Changed], now: float) -> list[News]:
    """What somebody may be watching of it, each job once."""
    news: dict[str, News] = {}
    for change in changes:
        if not change.new.is_watched(now):
            continue
        before = news.get(change.new.id)
        moved = _is_moved(change.old, change.new) or (before is not None and before.moved)
        news[change.new.id] = News(change.new, moved)
    return list(news.values())


def _is_moved(old: Job | None, new: Job) -> bool:
    """Whether its progress is news: to all, or to whoever has just begun to watch."""
    return old is None or old.progress != new.progress or old.watched_by != new.watched_by


def _push(services: Services, news: Iterable[News]) -> None:
    until = time.monotonic() + PATIENCE
    services.sockets.open()
    pool = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="push")
    try:
        prepared = _results(pool.submit(_prepare, services, one) for one in news)
        deliveries = [delivery for some in prepared for delivery in some]
        _results(pool.submit(delivery.make, services, until) for delivery in deliveries)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _results(work: Iterable[Future[Any]]) -> list[Any]:
    """What was done in time; what failed is logged, and hurts nobody else."""
    done, late = wait(list(work), timeout=LIMIT / 2)
    if late:
        logger.warning("push not finished", late=len(late))
    failed = [found for found in done if found.exception() is not None]
    for found in failed:
        logger.error("push failed", exc_info=found.exception())
    return [found.result() for found in done if found not in failed]


def _prepare(services: Services, news: News) -> list[Delivery]:
    """What each of the job's live subscriptions is to be sent; the log is read once for all of them."""
    job = news.job
    behind = [
        one
        for one in services.subscriptions.live(job)
        if one.sent < job.last_event or news.moved or job.status.is_final
    ]
    events = log(services.store, job, min(one.sent for one in behind), PORTION) if behind else []
    return [Delivery(one, news, events) for one in behind]


@dataclass(frozen=True)
class Delivery:
    """What one subscription is to be sent. `events` are the first portion."""

    subscription: Subscription
    news: News
    events: list[dict[str, Any]]

    def make(self, services: Services, until: float) -> None:
        """Sends it, at the latest beginning a post at `until` (time.monotonic())."""
        one, job = self.subscription, self.news.job
        try:
            self._tell(services, lambda: time.monotonic() < until)
        except Undeliverable as reason:
            logger.info("connection dropped", connection=one.connection, **about(job), reason=str(reason))
            services.subscriptions.end(one)
            services.subscriptions.disconnect(one.connection)
            if not isinstance(reason, Gone):
                services.sockets.close(one.connection)

    def _tell(self, services: Services, has_time: Callable[[], bool]) -> None:
        job, one = self.news.job, self.subscription
        events = [event for event in self.events if event["seq"] > one.sent]
        while True:
            last = events[-1]["seq"] if events else one.sent
            is_all = last >= job.last_event
            sent, was_posted = one.sent, True
            for message in told(job, [*events, *(progress(job) if is_all and self.news.moved else ())]):
                if not has_time():
                    was_posted = False
                    break
                services.sockets.post(one.connection, message)
                sent = message.last or sent
            moved = services.subscriptions.move(one, sent) if sent > one.sent else one
            if moved is None or not was_posted:
                return
            one = moved
            if is_all:
                break
            events = log(services.store, job, one.sent, PORTION)
            if not events:  # the job was forgotten in between
                return
        if job.status.is_final:
            services.sockets.post(one.connection, end(job))
            services.subscriptions.end(one)
