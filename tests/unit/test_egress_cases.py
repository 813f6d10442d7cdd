"""Every row of `tests/cases/ssrf_cases.csv`, with its DNS answers and captured connections: nothing leaves this process."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpcore
import pytest

from common.addresses import is_public
from common.egress import LOCAL, LOCAL_PAGES, PAGES, PUBLIC, CallFailed, ForbiddenAddress, Policy, check, parse
from common.fetching import Response, request

TABLE = Path(__file__).parent.parent / "cases" / "ssrf_cases.csv"
#: Where a name leads that the row does not mention: what should have been refused is then dialled, and seen.
ANYWHERE = "93.184.215.14"


@dataclass(frozen=True)
class Case:
    """A row. `dns`: for each name, the answers of one look-up after the other; the last one stays."""

    id: str
    category: str
    url: str
    dns: dict[str, list[list[str]]]
    redirect_to: str
    stage: str
    expected: str
    why: str

    @property
    def first_answer(self) -> list[str]:
        return next(iter(self.dns.values()))[0]


def rows(*expected: str) -> list[Case]:
    with TABLE.open(newline="") as file:
        found = [Case(**{**row, "dns": json.loads(row["dns"] or "{}")}) for row in csv.DictReader(file)]
    return [row for row in found if not expected or row.expected in expected]


def cases(*expected: str) -> Any:
    return [pytest.param(row, id=row.id) for row in rows(*expected)]


@dataclass
class World:
    """A network that is none. Keeps each look-up, each dialled address, each name of a TLS handshake, and what was sent."""

    case: Case
    looked_up: list[str] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)
    sent: bytes = b""

    async def resolve(self, name: str, port: int) -> list[str]:
        answers = self.case.dns.get(name, [[ANYWHERE]])
        self.looked_up.append(name)
        return answers[min(self.looked_up.count(name), len(answers)) - 1]

    @property
    def answer(self) -> bytes:
        if self.case.redirect_to and len(self.dialled) == 1:
            return f"HTTP/1.1 302 Found\r\nLocation: {self.case.redirect_to}\r\nContent-Length: 0\r\n\r\n".encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Network(httpcore.AsyncNetworkBackend):
    def __init__(self, world: World) -> None:
        self.world = world

    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        self.world.dialled.append((host, port))
        return Stream(self.world)


class Stream(httpcore.AsyncMockStream):
    def __init__(self, world: World) -> None:
        super().__init__([world.answer])
        self.world = world

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.world.sent += buffer

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        assert ssl_context.check_hostname
        assert ssl_context.verify_mode is ssl.CERT_REQUIRED
        self.world.server_names.append(server_hostname)
        return self


def called(world: World, policy: Policy, method: str = "GET") -> Response | CallFailed:
    """What came of it. However it ended, nothing but public addresses at standard ports may have been dialled."""
    try:
        result: Response | CallFailed = asyncio.run(
            request(method, world.case.url, policy=policy, resolve=world.resolve, network=Network(world))
        )
    except CallFailed as error:
        result = error
    assert all(is_public(address) and port in (443, 80) for address, port in world.dialled)
    return result


def public_name(case: Case) -> Case:
    """The same row under a name that the text alone does not give away, so that its addresses have to."""
    return replace(
        case,
        url=case.url.replace("evil.test", "evil.example.com"),
        dns={name.replace("evil.test", "evil.example.com"): answers for name, answers in case.dns.items()},
    )


def test_no_verdict_is_left_out() -> None:
    verdicts = {"allow", "must_block", "policy_block", "connect_only_public", "not_followed", "never_dial_private"}
    assert {row.values[0].expected for row in cases()} == verdicts


@pytest.mark.parametrize("case", cases("allow"))
@pytest.mark.parametrize("policy", [PUBLIC, PAGES, LOCAL], ids=["public", "pages", "local"])
def test_what_is_allowed_reaches_the_address_that_was_judged(case: Case, policy: Policy) -> None:
    world = World(case)
    name = next(iter(case.dns))
    assert check(case.url, policy=policy) == case.url
    response = called(world, policy)
    assert isinstance(response, Response)
    assert (response.status, response.body, response.address) == (200, b"ok", case.first_answer[0])
    assert world.looked_up == world.server_names == [name]
    assert world.dialled == [(case.first_answer[0], 443)]
    assert f"\r\nhost: {name}\r\n".encode() in world.sent


@pytest.mark.parametrize("case", cases("must_block", "policy_block"))
def test_what_must_be_blocked_is_blocked_before_anything_is_dialled(case: Case) -> None:
    world = World(case)
    assert isinstance(called(world, PUBLIC), ForbiddenAddress)
    assert not world.dialled


@pytest.mark.parametrize("case", cases("must_block", "policy_block"))
def test_pages_allow_no_more_than_plain_http_to_public_names(case: Case) -> None:
    world = World(case)
    assert isinstance(called(world, PAGES), ForbiddenAddress) or world.dialled == [(case.first_answer[0], 80)]


@pytest.mark.parametrize("case", cases("must_block", "policy_block"))
def test_a_laptop_allows_no_more_than_plain_http_to_itself(case: Case) -> None:
    if re.match(r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]", case.url, re.IGNORECASE):
        assert parse(case.url, policy=LOCAL).loopback
    else:
        assert isinstance(called(World(case), LOCAL), ForbiddenAddress)


@pytest.mark.parametrize("case", [row for row in cases("must_block") if row.values[0].category == "dns"])
@pytest.mark.parametrize("policy", [PUBLIC, PAGES, LOCAL], ids=["public", "pages", "local"])
def test_where_a_name_leads_is_judged_whatever_the_name(case: Case, policy: Policy) -> None:
    world = World(public_name(case))
    error = called(world, policy)
    assert isinstance(error, ForbiddenAddress)
    assert not world.dialled
    assert not any(address in str(error) for answers in case.dns.values() for address in answers[0])


@pytest.mark.parametrize("case", cases("connect_only_public"))
def test_a_name_that_changes_its_answer_is_asked_once(case: Case) -> None:
    assert isinstance(called(World(case), PUBLIC), ForbiddenAddress)
    world = World(public_name(case))
    response = called(world, PUBLIC)
    assert isinstance(response, Response)
    assert len(world.looked_up) == 1
    assert [address for address, _ in world.dialled] == [response.address] == case.first_answer[:1]
    assert isinstance(called(world, PUBLIC), ForbiddenAddress), "the next call asks again, and judges again"
    assert len(world.dialled) == 1


@pytest.mark.parametrize("case", cases("not_followed"))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_webhook_follows_no_redirect(case: Case, method: str) -> None:
    world = World(case)
    response = called(world, PUBLIC, method)
    assert isinstance(response, Response)
    assert (response.status, response.ok, len(world.dialled)) == (302, False, 1)


@pytest.mark.parametrize("case", cases("not_followed"))
@pytest.mark.parametrize("policy", [PAGES, LOCAL_PAGES], ids=["pages", "local"])
def test_a_page_follows_a_redirect_to_public_names_only(case: Case, policy: Policy) -> None:
    world = World(case)
    result = called(world, policy)
    if any(f"//{name}/" in case.redirect_to for name in case.dns):
        assert len(world.dialled) == 2
    else:
        assert isinstance(result, ForbiddenAddress)
        assert world.dialled == [(case.first_answer[0], 443)]


@pytest.mark.parametrize("case", cases("never_dial_private"))
def test_a_fragment_never_becomes_the_host(case: Case) -> None:
    world = World(case)
    assert isinstance(called(world, PUBLIC), Response)
    assert [address for address, _ in world.dialled] == case.first_answer
