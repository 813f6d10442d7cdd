"""What the tests of calls share: servers on loopback, calls to them, and look-ups that give what a test says."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from common.egress import LOCAL
from common.fetching import Response, request

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def answering(*addresses: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolve(name: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def unknown(name: str, port: int) -> Sequence[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that reads a request's head and hands it to `handler`; gives its port."""
    at_work = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(await reader.readuntil(b"\r\n\r\n"), writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_work.add(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)


def call(handler: Handler, path: str = "/", *, host: str = "127.0.0.1", **options: Any) -> Response:
    async def main() -> Response:
        async with serving(handler) as port, asyncio.timeout(5):
            return await request("GET", f"http://{host}:{port}{path}", **{"policy": LOCAL, **options})

    return asyncio.run(main())


def saying(answer: bytes) -> Handler:
    async def handler(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return handler


async def echo(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Twice: one\r\nx-twice: two\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))
