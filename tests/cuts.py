"""A proxy on loopback that cuts connections, after numbers of bytes or lengths of time that a seed decides."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from types import TracebackType
from typing import Self

#: How much is passed on at a time, in bytes: little, so that a cut falls anywhere.
PIECE = 512


class Cuts:
    """Use it as a context manager. It passes every connection on to `target`, and cuts them until it has cut `most`."""

    def __init__(
        self, target: tuple[str, int], *, seed: int = 0, most: int = 0, bytes_up_to: int = 6_000, seconds: float = 0.5
    ) -> None:
        """A cut comes after up to `bytes_up_to` bytes of answers, or within so many `seconds`, whichever is first."""
        #: How many cuts were made.
        self.made = 0
        self._target, self._most, self._bytes_up_to, self._seconds = target, most, bytes_up_to, seconds
        self._random = random.Random(seed)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def cut_now(self) -> None:
        """Cut what is open."""
        asyncio.run_coroutine_threadsafe(self._cut_all(), self._loop).result(10)

    async def _serve(self) -> int:
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _pass_on(self, asked: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        is_cut = self.made < self._most
        self._open.add(answers)
        with contextlib.suppress(OSError):
            answered, asks = await asyncio.open_connection(*self._target)
            limit = self._random.randint(0, self._bytes_up_to) if is_cut else None
            seconds = self._random.uniform(0, self._seconds) if is_cut else None
            there, back = asyncio.create_task(copy(asked, asks)), asyncio.create_task(copy(answered, answers, limit))
            done, left = await asyncio.wait((there, back), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            self.made += not done or (back in done and back.result())
            asks.transport.abort()
        self._open.discard(answers)
        if is_cut:
            answers.transport.abort()
        answers.close()

    async def _cut_all(self) -> None:
        for answers in self._open:
            answers.transport.abort()
            self.made += 1

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int | None = None) -> bool:
    """Pass on until the source ends, or so many bytes have been: whether that was it."""
    with contextlib.suppress(OSError):
        while piece := await source.read(PIECE):
            sink.write(piece[:limit])
            await sink.drain()
            if limit is not None and (limit := limit - len(piece)) <= 0:
                return True
    return False
