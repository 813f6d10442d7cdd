"""Clients that are gone, slow, or have heard enough hold nobody up and leave nothing."""

from __future__ import annotations

from typing import Any

from common.items import ms
from common.wiring import Services
from tests.aws import SESSION, Clock
from tests.functions.live.watching import Notify, Page, Talker, left_of
from tests.gateway import Gateway


def test_a_client_that_has_gone_is_forgotten(
    make_page: Any, services: Services, make_talker: Any, stream: Notify, gateway: Gateway
) -> None:
    gone, page = make_page("gone"), make_page("page")
    talkers = [make_talker(), make_talker()]
    for talker in talkers:
        gone.subscribe(talker.job.id)
        page.subscribe(talker.job.id)
    gateway.statuses["gone"] = 410
    talkers[0].says()
    stream()
    assert left_of(services, "gone") == []
    assert gateway.closed == []
    assert page.numbers(talkers[0].job) == [1, 2, 3]


def test_a_client_that_takes_nothing_is_closed_and_holds_nobody_up(
    make_page: Any, services: Services, talker: Talker, stream: Notify, gateway: Gateway
) -> None:
    slow = [make_page(f"slow-{n}") for n in range(8)]
    full, page = make_page("full"), make_page("page")
    for each in (*slow, full, page):
        each.subscribe(talker.job.id)
    stream()
    gateway.hanging |= {each.id for each in slow}
    gateway.statuses["full"] = 429
    talker.says()
    stream()
    assert gateway.most_waiting == len(slow)
    assert page.numbers(talker.job) == [1, 2, 3]
    assert sorted(gateway.closed) == sorted(["full", *(each.id for each in slow)])
    for each in (*slow, full):
        assert left_of(services, each.id) == []


def test_a_client_that_goes_while_it_is_told_the_past_is_forgotten(
    page: Page, services: Services, talker: Talker, gateway: Gateway
) -> None:
    gateway.statuses[page.id] = 410
    page.subscribe(talker.job.id)
    assert left_of(services, page.id) == []


def test_a_client_that_disconnects_leaves_nothing(page: Page, services: Services, make_talker: Any) -> None:
    jobs = [make_talker().job for _ in range(3)]
    for job in jobs:
        page.subscribe(job.id)
    assert len(left_of(services, page.id)) == 4
    page.disconnect()
    page.disconnect()
    assert left_of(services, page.id) == []


def test_who_unsubscribes_hears_no_more(page: Page, services: Services, talker: Talker, stream: Notify) -> None:
    page.subscribe(talker.job.id)
    page.says({"action": "unsubscribe", "job": talker.job.id})
    talker.says()
    stream()
    assert page.heard[-1] == {"job": talker.job.id, "unsubscribed": True}
    assert left_of(services, page.id) == ["connection"]


def test_what_is_stored_of_a_subscription_expires(page: Page, talker: Talker, clock: Clock) -> None:
    page.subscribe(talker.job.id)
    items = SESSION.client("dynamodb").scan(TableName="longrun")["Items"]
    mine = [item for item in items if page.id in item["pk"]["S"] + item["sk"]["S"]]
    assert len(mine) == 2
    assert all(clock() + 7_200 < int(item["expires_at"]["N"]) < clock() + 8_000 for item in mine)
    (job,) = [item for item in items if item["sk"]["S"] == "job"]
    assert int(job["watched_until"]["N"]) > ms(clock() + 7_200)
