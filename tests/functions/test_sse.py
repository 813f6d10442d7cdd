"""Server-Sent Events: every event once and in order, in answers that end (Lambda) and in streams that go on (the laptop)."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from mangum import Mangum

from common.events import event
from common.jobs import Job, Progress, Report
from common.wiring import Services
from functions.api import streams
from functions.api.application import create_app
from functions.api.streams import ALIVE, BURST, Pace
from tests.aws import Clock
from tests.handlers import Answer, Api

Moments = dict[float, Callable[[], object]]


@dataclass
class Writer:
    """A worker that says what a test tells it to."""

    services: Services
    job: Job

    def say(self, *texts: str) -> None:
        now = self.services.clock()
        page = [event("thought", now, {"text": text}) for text in texts]
        self.job = self.services.store.flush(self.job, page, Report(), now)

    def report(self, percent: int) -> None:
        self.job = self.services.store.report(self.job, Report(Progress(percent=percent)), self.services.clock())

    def end(self) -> None:
        self.job = self.services.store.end_cancelled(self.job, Report(), self.services.clock())


@pytest.fixture
def writer(services: Services, make_job: Callable[..., Job]) -> Writer:
    """At a job that runs: two events, both of status."""
    return Writer(services, services.store.claim(make_job().id, token="w", now=services.clock()))


@pytest.fixture
def streaming(services: Services) -> Api:
    """The API as on a laptop, where an answer may go on."""
    settings = replace(services.settings, streams=True)
    return Api(Mangum(create_app(replace(services, settings=settings)), lifespan="off")).as_owner(services, "acme")


def listen(api: Api, job: Job, *, last: int | str | None = None, **query: Any) -> Answer:
    headers = {"accept": "text/event-stream"} | ({} if last is None else {"last-event-id": str(last)})
    return api("GET", f"/jobs/{job.id}/events", headers=headers, **query)


def frames(answer: Answer) -> list[dict[str, str]]:
    """The stream's blocks, each as its fields; a comment's name is empty."""
    assert answer.status == 200, answer.text
    assert answer.text.endswith("\n\n")
    blocks = answer.text.removesuffix("\n\n").split("\n\n")
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def numbers(answer: Answer) -> list[int]:
    """Of the events, which are what `onmessage` gets."""
    found = [frame for frame in frames(answer) if "data" in frame and "event" not in frame]
    assert all(json.loads(frame["data"])["seq"] == int(frame["id"]) for frame in found)
    return [int(frame["id"]) for frame in found]


def test_an_answer_carries_the_same_events_as_the_log(api: Api, writer: Writer) -> None:
    writer.say("one\ntwo\r\u2028\x85", "ü")
    writer.end()
    answer = listen(api, writer.job)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    first, *events, end = frames(answer)
    assert first == {"retry": "500"}
    log = api("GET", f"/jobs/{writer.job.id}/events").json()["events"]
    assert [json.loads(frame["data"]) for frame in events] == log
    assert [frame["id"] for frame in events] == ["1", "2", "3", "4", "5"]
    assert end == {"event": "end", "id": "5", "data": '{"status":"cancelled","last_event":5}'}


@pytest.mark.parametrize(("query", "last", "expected"), [({"after": 2}, None, [3, 4]), ({"after": 1}, 3, [4])])
def test_it_begins_where_the_reader_was(
    api: Api, writer: Writer, query: dict[str, int], last: int | None, expected: list[int]
) -> None:
    writer.say("one", "two")
    assert numbers(listen(api, writer.job, last=last, **query)) == expected


def test_an_answer_waits_for_news_and_ends_with_them(
    api: Api, writer: Writer, clock: Clock, while_waiting: Moments
) -> None:
    while_waiting[5] = lambda: writer.say("now")
    before = clock()
    assert numbers(listen(api, writer.job, last=2)) == [3]
    assert 5 <= clock() - before <= 7.5


def test_an_answer_ends_before_the_gateway_gives_up(api: Api, writer: Writer, clock: Clock, while_waiting: Any) -> None:
    before = clock()
    assert frames(listen(api, writer.job, last=2)) == [{"retry": "500"}]
    assert clock() - before == pytest.approx(20)


def test_progress_is_news_that_has_no_number(api: Api, writer: Writer, clock: Clock, while_waiting: Moments) -> None:
    while_waiting[3] = lambda: writer.report(40)
    _, told = frames(listen(api, writer.job, last=2))
    assert (told["event"], "id" in told) == ("progress", False)
    data = json.loads(told["data"])
    assert (data["type"], data["data"]["percent"], "seq" in data) == ("progress", 40, False)
    polled = api("GET", f"/jobs/{writer.job.id}/events", progress=True).json()["progress"]
    assert polled == data


def test_who_comes_back_to_an_end_that_was_seen_is_told_to_stay_away(api: Api, streaming: Api, writer: Writer) -> None:
    writer.end()
    for each in (api, streaming):
        assert listen(each, writer.job, last=3).status == 204
        assert numbers(listen(each, writer.job, last=2)) == [3]
        # Who has not come back, but asked for nothing in the first place, is told of the end, and then stays away.
        assert frames(listen(each, writer.job, after=3))[-1]["id"] == "3"


def test_what_no_stream_of_ours_named_is_refused(api: Api, writer: Writer) -> None:
    for wrong in ("x", "-1", "1.5", "9" * 9):
        assert listen(api, writer.job, last=wrong).status == 400


def test_more_than_an_answer_carries_comes_in_several(
    api: Api, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_ANSWER", 10_000)
    for n in range(10):
        writer.say(*(f"{n} {i} " + "ü" * 500 for i in range(10)))
    writer.end()
    seen: list[int] = []
    answers = 0
    while (answer := listen(api, writer.job, last=seen[-1] if seen else None)).status == 200:
        seen += numbers(answer)
        answers += 1
        assert ("event: end" in answer.text) == (seen[-1] == 103)
        assert len(answer.text.encode()) < 12_000
    assert seen == list(range(1, 104))
    assert answers > 10
    page = api("GET", f"/jobs/{writer.job.id}/events", limit=1_000).json()
    assert [one["seq"] for one in page["events"]] == seen[: len(page["events"])]
    assert (len(page["events"]) < 20, page["final"], page["last_event"]) == (True, True, 103)


# ---------------------------------------------------------------------------------------- streams


def test_a_stream_goes_on_until_the_job_ends(streaming: Api, writer: Writer, while_waiting: Moments) -> None:
    for second in range(1, 60):
        while_waiting[second] = lambda second=second: writer.say(f"{second}", "and")  # type: ignore[misc]
    while_waiting[60.5] = writer.end
    answer = listen(streaming, writer.job)
    assert numbers(answer) == list(range(1, 2 + 59 * 2 + 2))
    assert frames(answer)[-1]["event"] == "end"


def test_a_quiet_stream_says_that_it_lives_and_looks_seldom(
    streaming: Api, writer: Writer, while_waiting: Moments, calls: list[tuple[str, Any]]
) -> None:
    while_waiting[120] = writer.end
    calls.clear()
    text = listen(streaming, writer.job, last=2).text
    assert text.count(": alive") in (120 // ALIVE - 1, 120 // ALIVE)
    assert len(calls) <= 120 + 10
    assert not any(given.get("ConsistentRead") for name, given in calls if name == "GetItem")


def test_progress_is_told_once_each_time_that_it_changes(
    streaming: Api, writer: Writer, while_waiting: Moments
) -> None:
    writer.report(10)
    while_waiting[5] = lambda: writer.report(20)
    while_waiting[10] = writer.end
    told = [frame for frame in frames(listen(streaming, writer.job)) if frame.get("event") == "progress"]
    assert [json.loads(frame["data"])["data"]["percent"] for frame in told] == [10, 20]


def test_a_stream_of_a_job_that_is_forgotten_ends(
    streaming: Api, writer: Writer, services: Services, while_waiting: Moments, clock: Clock
) -> None:
    def forget() -> None:
        services.store.end_cancelled(writer.job, Report(), clock())
        clock.advance(writer.job.ttl_seconds + 1)

    while_waiting[1] = forget
    assert "event: end" not in listen(streaming, writer.job).text


def test_a_stream_ends_when_the_server_is_to_stop(services: Services, writer: Writer, while_waiting: Moments) -> None:
    app = create_app(replace(services, settings=replace(services.settings, streams=True)))
    stopping = threading.Event()
    app.state.is_stopping = stopping.is_set
    while_waiting[1] = stopping.set
    text = listen(Api(Mangum(app, lifespan="off")).as_owner(services, "acme"), writer.job).text
    assert "id: 2" in text
    assert "event: end" not in text


def test_a_stream_ends_with_its_reader_and_reads_outside_of_the_loop(services: Services, writer: Writer) -> None:
    app = create_app(replace(services, settings=replace(services.settings, streams=True)))
    key, _ = services.keys.create("acme", "test", services.clock())
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"/jobs/{writer.job.id}/events",
        "raw_path": b"",
        "query_string": b"",
        "headers": [(b"accept", b"text/event-stream"), (b"authorization", f"Bearer {key}".encode())],
    }
    readers: list[int] = []

    async def hear_until(enough: int) -> None:
        heard, gone = 0, asyncio.Event()

        async def send(message: Any) -> None:
            nonlocal heard
            if message["type"] == "http.response.start":  # what comes before it is as of any other route
                services.store._client.meta.events.register("provide-client-params.*.*", note)
            heard += message.get("body", b"").count(b"\nid: ") + message.get("body", b"").startswith(b"id: ")
            if heard >= enough:
                gone.set()

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        def note(**_: Any) -> None:
            readers.append(threading.get_ident())

        await asyncio.wait_for(app(scope, receive, send), 30)

    writer.say("one")
    asyncio.run(hear_until(2))
    assert readers
    assert threading.get_ident() not in readers


@pytest.mark.parametrize("every", [0.0, 0.4, 1.0, 30.0], ids=lambda seconds: f"news every {seconds:g} s")
def test_a_stream_never_looks_more_than_once_a_second_on_average(every: float) -> None:
    pace, now, looks, last = Pace(), 1_000.0, 0, 1_000.0
    pauses = []
    while now < 4_600:
        news = now - last >= every
        last = now if news else last
        pauses.append(pace.pause(now, news=news))
        now += pauses[-1]
        looks += 1
    assert looks <= 3_600 + BURST + 1
    assert max(pauses) <= 1.001
    assert min(pauses) == pytest.approx(0.1)
