"""The two ways to go through a call's steps: blocking, and awaiting. Nothing else differs between the two clients."""

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, closing
from typing import Any, Concatenate, ParamSpec, TypedDict, TypeVar

import httpx

from longrun.calls import Calls
from longrun.lines import AwaitingLine, BlockingLine
from longrun.steps import Done, Give, Items, LineStep, Outcome, Send, Sleep, Step, Steps, advance

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """Goes through steps in the caller's thread."""

    _calls: Calls
    _http: httpx.Client
    _sleep: Callable[[float], object]
    _timeout: float

    def _drive(self, steps: Steps[T]) -> T:
        with closing(steps):
            step = advance(steps)
            while not isinstance(step, Done):
                step = advance(steps, self._perform(step))
            return step.value

    def _iterate(self, items: Items[T]) -> Iterator[T]:
        with closing(items), BlockingLine(self._open, self._timeout) as line:
            step = advance(items)
            while not isinstance(step, Done):
                if isinstance(step, Give):
                    yield step.item
                    step = advance(items)
                elif isinstance(step, LineStep):
                    step = advance(items, line.perform(step))
                else:
                    step = advance(items, self._perform(step))

    def _perform(self, step: Step) -> object:
        if isinstance(step, Send):
            return self._send(step)
        return self._sleep(step.seconds) if isinstance(step, Sleep) else step.call()

    def _send(self, request: Send) -> Outcome:
        try:
            return self._http.request(**_as_httpx(request, self._timeout))
        except httpx.RequestError as error:
            return error

    def _open(self, request: Send) -> AbstractContextManager[httpx.Response]:
        return self._http.stream(**_as_httpx(request, self._timeout))


class Awaiting:
    """Goes through steps on the running event loop."""

    _calls: Calls
    _http: httpx.AsyncClient
    _sleep: Callable[[float], Awaitable[object]]
    _timeout: float

    async def _drive(self, steps: Steps[T]) -> T:
        with closing(steps):
            step = advance(steps)
            while not isinstance(step, Done):
                step = advance(steps, await self._perform(step))
            return step.value

    async def _iterate(self, items: Items[T]) -> AsyncIterator[T]:
        with closing(items):
            async with AwaitingLine(self._open, self._timeout) as line:
                step = advance(items)
                while not isinstance(step, Done):
                    if isinstance(step, Give):
                        yield step.item
                        step = advance(items)
                    elif isinstance(step, LineStep):
                        step = advance(items, await line.perform(step))
                    else:
                        step = advance(items, await self._perform(step))

    async def _perform(self, step: Step) -> object:
        if isinstance(step, Send):
            return await self._send(step)
        said = self._sleep(step.seconds) if isinstance(step, Sleep) else step.call()
        return await said if inspect.isawaitable(said) else said

    async def _send(self, request: Send) -> Outcome:
        try:
            return await self._http.request(**_as_httpx(request, self._timeout))
        except httpx.RequestError as error:
            return error

    def _open(self, request: Send) -> AbstractAsyncContextManager[httpx.Response]:
        return self._http.stream(**_as_httpx(request, self._timeout))


# The four below make a client's method of a call. They are functions, not a descriptor, because only so do type
# checkers keep a call's overloads and type variables.


def blocking(call: Callable[Concatenate[Calls, P], Steps[T]]) -> Callable[Concatenate[Blocking, P], T]:
    """The call as a method that blocks until it has its value."""

    @functools.wraps(call)
    def method(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._drive(call(self._calls, *args, **kwargs))

    return method


def blocking_iterator(
    call: Callable[Concatenate[Calls, P], Items[T]],
) -> Callable[Concatenate[Blocking, P], Iterator[T]]:
    """The call as a method that returns an iterator."""

    @functools.wraps(call)
    def method(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._iterate(call(self._calls, *args, **kwargs))

    return method


def awaiting(
    call: Callable[Concatenate[Calls, P], Steps[T]],
) -> Callable[Concatenate[Awaiting, P], Coroutine[Any, Any, T]]:
    """The call as a coroutine method."""

    @functools.wraps(call)
    async def method(self: Awaiting, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._drive(call(self._calls, *args, **kwargs))

    return method


def awaiting_iterator(
    call: Callable[Concatenate[Calls, P], Items[T]],
) -> Callable[Concatenate[Awaiting, P], AsyncIterator[T]]:
    """The call as a method that returns an async iterator."""

    @functools.wraps(call)
    def method(self: Awaiting, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._iterate(call(self._calls, *args, **kwargs))

    return method


class _Arguments(TypedDict):
    method: str
    url: str
    params: dict[str, str | int] | None
    headers: dict[str, str]
    content: bytes | None
    timeout: httpx.Timeout
    follow_redirects: bool
    auth: None


def _as_httpx(request: Send, timeout: float) -> _Arguments:
    return {
        "method": request.method,
        "url": request.url,
        # Even empty params would make httpx drop the query of a signed link.
        "params": dict(request.params) or None,
        "headers": dict(request.headers),
        "content": request.content,
        "timeout": httpx.Timeout(timeout, read=timeout + request.hold),
        # A redirect leads to storage, where our key must not go: calls follow it themselves.
        "follow_redirects": False,
        "auth": None,
    }
