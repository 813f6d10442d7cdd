"""A subscription, whatever happens at any moment of it; one that is made again; and one that is cut short."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from common.wiring import Services
from functions.live.handling import MARGIN
from tests.functions.live.watching import Notify, Page, Talker, count_calls, left_of, up_to
from tests.handlers import load_event

#: The calls to the table while a running job is subscribed to: what happens before each of them is tried.
STEPS = 9


def test_a_subscription_has_so_many_steps(page: Page, talker: Talker, services: Services) -> None:
    assert len(count_calls(services, lambda: page.subscribe(talker.job.id))) == STEPS


@pytest.mark.parametrize("told", [True, False], ids=["pushed at once", "pushed later"])
@pytest.mark.parametrize("watched", [True, False], ids=["watched already", "first to watch"])
@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("what", ["says", "ends"])
def test_what_happens_at_any_moment_of_a_subscription_comes_once(
    make_page: Any,
    services: Services,
    talker: Talker,
    stream: Notify,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    watched: bool,
    told: bool,
    what: str,
) -> None:
    page, earlier = make_page("new"), make_page("earlier")
    if watched:
        earlier.subscribe(talker.job.id)
    stream()
    table: Any = services.store._client
    call, calls = table._make_api_call, []

    def call_after_something(*arguments: Any) -> Any:
        calls.append(arguments[0])
        if len(calls) == step + 1:
            talker.says() if what == "says" else talker.ends()
            if told:
                stream()
        return call(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(table, "_make_api_call", call_after_something)
        page.subscribe(talker.job.id)
    stream()
    if what == "says":
        assert talker.job.last_event == 3
        talker.says()
        stream()
        talker.ends()
        stream()
    assert page.numbers(talker.job) == up_to(talker.job.last_event)
    assert [message for message in page.heard if "end" in message] == page.heard[-1:]
    assert left_of(services, page.id) == ["connection"]
    if watched:
        assert earlier.numbers(talker.job) == up_to(talker.job.last_event)


def test_who_subscribes_again_goes_on_where_it_was(page: Page, talker: Talker, stream: Notify) -> None:
    talker.says(3)
    page.subscribe(talker.job.id, 2)
    page.subscribe(talker.job.id, 2)
    talker.says()
    stream()
    assert page.numbers(talker.job) == [3, 4, 5, 3, 4, 5, 6]


def test_who_only_asks_whether_all_is_well_costs_no_write(
    page: Page, talker: Talker, stream: Notify, services: Services
) -> None:
    page.subscribe(talker.job.id)
    stream()
    calls = count_calls(services, lambda: page.subscribe(talker.job.id, 2))
    assert calls == ["GetItem"] * 3
    assert page.heard[-1] == {"job": talker.job.id, "live": True, "last_event": 2}
    talker.says()
    stream()
    page.subscribe(talker.job.id, 2)  # that post got lost: it is told again
    assert page.numbers(talker.job) == [1, 2, 3, 3]
    talker.says()
    stream()
    assert page.numbers(talker.job) == [1, 2, 3, 3, 4]


def test_a_replay_that_has_no_time_left_stops_and_goes_on_when_asked(
    page: Page, talker: Talker, stream: Notify
) -> None:
    talker.says(10, "x" * 30_000)
    posted = page.gateway.posts[page.id]
    in_time = SimpleNamespace(get_remaining_time_in_millis=lambda: (MARGIN + 5 - len(posted)) * 1000)
    given = load_event("live-message")
    given["requestContext"]["connectionId"] = page.id
    given["body"] = json.dumps({"action": "subscribe", "job": talker.job.id})
    page.handler(given, in_time)
    known = page.numbers(talker.job)
    assert known == up_to(len(known))
    assert 2 < len(known) < 12
    talker.says()
    stream()
    assert page.numbers(talker.job) == known  # nothing is told past a gap
    page.subscribe(talker.job.id, known[-1])
    assert page.numbers(talker.job) == up_to(13)
