"""Real calls to a server on loopback: what is sent, what comes back, and what is no answer."""

from __future__ import annotations

import asyncio
import socket

import pytest

from common.egress import LOCAL, BadAnswer, CallFailed, Unreachable, parse
from common.fetching import Response, request
from tests.unit.egress.calling import answering, call, echo, saying, serving, unknown


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
