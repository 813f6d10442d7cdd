"""A step's tries: one after another until one works, in an async task or in a plain one."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from typing import Any

from common.context import Call
from common.errors import Retryable
from common.retries import BASE, is_retryable

#: Longest wait between tries of one step, in seconds.
LONGEST_PAUSE = 30


async def tried(call: Call, gives_up: Callable[[], bool]) -> Any:
    """What the step's function returns, or raises in its last try. It is asked after each whether that was the last."""
    for number in range(call.retries + 1):
        try:
            async with asyncio.timeout(call.timeout):
                if inspect.iscoroutinefunction(call.function):
                    return await call.function(*call.arguments, **call.options)
                result = await asyncio.to_thread(call.function, *call.arguments, **call.options)
                return await result if inspect.isawaitable(result) else result
        except Exception as error:
            if number == call.retries or not is_retryable(error) or gives_up():
                raise
            await asyncio.sleep(_pause(error, number))
    raise AssertionError("the last try returns or raises")


def tried_plainly(call: Call, gives_up: Callable[[], bool], stop_here: Callable[[], None]) -> Any:
    """The same for a plain task; `stop_here` raises before a try if the task is to stop."""
    for number in range(call.retries + 1):
        stop_here()
        try:
            if call.timeout is None:
                return call.function(*call.arguments, **call.options)
            return _within(call.timeout, call.function, call.arguments, call.options)
        except Exception as error:
            if number == call.retries or not is_retryable(error) or gives_up():
                raise
            time.sleep(_pause(error, number))
    raise AssertionError("the last try returns or raises")


def _pause(error: Exception, number: int) -> float:
    asked = error.after if isinstance(error, Retryable) and error.after else 0
    return min(LONGEST_PAUSE, max(asked, BASE * 2.0**number * random.random()))  # noqa: S311


def _within(seconds: float, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A plain function cannot be broken off: one that takes too long goes on, and nobody waits for it."""
    pool = ThreadPoolExecutor(1, "step")
    try:
        return pool.submit(function, *arguments, **options).result(seconds)
    except Late:
        raise TimeoutError(f"The step was not done within {seconds:g} s.") from None
    finally:
        pool.shutdown(wait=False)
