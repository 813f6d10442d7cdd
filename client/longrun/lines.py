"""A line to the service that stays open: an HTTP answer that goes on, or a WebSocket; blocking, and for event loops."""

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, ExitStack
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from longrun.steps import Cut, Hear, LineStep, Open, Say

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as AwaitingSocket
    from websockets.sync.client import ClientConnection as BlockingSocket

#: Longest that a WebSocket's handshake, and its farewell, may take, in seconds.
HANDSHAKE, FAREWELL = 10.0, 1.0

# The parts of `websockets` are imported where they are used: few calls need them, and they are slow to load.


class BlockingLine:
    """At most one line at a time; closed at the end of its context."""

    def __init__(self, stream: Callable[..., AbstractContextManager[httpx.Response]], timeout: float) -> None:
        self._stream, self._timeout = stream, timeout
        self._opened = ExitStack()
        self._pieces: Iterator[bytes] = iter(())
        self._socket: BlockingSocket | None = None

    def perform(self, step: LineStep) -> httpx.Response | bytes | str | Cut | None:
        """What comes of the step, see there."""
        try:
            if isinstance(step, Open):
                self._close()
                if not step.websocket:
                    return self._ask(step)
                self._connect(step)
            elif isinstance(step, Say):
                self._say(step)
            else:
                return self._hear(step)
        except Exception as error:
            if (cut := cut_by(error)) is None:
                raise
            return cut
        return None

    def _ask(self, step: Open) -> httpx.Response:
        response = self._opened.enter_context(self._stream(step.request))
        if response.status_code != 200:
            response.read()
        else:
            self._pieces = response.iter_bytes()
        return response

    def _connect(self, step: Open) -> None:
        from websockets.sync.client import connect  # noqa: PLC0415

        connecting = connect(step.request.url, **socket_options(step, self._timeout))
        self._socket = self._opened.enter_context(connecting)

    def _hear(self, step: Hear) -> bytes | str | Cut | None:
        if self._socket is None:
            return next(self._pieces, ENDED)
        try:
            return self._socket.recv(step.seconds)
        except TimeoutError:
            return None

    def _say(self, step: Say) -> None:
        assert self._socket is not None
        self._socket.send(step.text)

    def _close(self) -> None:
        self._socket, self._pieces = None, iter(())
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


class AwaitingLine:
    """The same for event loops; WebSockets are for asyncio's alone."""

    def __init__(self, stream: Callable[..., AbstractAsyncContextManager[httpx.Response]], timeout: float) -> None:
        self._stream, self._timeout = stream, timeout
        self._opened = AsyncExitStack()
        self._pieces: AsyncIterator[bytes] | None = None
        self._socket: AwaitingSocket | None = None

    async def perform(self, step: LineStep) -> httpx.Response | bytes | str | Cut | None:
        """What comes of the step, see there."""
        try:
            if isinstance(step, Open):
                await self._close()
                if not step.websocket:
                    return await self._ask(step)
                await self._connect(step)
            elif isinstance(step, Say):
                await self._say(step)
            else:
                return await self._hear(step)
        except Exception as error:
            if (cut := cut_by(error)) is None:
                raise
            return cut
        return None

    async def _ask(self, step: Open) -> httpx.Response:
        response = await self._opened.enter_async_context(self._stream(step.request))
        if response.status_code != 200:
            await response.aread()
        else:
            self._pieces = response.aiter_bytes()
        return response

    async def _connect(self, step: Open) -> None:
        import asyncio  # noqa: PLC0415

        from websockets.asyncio.client import connect  # noqa: PLC0415

        try:
            asyncio.get_running_loop()
        except RuntimeError as error:
            raise ConnectionError("WebSockets need asyncio's event loop") from error
        connecting = connect(step.request.url, **socket_options(step, self._timeout))
        self._socket = await self._opened.enter_async_context(connecting)

    async def _hear(self, step: Hear) -> bytes | str | Cut | None:
        if self._socket is None:
            return ENDED if self._pieces is None else await anext(self._pieces, ENDED)
        import asyncio  # noqa: PLC0415

        try:
            async with asyncio.timeout(step.seconds):
                return await self._socket.recv()
        except TimeoutError:
            return None

    async def _say(self, step: Say) -> None:
        assert self._socket is not None
        await self._socket.send(step.text)

    async def _close(self) -> None:
        self._socket, self._pieces = None, None
        await self._opened.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()


ENDED = Cut("the answer ended", ended=True)


def cut_by(error: Exception) -> Cut | None:
    """The error as the line's end; `None` if it is none. Its reason never shows the address, which opens the events."""
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException  # noqa: PLC0415

    if isinstance(error, InvalidStatus):
        return Cut(f"HTTP {error.response.status_code}")
    if isinstance(error, httpx.RequestError | OSError | ConnectionClosed):
        return Cut(str(error) or type(error).__name__)
    return Cut(type(error).__name__) if isinstance(error, WebSocketException | EOFError) else None


def socket_options(step: Open, timeout: float) -> dict[str, Any]:
    """The arguments of a WebSocket's connection, the same for both kinds."""
    return {
        "ssl": _tls() if step.request.url.startswith("wss:") else None,
        "user_agent_header": step.request.headers.get("User-Agent"),
        "open_timeout": min(timeout, HANDSHAKE),
        "close_timeout": FAREWELL,
        # Who hears nothing subscribes again, which is answered: that is ping enough.
        "ping_interval": None,
    }


@cache
def _tls() -> ssl.SSLContext:
    """Believes the same certificates as HTTP does."""
    return httpx.create_ssl_context()
