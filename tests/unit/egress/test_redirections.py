"""Redirections: pages are followed, webhooks are not, and every hop is judged."""

from __future__ import annotations

import asyncio

import httpcore
import pytest

from common.egress import LOCAL_PAGES, ForbiddenAddress
from common.fetching import Response, request
from tests.unit.egress.calling import Handler, answering, call, serving


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
