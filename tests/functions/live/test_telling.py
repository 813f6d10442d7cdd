"""What is told: the past first and then live, nothing missing, and nothing twice."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from common.events import MAX_EVENT, event
from common.jobs import Progress
from common.sockets import MAX_MESSAGE
from common.wiring import Services
from functions.notifier.records import notify
from tests.aws import Clock
from tests.functions.live.watching import Notify, Page, Talker, count_calls, left_of, up_to
from tests.handlers import Api
from tests.streams import Stream


def test_a_job_is_watched_from_its_beginning_to_its_end(page: Page, talker: Talker, stream: Notify) -> None:
    talker.says(3)
    stream()
    page.subscribe(talker.job.id)
    stream()
    assert page.heard[-1] == {"job": talker.job.id, "live": True, "last_event": 5}
    for _ in range(3):
        talker.says(2)
        stream()
    talker.ends()
    stream()
    assert page.numbers(talker.job) == up_to(12)
    assert page.heard[-1] == {"job": talker.job.id, "end": {"status": "completed", "last_event": 12}}


def test_events_look_as_on_every_channel(page: Page, api: Api, talker: Talker, stream: Notify) -> None:
    talker.says(2)
    page.subscribe(talker.job.id)
    talker.says(2)
    talker.ends()
    stream()
    polled = api("GET", f"/jobs/{talker.job.id}/events").json()["events"]
    assert page.gateway.events_of(page.id, talker.job.id) == polled


@pytest.mark.parametrize("after", range(7))
def test_a_finished_job_is_told_from_any_number_and_leaves_nothing(
    page: Page, talker: Talker, services: Services, after: int
) -> None:
    talker.says(2)
    talker.ends()
    page.subscribe(talker.job.id, after)
    assert page.numbers(talker.job) == up_to(5)[after:]
    assert page.heard[-1] == {"job": talker.job.id, "end": {"status": "completed", "last_event": 5}}
    assert left_of(services, page.id) == ["connection"]


def test_two_at_different_places_each_get_what_they_lack(
    make_page: Any, talker: Talker, stream: Notify, services: Services
) -> None:
    one, other, ahead = make_page("one"), make_page("other"), make_page("ahead")
    talker.says(5)
    one.subscribe(talker.job.id)
    other.subscribe(talker.job.id, 4)
    ahead.subscribe(talker.job.id, 8)  # it may have seen more than there is here: it is believed
    talker.says(3)
    queries = count_calls(services, stream).count("Query")
    assert one.numbers(talker.job) == up_to(10)
    assert other.numbers(talker.job) == up_to(10)[4:]
    assert ahead.numbers(talker.job) == [9, 10]
    assert queries == 2  # who watches, and the log: once for all of them


def test_progress_is_told_without_a_number_and_to_whoever_comes(make_page: Any, talker: Talker, stream: Notify) -> None:
    page, late = make_page("page"), make_page("late")
    page.subscribe(talker.job.id)
    stream()
    talker.moves(10)
    talker.says(progress=Progress(percent=20))
    talker.moves(30)
    stream()
    late.subscribe(talker.job.id)
    stream()
    told = [found["data"]["percent"] for found in page.gateway.events_of(page.id, talker.job.id) if "seq" not in found]
    assert set(told) == {30}
    assert late.gateway.events_of(late.id, talker.job.id)[-1] == {
        "type": "progress",
        "at": "2026-11-22T10:00:00.000Z",
        "data": {"percent": 30, "current": None, "total": None, "message": None},
    }
    assert page.numbers(talker.job) == late.numbers(talker.job) == [1, 2, 3]


@pytest.mark.parametrize("text", ["x" * 60_000, "ü" * 60_000, '"\n' * 60_000])
def test_no_message_is_longer_than_a_frame(page: Page, talker: Talker, stream: Notify, text: str) -> None:
    long = event("thought", 0, {"text": text})
    assert long.size > MAX_EVENT - 300
    talker.says(4, text)
    page.subscribe(talker.job.id)
    talker.says(3, text)
    talker.says(500, "short")
    stream()
    assert page.numbers(talker.job) == up_to(509)
    sizes = [len(data) for data in page.gateway.posts[page.id]]
    assert max(sizes) <= MAX_MESSAGE
    assert len(sizes) < 14  # short ones go together


def test_a_job_that_took_an_expired_one_s_place_is_another(
    page: Page, make_talker: Any, clock: Clock, stream: Notify
) -> None:
    old = make_talker()
    page.subscribe(old.job.id)
    old.ends()
    clock.advance(90_000)
    new = make_talker(id=old.job.id)
    new.says()
    stream()
    assert page.numbers(new.job) == [1, 2]


def test_after_a_crash_between_post_and_note_nothing_is_lost(
    page: Page, services: Services, talker: Talker, stream: Notify, unread: Stream
) -> None:
    page.subscribe(talker.job.id)
    stream()
    talker.says()
    records = unread.records()

    def crash(**_: Any) -> None:
        raise KeyboardInterrupt

    events = services.store._client.meta.events
    events.register("before-call.dynamodb.UpdateItem", crash)
    with contextlib.suppress(KeyboardInterrupt):
        notify(services, records)
    events.unregister("before-call.dynamodb.UpdateItem", crash)
    assert page.numbers(talker.job) == [1, 2, 3]
    notify(services, records)
    talker.says()
    stream()
    assert page.numbers(talker.job) == [1, 2, 3, 3, 4]  # by its number the client knows that it has it
