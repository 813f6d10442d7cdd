"""Watches over one running attempt: keeps its lease, writes its progress, and stops it when it must stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from common.errors import LeaseLost
from common.jobs import Job, Report
from common.queue import Message
from common.telemetry import logger
from common.wiring import Services
from functions.worker.execution import Execution
from functions.worker.places import Place


@dataclass(frozen=True)
class Pace:
    """How often what is done, in seconds."""

    #: Least time between two writes of progress.
    progress: float = 1
    #: Longest without hearing from the table: so soon is a wish to cancel noticed.
    contact: float = 4
    #: Between renewals of lease and message; the first is made at the first contact, since a worker may die young.
    renewal: float = 20
    #: Added to the message's invisibility, so that it comes back when the lease is over, not before.
    margin: float = 5
    #: From asking a task to stop to making it.
    patience: float = 2
    #: From asking a task to stop to ending the job without it.
    grace: float = 6

    @classmethod
    def of(cls, lease: float) -> Pace:
        """For leases of so many seconds: each is renewed before a third of it is over."""
        return cls(contact=min(cls.contact, lease / 3), renewal=lease / 3, margin=lease / 12)


class Stop(Enum):
    """Why a task was stopped."""

    TIMEOUT = "time limit"
    CANCELLED = "cancelled"
    LEASE_LOST = "lease lost"
    #: The invocation ends; the job goes on in another one.
    OUT_OF_TIME = "out of time"


@dataclass(frozen=True)
class Span:
    """How long the invocation lasts: from `pause_at` no step is begun, at `stop_at` the task is stopped where it stands.

    Seconds since 1970.
    """

    pause_at: float = float("inf")
    stop_at: float = float("inf")

    @classmethod
    def of(cls, now: float, seconds: float) -> Span:
        """Of an invocation that has so many seconds left. Ending a job takes a few of them."""
        return cls(now + seconds - min(60, seconds * 0.4), now + seconds - min(20, seconds * 0.25))


#: Of an invocation that nobody ends.
ENDLESS = Span()


class Supervision:
    """`job` is the latest of it that was seen, `stopped` why the task was told to stop, if it was."""

    def __init__(
        self, services: Services, pace: Pace, job: Job, message: Message, deadline: float, span: Span, place: Place
    ) -> None:
        self.job = job
        self.stopped: Stop | None = None
        self._services = services
        self._pace = pace
        self._message = message
        self._place = place
        self.deadline = deadline
        self._span = span
        self._is_paused = False
        self._began = now = services.clock()
        self._next_progress = now + pace.progress
        # Counted from the claim, of which this worker may have heard late: then little of the lease is left.
        claimed = (job.lease_until or now) - services.store.lease
        self._next_contact = self._next_renewal = max(now, claimed + pace.contact)
        self._next_steps = now
        self._stopped_at = 0.0
        #: The message was hidden for a lease's time only: once the job has ended, it must not come back.
        self.has_renewed = False
        self._loop = asyncio.get_running_loop()
        self._change = asyncio.Event()

    @property
    def ran(self) -> float:
        """How long this attempt has run, over all its invocations, in seconds."""
        return self.job.ran_before + self._services.clock() - self._began

    def changed(self) -> None:
        """To be called, from any thread, when there is news or an end."""
        with contextlib.suppress(RuntimeError):  # a task that was given up ends after the invocation did
            self._loop.call_soon_threadsafe(self._change.set)

    async def watch(self, execution: Execution) -> None:
        """Returns when the task has ended, or when it is not waited for any more."""
        while execution.outcome is None and not self._given_up():
            self._change.clear()
            if execution.outcome is None:
                await self._nap(execution)
            await self._tend(execution)
            execution.leased_until = self.job.lease_until or 0.0

    async def _nap(self, execution: Execution) -> None:
        now = self._services.clock()
        moments = [self._next_contact, self._next_renewal]
        if self.stopped is None:
            moments += [self.deadline, self._span.stop_at if self._is_paused else self._span.pause_at]
        elif self.stopped is not Stop.CANCELLED:
            moments.append(now + self._pace.patience / 2)
        if self.stopped is not Stop.LEASE_LOST:  # nothing of it is written any more
            moments += [self._next_steps] if execution.has_steps else []
            moments += [self._next_progress] if execution.has_news else []
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._change.wait(), timeout=max(0, min(moments) - now))

    async def _tend(self, execution: Execution) -> None:
        now = self._services.clock()
        if execution.outcome is not None:
            return
        if self.stopped is None and now >= self.deadline:
            self._stop(execution, Stop.TIMEOUT)
        if not self._is_paused and now >= self._span.pause_at:
            self._is_paused = True
            execution.pause()
        if self.stopped is None and now >= self._span.stop_at:
            self._stop(execution, Stop.OUT_OF_TIME)
        if self.stopped not in (None, Stop.CANCELLED) and now - self._stopped_at >= self._pace.patience:
            execution.make_stop()
        if self.stopped is Stop.LEASE_LOST:
            self._next_contact = self._next_renewal = float("inf")
        elif now >= self._next_renewal:
            await self._contact(execution, self._renew)
        elif (execution.has_steps and now >= self._next_steps) or (execution.has_news and now >= self._next_progress):
            await self._contact(execution, lambda: self._report(execution))
        elif now >= self._next_contact:
            await self._contact(execution, self._peek)

    async def _contact(self, execution: Execution, how: Callable[[], Awaitable[bool]]) -> None:
        """Speaks to the table and learns whether to go on. A table that does not answer is asked again soon."""
        self._next_contact = self._services.clock() + self._pace.contact
        try:
            cancelled = await how()
        except LeaseLost:
            self._stop(execution, Stop.LEASE_LOST)
        except Exception as error:  # noqa: BLE001  # the lease outlives a few failures; if not, the fence holds
            logger.warning("contact failed", error=type(error).__name__)
        else:
            if cancelled and self.stopped is None:
                self._stop(execution, Stop.CANCELLED)

    async def _report(self, execution: Execution) -> bool:
        now = self._services.clock()
        self._next_progress = self._next_steps = now + self._pace.progress  # sooner if this succeeds
        news, batch = execution.take_news(), execution.batch(self.job.last_event)
        report = Report(news, execution.usage)
        try:
            if batch is not None:
                flush = self._services.store.flush
                self.job = await self._call(flush, self.job, batch.page, report, now, batch.steps, batch.after)
                execution.drop()
                # A task waits for its steps to be written; what it says can wait.
                self._next_steps = now
            elif news is not None:
                self.job = await self._call(self._services.store.report, self.job, report, now)
        except BaseException:
            if news is not None:
                execution.give_back(news)
            raise
        return self.job.cancel_requested

    async def _renew(self) -> bool:
        self._next_renewal = self._next_contact  # sooner than planned if this fails
        await self._call(self._place.renew)
        self.job = await self._call(self._services.store.renew, self.job, self._services.clock())
        self._next_renewal = self._services.clock() + self._pace.renewal
        self.has_renewed = True
        await self._call(self._services.queues.hide, self._message, self._services.store.lease + self._pace.margin)
        return self.job.cancel_requested

    async def _peek(self) -> bool:
        return bool(await self._call(self._services.store.is_cancel_requested, self.job))

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)

    def _stop(self, execution: Execution, why: Stop) -> None:
        self.stopped = why
        self._stopped_at = self._services.clock()
        execution.ask_to_stop()

    def _given_up(self) -> bool:
        """A cancelled task is waited for, as long as one that goes on would be; no other one that was stopped is."""
        if self.stopped is None:
            return False
        now = self._services.clock()
        if self.stopped is Stop.CANCELLED:
            return now >= min(self.deadline, self._span.stop_at) + self._pace.grace
        return now - self._stopped_at >= self._pace.grace
