"""One attempt of a task, in a thread of its own.

An async task gets an event loop of its own in that thread: ten jobs that wait for a model share one invocation, and code
that blocks, or a library that leaves a loop in disorder, hurts its own job only.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import threading
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any

from common.context import Call, Context, Gathering, Stopped
from common.errors import BudgetExceeded
from common.events import event
from common.jobs import Job, Progress, Report, WaitKind
from common.tasks import Document, Task, arguments
from common.usage import Usage
from common.wiring import Services
from functions.worker.children import Children
from functions.worker.durable import Durable
from functions.worker.outbox import Batch, Outbox
from functions.worker.outcomes import Outcome, Raised, Returned, to_json
from functions.worker.steps import Paused, Steps


class Execution:
    """Runs a task and is its context's link to the worker. Everything here may be called from any thread."""

    def __init__(
        self,
        *,
        load: Callable[[], tuple[Task, Any]],
        find: Callable[[str], Task | None],
        services: Services,
        remaining: Callable[[], float],
        changed: Callable[[], None],
        job: Job,
    ) -> None:
        self.outcome: Outcome | None = None
        self.remaining = remaining
        self._load = load
        self._changed = changed
        self._services = services
        self._job = job
        self.outbox = Outbox(changed)
        self.steps = Steps(services, job, changed)
        self._batch: Batch | None = None
        self._durable = Durable(
            self.steps,
            Children(services, job, find),
            services.clock,
            lambda: self.leased_until,
            to_json,
            self.say,
            stop_here=self._stop_here,
            leave=self._cancel,
        )
        #: Seconds since 1970, as of the latest renewal.
        self.leased_until = job.lease_until or 0.0
        #: The job's usage, over all attempts; None until this one has used something.
        self.usage: Usage | None = None
        self._stopping = False
        self._lock = threading.Lock()
        self._news: Progress | None = None
        self._latest: Progress | None = None
        self._inside = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main_task: asyncio.Task[Any] | None = None
        # Its lines and spans are the job's, as here.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=f"job-{job.id[:8]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def batch(self, after: int) -> Batch | None:
        """What is to be written next, if anything: the same until it is dropped, since it may have been written already.

        `after` is the number of the job's last event now.
        """
        if self._batch is None:
            finished = self.steps.waiting
            page = self.outbox.page()
            # What was said inside a step goes with it or before it: a step that is recorded is not run again.
            steps = self.steps.page(finished) if self.outbox.took_all else []
            self._batch = Batch(after, page, steps) if page or steps else None
        return self._batch

    def drop(self) -> None:
        """The batch was written."""
        self._batch = None
        self.outbox.drop()
        self.steps.drop()

    def pause(self) -> None:
        """Has the task left when none of its steps is under way: its invocation ends soon."""
        self._durable.pause()

    def ask_to_stop(self) -> None:
        """Stops an async task at its next await; a plain one sees ctx.cancelled, or Stopped at its next ctx.progress()."""
        self._stopping = True
        self._cancel()

    def _cancel(self) -> None:
        loop, main_task = self._loop, self._main_task
        if loop is not None and main_task is not None:
            with contextlib.suppress(RuntimeError):  # the loop closed in between: the task has ended
                loop.call_soon_threadsafe(main_task.cancel)

    def make_stop(self) -> None:
        """Raises Stopped in the thread at its next line of Python, whatever it is doing; a call into C is not left."""
        self._stopping = True
        with self._lock:
            if self._inside and self._thread.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread.ident), ctypes.py_object(Stopped)
                )

    @property
    def has_news(self) -> bool:
        return self._news is not None or bool(self.outbox)

    @property
    def has_steps(self) -> bool:
        """Steps that the task waits to see written."""
        return bool(self.steps)

    @property
    def report(self) -> Report:
        """All that is known of where the task is: for a last write."""
        return Report(self._latest, self.usage)

    def take_news(self) -> Progress | None:
        """The latest that the task said of its progress, once."""
        with self._lock:
            news, self._news = self._news, None
        return news

    def give_back(self, news: Progress) -> None:
        """Undoes a take, unless there is newer."""
        with self._lock:
            self._news = self._news or news

    # -------------------------------------------------------------- what the context asks

    def progress(self, progress: Progress) -> None:
        self._stop_here()
        with self._lock:
            is_first, self._news, self._latest = self._news is None, progress, progress
        if is_first:
            self._changed()

    def say(self, kind: str, data: dict[str, Any]) -> None:
        self._stop_here()
        self.outbox.put(event(kind, self._services.clock(), data))

    def use(self, usage: Usage) -> None:
        with self._lock:
            self.usage = total = (self.usage or self._job.usage) + usage
        told = asdict(total) | {"cost_usd": total.cost_usd}
        del told["cost_nano_usd"]
        if usage != Usage():  # nothing is used by only looking whether there is budget left
            self.say("usage", told)
        if excess := self._job.budget.excess(total):
            raise BudgetExceeded(excess)

    def document(self, document_id: str) -> Document:
        return self._services.documents.get(self._job.owner, document_id)

    def documents(self) -> list[str]:
        return self._services.documents.ids(self._job.owner)

    def remember(self, session_id: str, interaction: dict[str, Any]) -> None:
        job = self._job
        self._services.chats.put(job.owner, session_id, interaction, job_id=job.id, at=job.created_at)

    # In an async task these give a coroutine, in a plain one, and in a thread of an async one, the value itself.

    def step(self, call: Call) -> Any:
        return self._durable.step_plainly(call) if self._loop is None else self._here(self._durable.step(call))

    def wait(self, kind: WaitKind, name: str, key: str | None, seconds: float, **asked: Any) -> Any:
        if self._loop is None:
            return self._durable.wait_plainly(kind, name, key, seconds, **asked)
        return self._here(self._durable.wait(kind, name, key, seconds, **asked))

    def gather(self, asked: Gathering) -> Any:
        return self._durable.gather_plainly(asked) if self._loop is None else self._here(self._durable.gather(asked))

    def _here(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if threading.get_ident() == self._thread.ident or self._loop is None:
            return coroutine
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _stop_here(self) -> None:
        """A plain task that is to stop is stopped whenever it says something."""
        if self._stopping and self._loop is None:
            raise Stopped("The job is to stop.")

    def is_cancelled(self) -> bool:
        return self._stopping

    # -------------------------------------------------------------- inside the thread

    def _run(self) -> None:
        try:
            outcome = self._outcome()
            with self._lock:
                self._inside = False
            # A Stopped that was sent but not yet raised would hit the lines below.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), None)
        except Stopped as stopped:
            outcome = Raised(stopped)
        self.outcome = outcome
        self._changed()

    def _outcome(self) -> Outcome:
        try:
            with self._lock:
                self._inside = True
            task, value = self._load()
            ctx = Context(self, job_id=self._job.id, task=task.name, attempt=self._job.attempt)
            call = arguments(task, ctx, value)
            result = asyncio.run(self._await(task, call)) if task.is_async else task.function(**call)
            return Returned(to_json(result))
        except BaseException as error:  # noqa: BLE001  # whatever user code raises is this job's affair alone
            is_left = self._durable.is_left and isinstance(error, asyncio.CancelledError | Stopped)
            return Paused(dict(self.steps.waits)) if is_left and not self._stopping else Raised(error)

    async def _await(self, task: Task, call: dict[str, Any]) -> Any:
        self._main_task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._durable.attach(self._loop)
        if self._stopping:
            raise asyncio.CancelledError
        return await task.function(**call)
