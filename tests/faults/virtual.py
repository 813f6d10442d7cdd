"""A virtual clock, and threads of which one runs at a time, as a seed decides.

Threads are real ones, so the code under test is what it is in Lambda. But each has to be given its turn, and gives it back
wherever it would wait: for time, a lock, a future, or an answer of AWS. So a seed gives the same run again, hours pass in
moments, and a process that is killed or frozen just gets no more turns: no `finally` of it runs.
"""

from __future__ import annotations

import _thread
import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: When the clock begins, in seconds since 1970.
START = 1_795_341_600.0


class Deadlock(Exception):
    """Every thread waits for another one."""


@dataclass(eq=False)
class Process:
    """What is killed or frozen as a whole. `skew` is how far its clock is wrong, in seconds."""

    name: str
    world: World
    skew: float = 0
    #: One of Lambda's, that may be killed and frozen.
    is_lambda: bool = False
    #: How many messages led to the present invocation, each from the one before.
    generation: int = 0
    is_dead: bool = False
    frozen_until: float = 0
    #: Called when it is killed.
    on_death: list[Callable[[], None]] = field(default_factory=list)

    def clock(self) -> float:
        return self.world.now + self.skew

    def kill(self) -> None:
        self.is_dead = True
        for notice in self.on_death:
            notice()
        if self.world.current.process is self:
            self.world.park(None)  # for ever


class Thread:
    """A real thread that runs when it is its turn; the part of threading.Thread's interface that is used."""

    def __init__(self, world: World, process: Process, target: Callable[[], Any]) -> None:
        self.process = process
        self.is_done = False
        self.ident: int | None = None
        self._world, self._target = world, target
        self._turn = _thread.allocate_lock()
        self._turn.acquire()
        #: Counts its waits: what was to end an earlier one must not end this one.
        self.wait = 0
        self.woken = False
        self._joining: list[Thread] = []

    def start(self) -> None:
        self.ident = _thread.start_new_thread(self._run, ())
        self._world.wake(self)

    def join(self) -> None:
        while not self.is_done:
            self._joining.append(self._world.current)
            self._world.park(None)

    def is_alive(self) -> bool:
        return not self.is_done

    def take_turn(self) -> None:
        self._turn.acquire()

    def give_turn(self) -> None:
        self._turn.release()

    def _run(self) -> None:
        self.take_turn()
        self._world.threads[_thread.get_ident()] = self
        try:
            self._target()
        except Exception as error:  # noqa: BLE001
            self._world.crashes.append(error)
        self.is_done = True
        del self._world.threads[_thread.get_ident()]
        for waiting in self._joining:
            self._world.wake(waiting)
        self._world.next_turn()


class World:
    """The clock, and whose turn it is. `random` decides everything that is left to chance."""

    def __init__(self, seed: int) -> None:
        self.now = START
        self.random = random.Random(seed)
        self.threads: dict[int, Thread] = {}
        #: What ended a thread: a mistake of the simulation.
        self.crashes: list[BaseException] = []
        self._turns: list[tuple[float, float, int, Thread, int]] = []
        self._count = itertools.count()
        self._main = _thread.allocate_lock()
        self._main.acquire()

    @property
    def current(self) -> Thread:
        return self.threads[_thread.get_ident()]

    @property
    def who(self) -> str:
        """The name of whose turn it is."""
        thread = self.threads.get(_thread.get_ident())
        return thread.process.name if thread is not None else "nobody"

    def spawn(self, process: Process, target: Callable[[], Any]) -> Thread:
        thread = Thread(self, process, target)
        thread.start()
        return thread

    def run(self, until: Callable[[], bool], limit: float) -> bool:
        """Gives turns until `until` holds, or the clock is at `limit`. Whether it did hold. Raises Deadlock."""
        while not until():
            if self.crashes:
                raise self.crashes[0]
            if not self._turns:
                raise Deadlock("Nobody will ever do anything again.")
            at, _, _, thread, wait = heapq.heappop(self._turns)
            if thread.wait != wait or thread.process.is_dead or thread.is_done:
                continue
            if thread.process.frozen_until > max(at, self.now):
                self._push(thread.process.frozen_until, thread)
                continue
            if at > limit:
                return False
            self.now = max(self.now, at)
            thread.wait += 1
            thread.give_turn()
            self._main.acquire()
        return True

    def next_turn(self) -> None:
        self._main.release()

    def park(self, until: float | None) -> bool:
        """Waits until then (for ever: None), or until it is woken; whether it was."""
        thread = self.current
        thread.woken = False
        if until is not None:
            self._push(until, thread)
        self.next_turn()
        thread.take_turn()
        return thread.woken

    def wake(self, thread: Thread) -> None:
        thread.woken = True
        self._push(self.now, thread)

    def sleep(self, seconds: float) -> None:
        self.park(self.now + max(0.0, seconds))

    def _push(self, at: float, thread: Thread) -> None:
        heapq.heappush(self._turns, (at, self.random.random(), next(self._count), thread, thread.wait))
