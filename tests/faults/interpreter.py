"""What stands in for the interpreter's own sleeps, locks, threads, pools and event loops, on a world's clock.

It changes the interpreter for good; `isolated.py` gives each run one of its own.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import os
import random
import secrets
import selectors
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tests.faults.virtual import Thread, World

#: What a turn of an event loop takes, in seconds: well over what a float that counts since 1970 can tell apart.
MOMENT = 1e-6


class Loop(asyncio.SelectorEventLoop):
    """An event loop without sockets whose time is the world's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._idle = _Idle(world)
        super().__init__(self._idle)
        self._clock_resolution = MOMENT

    def time(self) -> float:
        return self._world.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        future = _in_thread(self._world, lambda: func(*args))
        return asyncio.wrap_future(future, loop=self)

    def _make_self_pipe(self) -> None:
        self._internal_fds = 0

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        self._idle.wake()


class _Idle(selectors.BaseSelector):
    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: Thread | None = None
        self._is_called = False

    def select(self, timeout: float | None = None) -> list[Any]:
        if not self._is_called and (timeout is None or timeout > 0):
            self._waiting = self._world.current
            self._world.park(None if timeout is None else self._world.now + timeout)
            self._waiting = None
        else:
            self._world.now += MOMENT  # whoever waits for a moment that lies nearer than a float can say gets there
        self._is_called = False
        return []

    def wake(self) -> None:
        self._is_called = True
        if self._waiting is not None:
            self._world.wake(self._waiting)

    def register(self, fileobj: Any, events: int, data: Any = None) -> Any:
        raise NotImplementedError("There are no sockets here.")

    unregister: Any = register

    def get_map(self) -> Any:
        return {}


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return Loop(self._world)


class Lock:
    """A lock, which may be taken again by its holder if it is `again`."""

    def __init__(self, world: World, *, again: bool) -> None:
        self._world, self._again = world, again
        self._holder: Thread | None = None
        self._depth = 0
        self._waiting: list[Thread] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = self._world.threads.get(_thread.get_ident())
        if me is None:  # outside the world nothing waits
            return True
        while self._depth and not (self._again and self._holder is me):
            if not blocking:
                return False
            self._waiting.append(me)
            self._world.park(None)
        self._holder, self._depth = me, self._depth + 1
        return True

    def release(self) -> None:
        if _thread.get_ident() not in self._world.threads:
            return
        self._depth -= 1
        if not self._depth:
            self._holder = None
            if self._waiting:
                self._world.wake(self._waiting.pop(0))

    def let_go(self) -> int:
        depth, self._depth = self._depth, 1
        self.release()
        return depth

    def take_back(self, depth: int) -> None:
        self.acquire()
        self._depth = depth

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition:
    def __init__(self, world: World, lock: Lock | None = None) -> None:
        self._world = world
        self._lock = lock or Lock(world, again=True)
        self._waiting: list[Thread] = []
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def wait(self, timeout: float | None = None) -> bool:
        me = self._world.current
        self._waiting.append(me)
        depth = self._lock.let_go()
        woken = self._world.park(None if timeout is None else self._world.now + timeout)
        if me in self._waiting:
            self._waiting.remove(me)
        self._lock.take_back(depth)
        return woken

    def notify(self, n: int = 1) -> None:
        waiting, self._waiting = self._waiting[:n], self._waiting[n:]
        for thread in waiting:
            self._world.wake(thread)

    def notify_all(self) -> None:
        self.notify(len(self._waiting))

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Event:
    def __init__(self, world: World) -> None:
        self._world = world
        self._changed = Condition(world)
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._changed.notify_all()

    def wait(self, timeout: float) -> bool:
        """Its thread may also be woken for another reason."""
        until = self._world.now + timeout
        with self._changed:
            while not self._is_set and self._world.now < until:
                self._changed.wait(until - self._world.now)
        return self._is_set


class Threading:
    """Stands where a module says `threading`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def Thread(self, *, target: Callable[..., Any], args: Sequence[Any] = (), **_: Any) -> Thread:  # noqa: N802
        return Thread(self._world, self._world.current.process, lambda: target(*args))

    def Lock(self) -> Any:  # noqa: N802
        return Lock(self._world, again=False)

    def RLock(self) -> Any:  # noqa: N802
        return Lock(self._world, again=True)

    def Condition(self, lock: Any = None) -> Condition:  # noqa: N802
        return Condition(self._world, lock)

    def get_ident(self) -> int:
        return _thread.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


class Pool:
    """Stands where a module says `ThreadPoolExecutor`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> concurrent.futures.Future[Any]:
        return _in_thread(self._world, lambda: function(*arguments, **options))

    def map(self, function: Callable[..., Any], *values: Iterable[Any]) -> Iterator[Any]:
        futures = [self.submit(function, *each) for each in zip(*values, strict=False)]
        return (future.result() for future in futures)

    def shutdown(self, wait: bool = True, **_: Any) -> None:
        pass

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _in_thread(world: World, function: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def work() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # as an executor does
            future.set_exception(error)

    world.spawn(world.current.process, work)
    return future


def take_over(world: World, threaded: Iterable[Any], pooled: Iterable[Any]) -> None:
    """Makes the interpreter the world's: time, chance, and the primitives of the modules named."""
    real_sleep = time.sleep
    chance = random.Random(world.random.random())

    def sleep(seconds: Any) -> None:
        if _thread.get_ident() in world.threads:
            world.sleep(seconds)
        else:
            real_sleep(seconds)

    time.sleep = sleep
    os.urandom = chance.randbytes  # asked for whenever anything is given a name; elsewhere a call of the system
    secrets.token_hex = lambda nbytes=16: chance.randbytes(nbytes or 16).hex()
    secrets.token_urlsafe = secrets.token_hex
    random.seed(chance.random())
    asyncio.set_event_loop_policy(_Policy(world))
    stand_in: Any = Threading(world)
    for module in (concurrent.futures._base, *threaded):
        module.threading = stand_in
    for module in pooled:
        module.ThreadPoolExecutor = lambda *_, **__: Pool(world)
