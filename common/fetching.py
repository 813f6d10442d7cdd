"""Calls to addresses that a user named: the only way out for webhooks and web pages. Its errors stand in `common/egress.py`.

A name is looked up once, every answer must be public, and one of those very addresses is connected to: there is no second
look-up to give another answer. The name stays in the Host header and is what the certificate is checked against.

httpcore, which httpx is made of, is used itself: it takes the address in parts (so no second parser reads the text), and knows
no proxies, no environment, no cookies, no redirects and no decompression that would have to be switched off.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import zlib
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from time import monotonic
from typing import Any, Self
from urllib.parse import urljoin

import certifi
import httpcore

from common.addresses import Resolver, locate, look_up
from common.egress import PUBLIC, BadAnswer, ForbiddenAddress, Policy, Target, TimedOut, Unreachable, parse

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: What goes along to another host; keys and cookies do not.
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})
#: Ours to say: what the address, the content and the limits make of them.
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer"})
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:([!-~]([\t -~]*[!-~])?)?")


@dataclass(frozen=True)
class Limits:
    """How long a call may take in all, look-up and redirects included, in seconds; and how much of the body is read."""

    seconds: float = 15
    most_bytes: int = 64 * 1024


@dataclass(frozen=True)
class Response:
    """What came back. `cut`: there was more than was read. `url` and `address` are of the last hop, `seconds` of all.

    The names of headers are lower case; of a repeated one the first counts. A body that still has a `content-encoding` could
    not be unpacked.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool
    url: str
    address: str
    seconds: float = 0

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class _Call:
    method: str
    target: Target
    headers: dict[str, str]
    content: bytes


@dataclass(frozen=True)
class _Ways:
    resolve: Resolver
    network: httpcore.AsyncNetworkBackend
    tls: ssl.SSLContext | None
    limits: Limits


async def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
    policy: Policy = PUBLIC,
    limits: Limits = Limits(),
    resolve: Resolver = look_up,
    network: httpcore.AsyncNetworkBackend | None = None,
    tls: ssl.SSLContext | None = None,
) -> Response:
    """Calls an address that a user named, within the limits. Every status is an answer, also a redirect that is not followed.

    Only GET and HEAD are redirected; to another host go harmless headers alone, and nothing leads from outside to loopback.
    Raises a CallFailed of `common.egress`, and ValueError for headers that cannot be sent. `resolve`, `network` and `tls` are
    replaced by tests.
    """
    started = monotonic()
    call = _Call(method.upper(), parse(url, policy=policy), _sendable(headers or {}), content)
    ways = _Ways(resolve, network or httpcore.AnyIOBackend(), tls, limits)
    with _errors_of_ours():
        async with asyncio.timeout(limits.seconds):
            response = await _follow(call, policy, ways)
    return replace(response, seconds=monotonic() - started)


async def _follow(call: _Call, policy: Policy, ways: _Ways) -> Response:
    response = await _exchange(call, ways)
    for _ in range(policy.redirects):
        following = _redirected(call, response, policy)
        if following is None:
            break
        call, response = following, await _exchange(following, ways)
    return response


def _redirected(call: _Call, response: Response, policy: Policy) -> _Call | None:
    location = response.headers.get("location")
    if response.status not in _REDIRECTS or call.method not in {"GET", "HEAD"} or not location:
        return None
    try:
        url = urljoin(call.target.url, location)
    except ValueError:
        raise ForbiddenAddress("That is no address.") from None
    target = parse(url, policy=replace(policy, loopback=policy.loopback and call.target.loopback))
    if target.origin == call.target.origin:
        return replace(call, target=target)
    harmless = {name: value for name, value in call.headers.items() if name in _HARMLESS}
    return replace(call, target=target, headers=harmless)


