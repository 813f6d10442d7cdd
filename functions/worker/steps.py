"""The steps of one run of a task: what was recorded of them, what is to be written, and what the task waits for.

A step's result is written, under the lease, before the task goes on: whatever happens after that, the step is not run again.
What happened to a step that was not written is not known; it is run again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from common.errors import NoAnswer, StepMismatch, StepReused
from common.jobs import Job, Wait
from common.steps import MAX_STEPS, Step, place, step_key, wait_id
from common.wiring import Services

#: Most steps, and bytes of their results, that one write takes along.
MOST_WRITTEN, MOST_BYTES = 50, 1_000_000


@dataclass(frozen=True)
class Paused:
    """The task was left in the middle: it waits for something, or, with no `waits`, goes on in another invocation."""

    waits: Mapping[str, Wait]


class Steps:
    """Used by the task's threads and by the worker's at the same time. `changed` is called when there is something to write."""

    def __init__(self, services: Services, job: Job, changed: Callable[[], None]) -> None:
        self.job = job
        #: Steps that were written in this run.
        self.finished = 0
        self.waits: dict[str, Wait] = {}
        self._services = services
        self._changed = changed
        self._lock = threading.Lock()
        #: The worker must never wait for the task's reading.
        self._reading = threading.Lock()
        self._recorded: dict[str, Step] | None = None
        self._used: set[str] = set()
        self._waiting: list[tuple[Step, Future[None]]] = []
        self._page: list[tuple[Step, Future[None]]] = []

    # -------------------------------------------------------------- what the task's side asks

    def begin(self, name: str, key: str | None) -> str:
        """The step's whole key. Raises StepReused, ValueError."""
        whole = step_key(name, key)
        with self._lock:
            if whole in self._used:
                raise StepReused(f"There are two steps {whole!r}; tell them apart: ctx.step({name!r}, …, key=…).")
            self._used.add(whole)
            if len(self._used) > MAX_STEPS:
                raise StepReused(f"A job has at most {MAX_STEPS:,} steps.")
        return whole

    def recorded(self, key: str, of: str) -> Step | None:
        """What is recorded of the step, if it is finished. Reads the table once a run. Raises StepMismatch."""
        with self._reading:
            if self._recorded is None:
                # Nobody has run the job before: there is nothing to be read.
                self._recorded = {} if self.job.claims <= 1 else self._services.store.steps(self.job)
            found = self._recorded.get(key)
        if found is not None and found.of != of:
            raise StepMismatch(
                f"The step {key!r} was finished with other arguments than it is called with now: the task has changed. "
                f"Retry the job from that step, or give what changed another name."
            )
        return found

    def value(self, step: Step, result_type: Any) -> Any:
        """What a finished step gives, the first time and any other time. Raises NoAnswer."""
        if step.error is not None:
            raise NoAnswer(step.error)
        value = json.loads(self._services.payloads.get(self.job.id, step.result))
        return value if result_type is None else TypeAdapter(result_type).validate_python(value)

    def write(self, key: str, of: str, text: str, error: str | None = None) -> tuple[Step, Future[None]]:
        """Has a finished step written; the future is done when it is."""
        with self._lock:
            order = place(self.job.claims, len(self._used))
        payload = self._services.payloads.put_step(self.job.id, f"{wait_id(key)}-{self.job.token}", text)
        step = Step(key, of, payload, self._services.clock(), order, error)
        written: Future[None] = Future()
        written.set_running_or_notify_cancel()  # nobody may cancel it: the write is made either way
        with self._lock:
            self._waiting.append((step, written))
        self._changed()
        return step, written

    # -------------------------------------------------------------- what the worker's side asks

    @property
    def waiting(self) -> int:
        """How many wait to be written."""
        return len(self._waiting)

    def page(self, most: int) -> list[Step]:
        """The next steps to be written, `most` at the most; the same ones until they are dropped."""
        with self._lock:
            if not self._page:
                size = 0
                while self._waiting and len(self._page) < min(most, MOST_WRITTEN):
                    size += len(self._waiting[0][0].result.inline or "")
                    if self._page and size > MOST_BYTES:
                        break
                    self._page.append(self._waiting.pop(0))
            return [step for step, _ in self._page]

    def drop(self) -> None:
        """The page was written: the task may go on."""
        with self._lock:
            page, self._page = self._page, []
            self.finished += len(page)
        for _, written in page:
            written.set_result(None)

    def __bool__(self) -> bool:
        return bool(self._waiting or self._page)


def fingerprint(*what: Any) -> str:
    """Tells arguments apart. What JSON cannot say counts by its type alone: its text may differ from run to run."""
    told = to_jsonable_python(
        what, fallback=lambda value: f"<{type(value).__qualname__}>", inf_nan_mode="strings", bytes_mode="base64"
    )
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode(errors="replace")).hexdigest()[:16]
