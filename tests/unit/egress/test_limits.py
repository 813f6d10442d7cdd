"""The limits of a call: how much is read, how much is unpacked, and how long it may take."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence

import pytest

from common.egress import LOCAL, TimedOut
from common.fetching import Limits, request
from tests.unit.egress.calling import Handler, call, saying, serving


@pytest.mark.parametrize("most", [0, 1, 1_000, 70_000])
@pytest.mark.parametrize("head", [b"Content-Length: 200000\r\n", b""], ids=["length", "until the end"])
def test_no_more_is_read_than_the_limit(most: int, head: bytes) -> None:
    response = call(saying(b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (head, b"x" * 200_000)), limits=Limits(most_bytes=most))
    assert (response.body, response.cut) == (b"x" * most, True)


@pytest.mark.parametrize(("most", "body", "cut"), [(8, b"12345678", True), (9, b"123456789", False)])
def test_a_body_of_just_the_limit_is_whole(most: int, body: bytes, cut: bool) -> None:
    response = call(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789"), limits=Limits(most_bytes=most))
    assert (response.body, response.cut) == (body, cut)


def test_an_endless_body_ends_at_the_limit() -> None:
    async def handler(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    response = call(handler)
    assert (len(response.body), response.cut) == (64 * 1024, True)


def packed(body: bytes, encoding: bytes = b"gzip") -> Handler:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    return saying(head % (encoding, len(body)) + body)


def test_a_bomb_is_not_unpacked_beyond_the_limit() -> None:
    response = call(packed(gzip.compress(b"\0" * 30_000_000)))
    assert (response.body, response.cut) == (b"\0" * 64 * 1024, True)


def test_what_is_packed_though_we_asked_for_none_is_unpacked() -> None:
    response = call(packed(gzip.compress(b"hello")))
    assert (response.body, response.cut, "content-encoding" in response.headers) == (b"hello", False, False)


@pytest.mark.parametrize("encoding", [b"gzip", b"br"])
def test_what_cannot_be_unpacked_stays_as_it_came(encoding: bytes) -> None:
    response = call(packed(b"no such thing", encoding))
    assert (response.body, response.headers["content-encoding"]) == (b"no such thing", encoding.decode())


async def hang(head: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.01)


async def drip_the_head(head: bytes, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("handler", [hang, drip, drip_the_head])
def test_the_limit_is_on_the_whole_call(handler: Handler) -> None:
    with pytest.raises(TimedOut):
        call(handler, limits=Limits(seconds=0.2))


def test_the_look_up_counts_too() -> None:
    async def never(name: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(TimedOut):
        asyncio.run(request("GET", "https://hooks.example.com/", resolve=never, limits=Limits(seconds=0.05)))


def test_who_calls_can_give_up_sooner() -> None:
    async def main() -> None:
        async with serving(hang) as port:
            await asyncio.wait_for(request("GET", f"http://127.0.0.1:{port}/", policy=LOCAL), 0.1)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
