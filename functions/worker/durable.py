"""What a task's steps do: run once, be written down, and be passed over when the job goes on somewhere else.

A task that waits, or whose invocation ends soon, is left as soon as none of its steps is under way: it is stopped where it
stands, and begins anew later, passing its finished steps. So a step itself is not broken off for that, if it can be helped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from typing import Any, NoReturn

from common import tracing
from common.context import Call, Child, Gathering, Stopped
from common.errors import ChildFailed
from common.jobs import MAX_WAIT, Wait, WaitKind
from common.steps import Step, wait_id
from functions.worker.children import Children
from functions.worker.steps import Steps, fingerprint
from functions.worker.trying import tried, tried_plainly

#: A sleep that is shorter than this is slept where it is, in seconds: going away and coming back costs more.
NAP = 5
#: From the last step's end to leaving a task that waits, in seconds: so long it may take to begin the next step.
SETTLE = 0.02
#: How long a plain task's thread waits for a write before it looks whether it is to stop, in seconds.
LOOK_AROUND = 0.2


class Left(Stopped):
    """Raised inside a plain task to leave it in the middle: it goes on later."""


@dataclass
class Durable:
    """One run's steps, called from the task. `to_json` gives a result's text, `say` puts an event into the job's log.

    `leased_until` tells until when the job is this worker's, for all it knows: no step is begun after that.
    """

    steps: Steps
    children: Children
    clock: Callable[[], float]
    leased_until: Callable[[], float]
    to_json: Callable[[Any], str]
    say: Callable[[str, dict[str, Any]], None]
    stop_here: Callable[[], None]
    leave: Callable[[], None]
    #: The task was left: whatever it raises now is no failure.
    is_left: bool = False
    _is_paused: bool = False
    _in_flight: int = 0
    _loop: asyncio.AbstractEventLoop | None = field(default=None)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The task is async, and this is its loop."""
        self._loop = loop

    def pause(self) -> None:
        """No further step is begun in this run. Called by the worker."""
        self._is_paused = True
        if self._loop is not None:
            self._settle(self._loop)

    # -------------------------------------------------------------- an async task's steps

    async def step(self, call: Call) -> Any:
        key = self.steps.begin(call.name, call.key)
        found = await asyncio.to_thread(self.steps.recorded, key, _of(call))
        if found is None:
            await self._gate()
            self._in_flight += 1
            try:
                with tracing.span(f"step {call.name}"):
                    text = self.to_json(await tried(call, self._gives_up))
                found = await self._written(key, _of(call), text)
            finally:
                self._in_flight -= 1
                self._settle(asyncio.get_running_loop())
        return await asyncio.to_thread(self.steps.value, found, call.result_type)

    async def wait(self, kind: WaitKind, name: str, key: str | None, seconds: float, **asked: Any) -> Any:
        """Sleeps, or waits for an answer, without a worker. Raises NoAnswer."""
        result_type = asked.pop("result_type", None)
        whole = self.steps.begin(name, key)
        of = fingerprint(kind, asked)
        found = await asyncio.to_thread(self.steps.recorded, whole, of)
        if found is None:
            left = self._open(whole, kind, of, seconds, asked) - self.clock()
            if 0 < left <= NAP and kind is WaitKind.SLEEP and not self._is_paused:
                await asyncio.sleep(left)
                left = 0
            if left > 0:
                self._settle(asyncio.get_running_loop())
                await asyncio.Event().wait()  # until the task is left
            found = await self._written(whole, of, "null", _overdue(kind))
            self._close(whole)
        return await asyncio.to_thread(self.steps.value, found, result_type)

    async def gather(self, asked: Gathering) -> list[Child]:
        key = self.steps.begin(asked.name, asked.key)
        inputs = [self.to_json(value) for value in asked.inputs]
        of = fingerprint(asked.task, inputs)
        found = await asyncio.to_thread(self.steps.recorded, key, of)
        if found is None:
            await self._gate()
            self._in_flight += 1
            try:
                over = await asyncio.to_thread(self._gathered, key, of, asked, inputs)
            finally:
                self._in_flight -= 1
                self._settle(asyncio.get_running_loop())
            if over is None:
                await asyncio.Event().wait()  # until the task is left
            _children(json.loads(over or "[]"), asked)  # a failure is not recorded: a retry begins those anew
            found = await self._written(key, of, over or "")
            self._close(key)
        return _children(await asyncio.to_thread(self.steps.value, found, None), asked)

    async def _gate(self) -> None:
        # A process that stood still may have lost its job; its next contact with the table shows it, and stops the task.
        while self.clock() >= self.leased_until():
            await asyncio.sleep(LOOK_AROUND)
        if self._is_paused:
            self._settle(asyncio.get_running_loop())
            await asyncio.Event().wait()  # until the task is left

    async def _written(self, key: str, of: str, text: str, error: str | None = None) -> Step:
        step, written = await asyncio.to_thread(self.steps.write, key, of, text, error)
        self.say("step", {"name": key})
        await asyncio.wrap_future(written)
        return step

    def _settle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leaves the task a moment from now, if there is a reason and nothing under way."""
        with contextlib.suppress(RuntimeError):  # the loop closed in between: the task has ended
            loop.call_soon_threadsafe(loop.call_later, SETTLE, self._leave_if_idle)

    def _leave_if_idle(self) -> None:
        if (self._is_paused or self.steps.waits) and not self._in_flight and not self.is_left:
            self.is_left = True
            self.leave()

    # -------------------------------------------------------------- a plain task's steps

    def step_plainly(self, call: Call) -> Any:
        key = self.steps.begin(call.name, call.key)
        found = self.steps.recorded(key, _of(call))
        if found is None:
            while self.clock() >= self.leased_until():  # see _gate
                self.stop_here()
                time.sleep(LOOK_AROUND)
            if self._is_paused:
                self._leave_now()
            with tracing.span(f"step {call.name}"):
                text = self.to_json(tried_plainly(call, self._gives_up, self.stop_here))
            found = self._write_plainly(key, _of(call), text)
        return self.steps.value(found, call.result_type)

    def wait_plainly(self, kind: WaitKind, name: str, key: str | None, seconds: float, **asked: Any) -> Any:
        result_type = asked.pop("result_type", None)
        whole = self.steps.begin(name, key)
        of = fingerprint(kind, asked)
        found = self.steps.recorded(whole, of)
        if found is None:
            left = self._open(whole, kind, of, seconds, asked) - self.clock()
            if 0 < left <= NAP and kind is WaitKind.SLEEP and not self._is_paused:
                time.sleep(left)
                left = 0
            if left > 0:
                self._leave_now()
            found = self._write_plainly(whole, of, "null", _overdue(kind))
            self._close(whole)
        return self.steps.value(found, result_type)

    def gather_plainly(self, asked: Gathering) -> list[Child]:
        key = self.steps.begin(asked.name, asked.key)
        inputs = [self.to_json(value) for value in asked.inputs]
        of = fingerprint(asked.task, inputs)
        found = self.steps.recorded(key, of)
        if found is None:
            over = None if self._is_paused else self._gathered(key, of, asked, inputs)
            if over is None:
                self._leave_now()
            _children(json.loads(over), asked)
            found = self._write_plainly(key, of, over)
            self._close(key)
        return _children(self.steps.value(found, None), asked)

    def _write_plainly(self, key: str, of: str, text: str, error: str | None = None) -> Step:
        step, written = self.steps.write(key, of, text, error)
        self.say("step", {"name": key})
        self._await(written)
        return step

    def _await(self, written: Future[None]) -> None:
        while True:
            try:
                return written.result(LOOK_AROUND)
            except Late:
                self.stop_here()

    def _leave_now(self) -> NoReturn:
        self.is_left = True
        raise Left("The job goes on later.")

    # -------------------------------------------------------------- what both need

    def _gives_up(self) -> bool:
        """A step that failed is not tried again in a run that is to end."""
        return self._is_paused

    def _gathered(self, key: str, of: str, asked: Gathering, inputs: list[str]) -> str | None:
        """The children's results, as JSON text, if they are over; else the step waits for them."""
        family = self.children.begin(key, asked.task, inputs, asked.concurrency, asked.fail_fast)
        if not family.is_over and self._open(key, WaitKind.CHILDREN, of, MAX_WAIT, {}) > self.clock():
            return None
        if family.ended < family.size:
            self.children.cancel([family])
        return self.to_json(self.children.results(family))

    def _open(self, key: str, kind: WaitKind, of: str, seconds: float, asked: dict[str, Any]) -> float:
        """Until when the step waits; the first time, it is made known what for."""
        known = self.steps.job.waits.get(wait_id(key))
        latest = self.steps.job.created_at + MAX_WAIT
        wait = known or Wait(key, kind, min(self.clock() + seconds, latest), of, **asked)
        if known is None and kind is WaitKind.ANSWER:
            said = {"id": wait_id(key), "name": key, "question": wait.question, "schema": wait.schema}
            self.say("question", said)
        if wait.until - self.clock() > (NAP if kind is WaitKind.SLEEP else 0):
            self.steps.waits[wait_id(key)] = wait
        return wait.until

    def _close(self, key: str) -> None:
        self.steps.waits.pop(wait_id(key), None)


def _children(rows: list[dict[str, Any]], asked: Gathering) -> list[Child]:
    """Raises ChildFailed if one that failed was enough."""
    found = [Child(**row) for row in rows]
    if asked.fail_fast and (bad := next((child for child in found if not child.ok and child.id), None)):
        raise ChildFailed(f"Job {bad.id} of the step {asked.name!r} {bad.status}: {bad.error or 'no reason given'}")
    return found


def _of(call: Call) -> str:
    return fingerprint(call.arguments, call.options)


def _overdue(kind: WaitKind) -> str | None:
    return "Nobody answered in time." if kind is WaitKind.ANSWER else None