async def _exchange(call: _Call, ways: _Ways) -> Response:
    target = call.target
    pinned = _Pinned(target.host, await locate(target, ways.resolve), ways)
    scheme, host, path = target.scheme.encode(), target.host.encode(), target.path.encode()
    url = httpcore.URL(scheme=scheme, host=host, port=target.port, target=path)
    tls = (ways.tls or _trusted()) if target.scheme == "https" else None
    headers = {"host": target.authority, "connection": "close", "accept-encoding": "identity", "user-agent": "Longrun"}
    content = call.content if call.content or call.method in {"POST", "PUT", "PATCH"} else None
    async with (
        pinned,
        httpcore.AsyncHTTPConnection(url.origin, ssl_context=tls, network_backend=pinned) as connection,
        connection.stream(call.method, url, headers=list((headers | call.headers).items()), content=content) as answer,
    ):
        assert isinstance(answer.stream, AsyncIterable)
        body, cut = await _read(answer.stream, ways.limits.most_bytes)
    response = Response(answer.status, _texts(answer.headers), body, cut, target.url, pinned.reached)
    return _unpacked(response, ways.limits.most_bytes)


@dataclass
class _Pinned(httpcore.AsyncNetworkBackend):
    """Dials what was judged instead of looking the name up; the next address if one does not answer."""

    name: str
    addresses: list[str]
    ways: _Ways
    reached: str = field(default="", init=False)
    stream: httpcore.AsyncNetworkStream | None = field(default=None, init=False)

    async def connect_tcp(self, host: str, port: int, *_: Any, **_options: Any) -> httpcore.AsyncNetworkStream:
        each = self.ways.limits.seconds / len(self.addresses)
        failure: Exception = httpcore.ConnectError(f"{host} was not judged")
        for address in self.addresses if host == self.name else ():
            try:
                self.stream = await self.ways.network.connect_tcp(address, port, timeout=each)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                self.reached = address
                return self.stream
        raise failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # httpcore forgets a stream whose TLS handshake is stopped by the time limit.
        if self.stream is not None:
            await self.stream.aclose()


async def _read(stream: AsyncIterable[bytes], most: int) -> tuple[bytes, bool]:
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > most:
            return bytes(body[:most]), True
    return bytes(body), False


def _unpacked(response: Response, most: int) -> Response:
    """We ask for none, but files that are stored packed are sent so. Unpacks no more than `most` bytes."""
    if not response.body or response.headers.get("content-encoding", "").lower() not in {"gzip", "x-gzip", "deflate"}:
        return response
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        body = unpacker.decompress(response.body, most)
    except zlib.error:
        return response
    kept = {name: text for name, text in response.headers.items() if name not in {"content-encoding", "content-length"}}
    return replace(response, headers=kept, body=body, cut=response.cut or not unpacker.eof)


def _texts(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("ascii").lower(): value.decode(errors="replace") for name, value in reversed(headers)}


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if name.lower() in _OURS or not _HEADER.fullmatch(f"{name}:{value}"):
            raise ValueError(f"The header {name!r} cannot be sent.")
    return {name.lower(): value for name, value in headers.items()}


@contextmanager
def _errors_of_ours() -> Iterator[None]:
    """Without their causes: those name addresses."""
    try:
        yield
    except (TimeoutError, httpcore.TimeoutException):
        raise TimedOut("The call was not finished within its time limit.") from None
    except httpcore.ProtocolError:
        raise BadAnswer("The host's answer is not valid HTTP, or it ended too early.") from None
    except (httpcore.NetworkError, OSError) as error:
        raise Unreachable(_what_failed(error)) from None


def _what_failed(error: Exception) -> str:
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"The host's certificate is not accepted: {cause.verify_message}."
    if isinstance(cause, ssl.SSLError):
        return "The host does not speak TLS as it should."
    return "The host cannot be reached, or broke the connection off."


@cache
def _trusted() -> ssl.SSLContext:
    """Made once: reading the authorities takes long. Not the system's, which the environment could change."""
    return ssl.create_default_context(cafile=certifi.where())
