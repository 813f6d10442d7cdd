"""Calls to addresses that a user named: their text, their addresses, and real calls to a server on loopback."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from common.addresses import is_loopback, is_public, locate, look_up
from common.egress import (
    LOCAL,
    LOCAL_PAGES,
    PAGES,
    BadAnswer,
    CallFailed,
    ForbiddenAddress,
    TimedOut,
    Unreachable,
    check,
    parse,
)
from common.fetching import Limits, Response, _trusted, request

ROOT = Path(__file__).parent.parent.parent
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


# The text


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/x",
        "https://HOOKS.Example.COM:443/x?a=b#c",
        "https://hooks.example.com./x",
        "https://bücher.example.com/",
        "https://169-254-169-254.example.com/",
        "https://hooks.example.com/http://127.0.0.1/",
    ],
)
def test_a_public_name_over_https_is_allowed(url: str) -> None:
    assert check(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "//hooks.example.com/",
        "https:///x",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:99999/",
        "https://user:secret@hooks.example.com/",
        "https://@hooks.example.com/",
        "https://hooks.example.com\\@evil.example.org/",
        "https://hooks.example.com/a\\b",
        "https://hooks.example.com/\r\nX-A: 1",
        "https://hooks.example.com/\u202e",
        "https://hooks.example.com/\ud800",
        "https://" + "a" * 64 + ".example.com/",
        "https://" + "a." * 130 + "com/",
        "https://" + "h.example.com/" + "a" * 2_000,
        "https://-a.example.com/",
        "https://*.example.com/",
        "https://hooks.example.com../",
        "https://hooks.example.com。./",
        "https://faß.example.com/",
        "https://localhost/",
        "https://foo.localhost/",
        "https://metadata.google.internal/",
        "https://printer.local/",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://127。0。0。1/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://①②⑦.⓪.⓪.①/",
        "https://8.8.8.8/",
        "https://1.2.3.4.5/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://[v1.hooks.example.com]/",
        "https://[hooks.example.com]/",
    ],
)
def test_everything_else_is_not(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check(url)


def test_pages_may_be_plain_http_at_its_standard_port() -> None:
    assert check("http://example.com/a", policy=PAGES)
    assert check("https://example.com/a", policy=PAGES)
    for url in ("http://example.com:443/", "https://example.com:80/", "http://example.com:8080/", "http://127.0.0.1/"):
        with pytest.raises(ForbiddenAddress):
            check(url, policy=PAGES)


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "[::1]"])
def test_a_laptop_may_call_itself_over_http_at_any_port(host: str) -> None:
    for policy in (LOCAL, LOCAL_PAGES):
        assert parse(f"http://{host}:8123/x", policy=policy).loopback
        assert parse(f"http://{host}/x", policy=policy).port == 80
    assert check("https://hooks.example.com/", policy=LOCAL)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost:8443/",
        "http://127.0.0.2:8000/",
        "http://127.1:8000/",
        "http://0.0.0.0:8000/",
        "http://0x7f000001:8000/",
        "http://[::ffff:127.0.0.1]:8000/",
        "http://[localhost]:8000/",
        "http://a.localhost:8000/",
        "http://localhost.:8000/",
        "http://localhost:0/",
        "http://localhost:70000/",
        "http://user@localhost:8000/",
        "http://localhost:8000@hooks.example.com/",
        "http://hooks.example.com/",
    ],
)
def test_a_laptop_may_call_nothing_else(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check(url, policy=LOCAL)


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://HOOKS.example.com.:443", "https://hooks.example.com/"),
        ("https://hooks.example.com?a=b", "https://hooks.example.com/?a=b"),
        ("https://hooks.example.com/a%20b/%2e%2e/c?d=%26#e", "https://hooks.example.com/a%20b/%2e%2e/c?d=%26"),
        ("https://bücher.example.com/ü?q=ß", "https://xn--bcher-kva.example.com/%C3%BC?q=%C3%9F"),
        ("http://[::1]:81/a;b", "http://[::1]:81/a;b"),
    ],
)
def test_an_address_is_taken_apart_once(url: str, called: str) -> None:
    assert parse(url, policy=LOCAL).url == called


@given(st.text(alphabet=st.sampled_from(list("htps:/.@#?[]\\%0x127ela①。\tß-_ ")), max_size=40))
def test_no_text_is_an_accident(text: str) -> None:
    for url in (text, "https://" + text, "http://localhost" + text):
        try:
            target = parse(url, policy=LOCAL_PAGES)
        except ForbiddenAddress:
            continue
        assert target.host.isascii()
        assert target.path.startswith("/")
        assert target.path.isascii()
        assert parse(target.url, policy=LOCAL_PAGES) == target


def test_the_api_pays_little_for_it() -> None:
    code = "import common.egress, sys; print(' '.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"httpx", "httpcore", "anyio", "asyncio", "ssl", "certifi"} & set(ran.stdout.split())


# The addresses

#: First and last address of what is refused, and the public neighbours on either side, where there are any.
EDGES = [
    ("", "0.0.0.0", "0.255.255.255", "1.0.0.0"),
    ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
    ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
    ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
    ("168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"),
    ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
    ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
    ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
    ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
    ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
    ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
    ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
    ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
    ("223.255.255.255", "224.0.0.0", "255.255.255.255", ""),
    ("", "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"),
    ("2000:ffff::", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"),
    ("2001:db7:ffff::", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"),
    ("2001:ffff::", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"),
    ("2620:4f:7fff::", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::"),
    ("3ffd::", "3ffe::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
    ("3fff:ffff::", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
]


@pytest.mark.parametrize(("before", "first", "last", "after"), EDGES)
def test_the_table_ends_where_the_ranges_end(before: str, first: str, last: str, after: str) -> None:
    assert not is_public(first)
    assert not is_public(last)
    assert all(is_public(address) for address in (before, after) if address)


@pytest.mark.parametrize(
    "text",
    [
        "::1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "::ffff:0:8.8.8.8",
        "64:ff9b::808:808",
        "64:ff9b:1::808:808",
        "2002:808:808::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "100::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "fe80::1%eth0",
        "2606:4700::1%eth0",
        "2606:4700::1%",
        "127.1",
        "010.0.0.1",
        "8.8.8.8 ",
        "8.8.8.8:53",
        "[2606:4700::1]",
        "example.com",
        "",
    ],
)
def test_what_leads_elsewhere_or_is_no_address_is_not_public(text: str) -> None:
    assert not is_public(text)


@given(st.ip_addresses())
@example(ipaddress.ip_address("93.184.215.14"))
@example(ipaddress.ip_address("2606:4700::1111"))
def test_nothing_is_public_that_python_knows_not_to_be(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    known = address.is_global and not address.is_multicast and not address.is_reserved
    assert known or not is_public(str(address))


@pytest.mark.parametrize(("text", "is_it"), [("127.0.0.1", True), ("::1", True), ("::", False), ("10.0.0.1", False)])
def test_loopback_is_this_machine(text: str, is_it: bool) -> None:
    assert is_loopback(text) is is_it


# The look-up


def answering(*addresses: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolve(name: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def unknown(name: str, port: int) -> Sequence[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_every_answer_counts_and_none_is_told() -> None:
    target = parse("https://hooks.example.com/")
    assert asyncio.run(locate(target, answering("93.184.215.14", "2606:4700::1", "93.184.215.14"))) == [
        "93.184.215.14",
        "2606:4700::1",
    ]
    with pytest.raises(ForbiddenAddress) as inside:
        asyncio.run(locate(target, answering("93.184.215.14", "10.1.2.3")))
    with pytest.raises(Unreachable) as nowhere:
        asyncio.run(locate(target, unknown))
    assert str(inside.value) == str(nowhere.value)
    assert inside.value.__suppress_context__ or inside.value.__context__ is None


def test_localhost_is_loopback_or_nothing() -> None:
    target = parse("http://localhost:8000/", policy=LOCAL)
    assert asyncio.run(locate(target, answering("127.0.0.1", "::1"))) == ["127.0.0.1", "::1"]
    for elsewhere in ("10.0.0.1", "93.184.215.14"):
        with pytest.raises(ForbiddenAddress):
            asyncio.run(locate(target, answering("127.0.0.1", elsewhere)))


def test_a_public_name_is_not_loopback_on_a_laptop_either() -> None:
    with pytest.raises(ForbiddenAddress):
        asyncio.run(locate(parse("https://hooks.example.com/", policy=LOCAL), answering("127.0.0.1")))


def test_the_system_is_asked() -> None:
    assert asyncio.run(look_up("127.0.0.1", 80)) == ["127.0.0.1"]


# Real calls, to a server on loopback


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


def test_a_call_says_whom_it_means_and_no_more() -> None:
    response = call(echo, "/a?b=c", host="localhost", headers={"Accept": "text/html"}, resolve=answering("127.0.0.1"))
    head = response.body.decode()
    port = parse(response.url, policy=LOCAL).port
    assert head.splitlines() == [
        "GET /a?b=c HTTP/1.1",
        f"host: localhost:{port}",
        "connection: close",
        "accept-encoding: identity",
        "user-agent: Longrun",
        "accept: text/html",
        "",
    ]
    assert (response.status, response.ok, response.cut, response.address) == (200, True, False, "127.0.0.1")
    assert response.headers["x-twice"] == "one"
    assert response.seconds > 0


def test_content_is_sent_with_its_length() -> None:
    async def handler(head: bytes, writer: asyncio.StreamWriter) -> None:
        assert head.startswith(b"POST / HTTP/1.1\r\n")
        assert b"\r\nContent-Length: 2\r\n" in head
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def main() -> Response:
        async with serving(handler) as port:
            url = f"http://127.0.0.1:{port}/"
            return await request("POST", url, content=b"{}", headers={"webhook-id": "m1"}, policy=LOCAL)

    assert asyncio.run(main()).status == 204


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "inside"},
        {"X": "a\r\nY: b"},
        {"X\r\nY": "b"},
        {"X": "é"},
        {"X": " a"},
        {"Content-Length": "1"},
        {"": ""},
    ],
)
def test_a_header_that_could_change_the_call_is_not_sent(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot be sent") as refused:
        asyncio.run(request("GET", "https://hooks.example.com/", headers=headers, resolve=unknown))
    assert not isinstance(refused.value, CallFailed)


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert call(echo).status == 200


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


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
    ids=["nothing", "another protocol", "short", "not a length", "endless head"],
)
def test_what_is_not_http_is_a_bad_answer(answer: bytes) -> None:
    with pytest.raises(BadAnswer):
        call(saying(answer))


def test_an_error_does_not_tell_what_is_there() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        with pytest.raises(Unreachable) as failed:
            asyncio.run(request("GET", f"http://localhost:{port}/", policy=LOCAL, resolve=answering("127.0.0.1")))
    assert "127.0.0.1" not in str(failed.value)
    assert failed.value.__suppress_context__


def test_the_next_address_is_tried() -> None:
    async def main() -> Response:
        async with serving(echo) as port:
            url, resolve = f"http://localhost:{port}/", answering("127.0.0.9", "127.0.0.1")
            return await request("GET", url, policy=LOCAL, resolve=resolve)

    assert asyncio.run(main()).address == "127.0.0.1"


# Redirects


def redirecting(*places: str) -> tuple[Handler, list[str]]:
    """A server whose first answers lead to `places`; and the request lines and keys that it saw."""
    seen: list[str] = []

    async def handler(head: bytes, writer: asyncio.StreamWriter) -> None:
        lines = head.decode().splitlines()
        seen.append(lines[0] + "".join(f" {line}" for line in lines if line.startswith("authorization")))
        port = str(writer.get_extra_info("sockname")[1])
        writer.write(moved(places[len(seen) - 1].replace("PORT", port)) if len(seen) <= len(places) else OK)

    return handler, seen


def moved(place: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
KEY = {"Authorization": "Bearer secret"}


def test_a_webhook_is_not_redirected() -> None:
    handler, seen = redirecting("/elsewhere")
    response = call(handler)
    assert (response.status, response.ok, response.headers["location"], len(seen)) == (302, False, "/elsewhere", 1)


def test_a_page_is_followed_and_the_key_stays_with_its_host() -> None:
    handler, seen = redirecting("b?c=d", "http://localhost:PORT/e")
    response = call(handler, "/a", policy=LOCAL_PAGES, headers=KEY, resolve=answering("127.0.0.1"))
    assert (response.status, response.url.endswith("/e")) == (200, True)
    assert seen == [
        "GET /a HTTP/1.1 authorization: Bearer secret",
        "GET /b?c=d HTTP/1.1 authorization: Bearer secret",
        "GET /e HTTP/1.1",
    ]


def test_a_page_is_followed_five_times() -> None:
    handler, seen = redirecting(*["/again"] * 9)
    assert (call(handler, policy=LOCAL_PAGES).status, len(seen)) == (302, 6)


def test_content_is_not_sent_on() -> None:
    async def main() -> Response:
        handler, _ = redirecting("/elsewhere")
        async with serving(handler) as port:
            return await request("POST", f"http://127.0.0.1:{port}/", content=b"{}", policy=LOCAL_PAGES)

    assert asyncio.run(main()).status == 302


@pytest.mark.parametrize(
    "place",
    [
        "https://127.0.0.1/",
        "http://127.0.0.2/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "//[::1",
        "http://a b/",
        "http://inside.example.com/",
        "//user@hooks.example.com/",
    ],
)
def test_every_hop_is_judged(place: str) -> None:
    handler, seen = redirecting(place)
    with pytest.raises(ForbiddenAddress):
        call(handler, policy=LOCAL_PAGES, resolve=answering("10.0.0.1"))
    assert len(seen) == 1


def test_no_page_out_there_leads_to_a_laptop() -> None:
    network, resolve = httpcore.AsyncMockBackend([moved("http://127.0.0.1:8000/admin")]), answering("93.184.215.14")
    with pytest.raises(ForbiddenAddress):
        asyncio.run(request("GET", "http://a.example.com/", policy=LOCAL_PAGES, resolve=resolve, network=network))


# Certificates: the name is public, its address too, but the network leads to a server on loopback


@dataclass
class Detour(httpcore.AsyncNetworkBackend):
    """Leads each dialled address to a port on loopback, and keeps which it was."""

    port: int
    dialled: str = ""

    async def connect_tcp(self, host: str, port: int, *_: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        self.dialled = host
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port)


@dataclass(frozen=True)
class Authority:
    """A certificate authority, as a client trusts it; and a server with its certificate for hooks.example.com."""

    trusted: ssl.SSLContext
    server: ssl.SSLContext
    asked_for: list[str]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certificate("authority.example.com", ca_key, ca_key, is_authority=True)
    leaf = certificate("hooks.example.com", key, ca_key, is_authority=False)
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        leaf.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    server, asked_for = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), list[str]()
    server.load_cert_chain(file)
    server.sni_callback = lambda _, name, __: asked_for.append(name)
    return Authority(ssl.create_default_context(cadata=root.public_bytes(Encoding.PEM).decode()), server, asked_for)


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, *, is_authority: bool
) -> x509.Certificate:
    now, hour = datetime.datetime.now(datetime.UTC), datetime.timedelta(hours=1)
    usage = dict.fromkeys(USAGES, False) | {"digital_signature": True, "key_cert_sign": is_authority}
    builder = x509.CertificateBuilder(
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority.example.com")]),
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - hour,
        not_valid_after=now + hour,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    return builder.sign(by, hashes.SHA256())


USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
    "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def call_tls(authority: Authority, url: str, trusted: ssl.SSLContext | None) -> Response:
    async def main() -> Response:
        async with serving(echo, authority.server) as port:
            detour = Detour(port)
            resolve = answering("93.184.215.14")
            response = await request("GET", url, resolve=resolve, network=detour, tls=trusted, limits=Limits(seconds=5))
            assert detour.dialled == response.address == "93.184.215.14"
            return response

    authority.asked_for.clear()
    return asyncio.run(main())


def test_the_certificate_is_checked_against_the_name(authority: Authority) -> None:
    response = call_tls(authority, "https://Hooks.example.com./x", authority.trusted)
    assert response.ok
    assert response.body.startswith(b"GET /x HTTP/1.1\r\nhost: hooks.example.com\r\n")
    assert authority.asked_for == ["hooks.example.com"]


def test_a_certificate_of_another_name_is_refused(authority: Authority) -> None:
    with pytest.raises(Unreachable, match=r"certificate is not accepted.*other\.example\.com"):
        call_tls(authority, "https://other.example.com/", authority.trusted)
    assert authority.asked_for == ["other.example.com"]


def test_a_certificate_of_nobody_we_know_is_refused(authority: Authority) -> None:
    with pytest.raises(Unreachable, match="certificate is not accepted"):
        call_tls(authority, "https://hooks.example.com/", None)


def test_the_environment_adds_no_authority(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    _trusted.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    assert _trusted().get_ca_certs()
    assert _trusted() is _trusted()
    assert _trusted().verify_mode is ssl.CERT_REQUIRED


def test_a_server_that_speaks_no_tls_is_unreachable() -> None:
    async def main() -> None:
        async with serving(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
            resolve = answering("93.184.215.14")
            await request(
                "GET", "https://a.example.com/", resolve=resolve, network=Detour(port), limits=Limits(seconds=0.3)
            )

    with pytest.raises(CallFailed):
        asyncio.run(main())
