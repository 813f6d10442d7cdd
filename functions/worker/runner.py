"""What becomes of one message: claim its job, run it, end it. Knows no Lambda."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common import metrics, tracing
from common.errors import CancelRequested, LeaseLost, NotClaimable, Retryable, StepMismatch, WorkerLost
from common.families import family_name
from common.jobs import Job, Report, Status, WaitKind
from common.queue import MAX_DELAY, Message
from common.retries import Retry, decide
from common.tasks import Registry, Task
from common.telemetry import about, follow, logger
from common.wiring import Services
from functions.worker.children import Children
from functions.worker.endings import failure, outcome, tell
from functions.worker.execution import Execution
from functions.worker.outcomes import Raised, Returned
from functions.worker.places import Place, Places
from functions.worker.steps import Paused
from functions.worker.supervision import ENDLESS, Pace, Span, Stop, Supervision

#: Waits between tries to write an ending, in seconds; after the last one the lease runs out and the job runs again.
PERSISTENCE = (0.5, 1, 2, 4, 8)


@dataclass(frozen=True)
class Done:
    """The message has done its work."""


@dataclass(frozen=True)
class Later:
    """The message is to come back in `seconds`."""

    seconds: float


class Runner:
    def __init__(
        self,
        services: Services,
        registry: Registry,
        *,
        pace: Pace | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._services = services
        self._registry = registry
        self._pace = pace or Pace.of(services.store.lease)
        self._chance = chance
        self._places = Places(services, registry, chance=chance)

    async def run(self, message: Message, span: Span = ENDLESS) -> Done | Later:
        async with self._places.enter(message) as place:
            return Done() if place is None else await self._run(message, place, span)

    async def _run(self, message: Message, place: Place, span: Span) -> Done | Later:
        token = secrets.token_hex(8)

        def claim() -> Job:
            return self._services.store.claim(message.job_id, token=token, now=self._services.clock())

        try:
            # One that took effect unheard has used up an attempt, unless it is asked for again and finds its token.
            job = await self._surely(claim, tries=PERSISTENCE[:2])
        except NotClaimable as refused:
            return await self._unclaimed(message, refused.job, span)
        follow(**about(job))
        metrics.claimed(job)
        of_attempt = {f"longrun.{name}": value for name, value in about(job).items()}
        with tracing.entered(job.trace, f"attempt {job.task}", "CONSUMER", **of_attempt):
            await self._attempt(job, message, place, span)
        return Done()

    async def _attempt(self, job: Job, message: Message, place: Place, span: Span) -> None:
        deadline = self._services.clock() + job.timeout_seconds - job.ran_before
        supervision = Supervision(self._services, self._pace, job, message, deadline, span, place)
        execution = self._execution(job, supervision)
        if job.cancel_requested:  # the worker before this one died with that wish unanswered
            supervision.stopped = Stop.CANCELLED
        else:
            execution.start()
            await supervision.watch(execution)
        await self._conclude(supervision, execution)
        if supervision.has_renewed:
            await self._acknowledge(message)

    def _execution(self, job: Job, supervision: Supervision) -> Execution:
        clock = self._services.clock
        return Execution(
            load=lambda: self._load(job),
            find=self._registry.find,
            services=self._services,
            remaining=lambda: max(0.0, supervision.deadline - clock()),
            changed=supervision.changed,
            job=job,
        )

    def _load(self, job: Job) -> tuple[Task, Any]:
        newest = self._registry.find(job.task)
        if newest is None:  # a worker older than the API, in the middle of a deploy, or a task that was removed
            raise Retryable(f"This worker has no task {job.task!r}.")
        task = self._registry.find(job.task, job.task_version) or (newest if job.claims <= 1 else None)
        if task is None:
            raise StepMismatch(
                f"The job was begun with version {job.task_version} of {job.task!r}, which is not there now."
            )
        return task, task.validate(json.loads(self._services.payloads.get(job.id, job.input)))

    async def _has_no_children(self, job: Job, span: Span) -> bool:
        """A job that did not complete takes its children along; False if there are some left."""
        if job.status is Status.COMPLETED or not job.has_children:
            return True
        children = Children(self._services, job, self._registry.find)
        families = await _call(self._services.families.all, job)
        return bool(await _call(children.cancel, families, lambda: self._services.clock() < span.pause_at))

    async def _spare(self, job: Job | None, span: Span) -> Done | Later:
        """A message of a job that is not to be run. There may be something to do for its children, though."""
        if job is None:
            return Done()
        if job.status is Status.WAITING:
            return Done() if (await _call(self._unless_over, job)).status is Status.WAITING else Later(1)
        return Done() if await self._has_no_children(job, span) else Later(1)

    async def _unclaimed(self, message: Message, job: Job | None, span: Span) -> Done | Later:
        """Why the job could not be claimed decides what becomes of its message."""
        now = self._services.clock()
        if job is None or job.status.is_final or job.status is Status.WAITING:
            return await self._spare(job, span)
        if job.is_leased(now):
            # The first time, this is a copy of a message that a living worker holds. A message that came back means
            # that its worker may be dead: it waits for the lease to show it.
            return Done() if message.receives == 1 else Later((job.lease_until or now) - now + 1)
        if job.status is Status.PENDING:
            return Later(max(1.0, job.run_at - now))
        if job.next_attempt <= job.max_attempts:
            # Its lease ran out since the claim was refused: the answer took long, or this process stood still.
            return Later(1)
        lost = failure(WorkerLost(f"The worker died; that was attempt {job.attempt} of {job.max_attempts}."), job)
        error = None if job.cancel_requested else lost
        token = secrets.token_hex(8)
        buried = await _call(self._services.store.bury, job, error, token, now)
        if buried is None:
            return Later(1)
        tell(buried, token)
        return Done()

    async def _conclude(self, supervision: Supervision, execution: Execution) -> None:
        try:
            if supervision.stopped is not Stop.LEASE_LOST:
                await self._end(await self._flushed(supervision.job, execution), supervision, execution)
                return
        except LeaseLost:
            pass
        finally:
            execution.outbox.close()
        logger.warning("lease lost")

    async def _flushed(self, job: Job, execution: Execution) -> Job:
        """The job, with the last of what its task said written down. Raises LeaseLost."""
        flush = self._services.store.flush
        while (batch := execution.batch(job.last_event)) is not None:
            now = self._services.clock()
            job = await self._surely(flush, job, batch.page, Report(), now, batch.steps, batch.after)
            execution.drop()
        return job

    async def _acknowledge(self, message: Message) -> None:
        """Lambda does it when the whole batch is done; until then the message would come back, again and again."""
        try:
            await _call(self._services.queues.delete, message)
        except Exception as error:  # noqa: BLE001  # then it comes back and finds that there is nothing to do
            logger.warning("message not deleted", error=type(error).__name__)

    async def _end(self, job: Job, supervision: Supervision, execution: Execution) -> None:
        """Writes how the attempt ended, or where it is to go on. Raises LeaseLost."""
        store, clock, report = self._services.store, self._services.clock, execution.report
        match outcome(job, supervision.stopped, execution):
            case Returned(text):
                payload = await self._surely(self._services.payloads.put_result, job.id, job.attempt, text, clock())
                ended = await self._surely(store.complete, job, payload, report, clock())
            case Paused() as paused:
                ended = await self._paused(job, paused, supervision.ran, report)
            case Raised(CancelRequested()):
                ended = await self._surely(store.end_cancelled, job, report, clock())
            case Raised(error):
                ended = await self._failed(job, error, report)
        tell(ended, job.token)

    async def _paused(self, job: Job, paused: Paused, ran: float, report: Report) -> Job:
        """Puts the job down, to be taken up again by the next message."""
        store, clock = self._services.store, self._services.clock
        try:
            if paused.waits:
                job = await self._surely(store.wait, job, paused.waits, report, ran, clock())
            else:
                job = await self._surely(store.put_back, job, report, ran, clock())
        except CancelRequested:
            cancelled: Job = await self._surely(store.end_cancelled, job, report, clock())
            return cancelled
        job = await _call(self._unless_over, job)
        wait = max(0, job.run_at - clock()) if job.status is Status.WAITING else 0
        if wait <= MAX_DELAY:
            await _call(self._services.queues.nudge, job, wait)
        return job

    def _unless_over(self, job: Job) -> Job:
        """Children may have ended before their parent waited for them: then nobody woke it. Costs a read a family."""
        for wait in job.waits.values():
            if wait.kind is not WaitKind.CHILDREN:
                continue
            family = self._services.families.get(job.id, family_name(wait.step, job.earlier_attempts))
            if family is not None and family.wants_its_parent:
                now = self._services.clock()
                return self._services.store.wake_parent(job.id, wait.step, secrets.token_hex(8), now) or job
        return job

    async def _failed(self, job: Job, error: BaseException, report: Report) -> Job:
        store, clock = self._services.store, self._services.clock
        decision = decide(error, job.attempt, job.max_attempts, self._chance)
        if not isinstance(decision, Retry):
            failed: Job = await self._surely(store.fail, job, failure(error, job), report, clock())
            return failed
        now = clock()
        try:
            job = await self._surely(store.retry, job, failure(error, job), now + decision.after, report, now)
        except CancelRequested:
            cancelled: Job = await self._surely(store.end_cancelled, job, report, clock())
            return cancelled
        await _call(self._services.queues.nudge, job, decision.after)
        return job

    async def _surely(self, write: Callable[..., Any], *arguments: Any, tries: tuple[float, ...] = PERSISTENCE) -> Any:
        """Writes, again and again if need be: an ending is worth some persistence, since the work is done and paid for."""
        for wait in tries:
            try:
                return await _call(write, *arguments)
            except (LeaseLost, CancelRequested, NotClaimable):
                raise
            except Exception as error:  # noqa: BLE001
                logger.warning("write failed", write=write.__name__, error=type(error).__name__)
                await asyncio.sleep(wait)
        return await _call(write, *arguments)


async def _call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return await asyncio.to_thread(function, *arguments, **named)
