"""Who may connect: with a key, with a ticket, or on a laptop; and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from common.jobs import new_id
from common.settings import AuthMode
from common.wiring import Services
from tests.aws import Clock
from tests.functions.live.watching import Notify, Page, Talker, left_of
from tests.gateway import Gateway


def test_a_key_connects_and_is_not_told_back(page: Page) -> None:
    assert page.answer["headers"] == {"Sec-WebSocket-Protocol": "longrun"}


@pytest.mark.parametrize("header", ["sec-websocket-protocol", "SEC-WEBSOCKET-PROTOCOL"])
def test_headers_may_be_written_in_any_way(make_page: Any, services: Services, header: str) -> None:
    key, _ = services.keys.create("acme", "test", services.clock())
    assert make_page(owner=None).connect(protocols=f"key.{key},longrun", header=header) == 200


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"protocols": "longrun"},
        {"protocols": "longrun, key."},
        {"protocols": f"longrun, key.lr_{'x' * 43}"},
        {"ticket": ""},
        {"ticket": f"lt_{'x' * 43}"},
        {"ticket": "key"},
    ],
)
def test_whoever_shows_nothing_valid_is_refused(
    make_page: Any, services: Services, credentials: dict[str, str]
) -> None:
    page = make_page(owner=None)
    assert page.connect(**credentials) == 401
    assert left_of(services, page.id) == []
    page.subscribe(new_id())
    assert page.gateway.closed == [page.id]  # a message on it would be of no use


def test_a_ticket_connects_until_it_expires(
    make_page: Any, services: Services, talker: Talker, clock: Clock, stream: Notify
) -> None:
    ticket, _ = services.tickets.create("acme", None, 60, clock())
    page = make_page(owner=None)
    assert page.connect(ticket=ticket) == 200
    assert "headers" not in page.answer
    page.subscribe(talker.job.id)
    assert page.numbers(talker.job) == [1, 2]
    clock.advance(61)
    assert make_page("late", owner=None).connect(ticket=ticket) == 401
    talker.says()
    stream()
    assert page.numbers(talker.job) == [1, 2, 3]  # what is open stays open


def test_a_ticket_for_one_job_opens_no_other(
    make_page: Any, services: Services, make_talker: Any, clock: Clock
) -> None:
    one, other = make_talker(), make_talker()
    ticket, _ = services.tickets.create("acme", one.job.id, 60, clock())
    page = make_page(owner=None)
    page.connect(ticket=ticket)
    page.subscribe(other.job.id)
    page.subscribe(one.job.id)
    assert page.heard[0]["problem"]["status"] == 404
    assert page.numbers(one.job) == [1, 2]


def test_on_a_laptop_no_key_is_needed_and_a_wrong_one_is_wrong(
    make_page: Any, services: Services, make_job: Any
) -> None:
    opened = replace(services, settings=replace(services.settings, auth_mode=AuthMode.OPEN))
    page = make_page(owner=None, used=opened)
    assert page.connect() == 200
    page.subscribe(make_job(owner="local").id)
    assert page.heard[-1]["live"]
    assert make_page("other", owner=None, used=opened).connect(protocols=f"longrun, key.lr_{'x' * 43}") == 401


def test_the_entry_point_works_as_it_is_deployed(
    entry_point: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, gateway: Gateway
) -> None:
    monkeypatch.setenv("LIVE_ENDPOINT", gateway.url)
    page = Page("c", entry_point("live").handler, gateway)
    assert page.connect(protocols="longrun") == 401
    page.says({"action": "ping"})
    assert page.heard == [{"pong": True}]


def test_no_ticket_or_key_is_logged(make_page: Any, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    ticket, _ = services.tickets.create("acme", None, 60, services.clock())
    key, _ = services.keys.create("acme", "test", services.clock())
    make_page("a", owner=None).connect(ticket=ticket)
    make_page("b", owner=None).connect(protocols=f"longrun, key.{key}")
    records = [record.__dict__ for record in caplog.records]
    assert [record["event_type"] for record in records] == ["CONNECT", "CONNECT"]
    for secret in (ticket, key):
        assert secret not in str(records)
