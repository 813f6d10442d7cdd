"""Reading events: every one once and in order, by the best channel that works, however often connections are lost.

The service here is scripted; `tests/e2e/test_channels.py` reads from the real one.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from pydantic import ValidationError
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

import longrun
from longrun import AsyncClient, Client, Event
from longrun.sse import Frame, Frames
from longrun.talking import SILENCE
from tests.unit.scripted_service import DROP, Caller, Reply, ScriptedService, problem

EVENTS = "GET /jobs/j1/events"
TICKET = "POST /live-ticket"
END = {"status": "completed", "last_event": 5}


def view(seq: int, text: str = "hm") -> dict[str, Any]:
    return {"seq": seq, "at": "2026-01-31T12:00:00.000Z", "type": "thought", "data": {"text": text}}


def progress(percent: int) -> dict[str, Any]:
    return {"type": "progress", "at": "2026-01-31T12:00:00.000Z", "data": {"percent": percent}}


def page(*seqs: int, last: int = 5, final: bool = False, **more: Any) -> dict[str, Any]:
    return {"events": [view(seq) for seq in seqs], "last_event": last, "final": final, **more}


def stream(*seqs: int, end: dict[str, Any] | None = None, more: str = "") -> Reply:
    """An answer of Server-Sent Events that ends by itself."""
    text = "retry: 500\n\n" + "".join(f"id: {seq}\ndata: {json.dumps(view(seq))}\n\n" for seq in seqs) + more
    text += "" if end is None else f"event: end\nid: {end['last_event']}\ndata: {json.dumps(end)}\n\n"
    return Reply(200, text.encode(), {"Content-Type": "text/event-stream; charset=utf-8"})


def numbers(events: list[Event]) -> list[int | None]:
    return [event.seq for event in events]


# ---------------------------------------------------------------------------------------- polling


def test_polls_go_on_from_the_last_number_until_the_end(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, page(3, last=3), page(last=3), DROP, page(4, 5, last=5, final=True))
    events = call("events", "j1", after=2, channel="poll")
    assert numbers(events) == [3, 4, 5]
    asked = [(seen.query["after"], seen.query["wait"]) for seen in service.asked(EVENTS)]
    assert asked == [("2", "20"), ("3", "20"), ("3", "20"), ("3", "20")]
    assert call.sleeps == [0.5, 0], "a pause after nothing, and one before the second try"


def test_a_final_job_s_log_is_read_to_its_end(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, page(1, 2, final=True), page(3, 4, final=True), page(5, final=True))
    assert numbers(call("events", "j1", channel="poll")) == [1, 2, 3, 4, 5]


def test_what_was_said_twice_is_given_once(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, page(1, 2, last=2), page(1, 2, 3, last=3), page(3, 4, 5, final=True))
    assert numbers(call("events", "j1", channel="poll")) == [1, 2, 3, 4, 5]


def test_without_following_it_ends_with_what_is_there(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, page(1, 2, 3), page(4, 5))
    assert numbers(call("events", "j1", follow=False)) == [1, 2, 3, 4, 5]
    assert all("wait" not in seen.query for seen in service.asked(EVENTS))
    assert service.asked(TICKET) == []


def test_progress_is_given_as_it_changes_unless_it_is_not_wanted(service: ScriptedService, call: Caller) -> None:
    pages = [page(1, last=1, progress=progress(10))] * 2 + [page(last=1, progress=progress(20))]
    service.on(EVENTS, *pages, page(2, last=2, final=True))
    events = call("events", "j1", channel="poll")
    assert [event.seq or event.data["percent"] for event in events] == [1, 10, 20, 2]
    service.on(EVENTS, *pages, page(2, last=2, final=True))
    assert numbers(call("events", "j1", channel="poll", progress=False)) == [1, 2]


def test_an_event_is_a_frozen_value(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, {"events": [view(1) | {"mood": "new"}], "last_event": 1, "final": True})
    [event] = call("events", "j1", channel="poll")
    assert (event.seq, event.type, event.data, event.at.year) == (1, "thought", {"text": "hm"}, 2026)
    with pytest.raises(ValidationError):
        event.seq = 2


# ---------------------------------------------------------------------------------------- Server-Sent Events


def test_streams_go_on_from_the_last_number_until_the_end(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, stream(1, 2), DROP, problem(503, headers={"Retry-After": "3"}), stream(3), stream(4, 5, end=END))
    assert numbers(call("events", "j1", channel="sse")) == [1, 2, 3, 4, 5]
    seen = service.asked(EVENTS)
    assert [one.query["after"] for one in seen] == ["0", "2", "2", "2", "3"]
    assert {one.headers["accept"] for one in seen} == {"text/event-stream"}
    assert seen[0].headers["authorization"] == "Bearer secret-key"
    assert call.sleeps == [0.5, 0, 3, 0.5], "as the service asked, but for the first try again"


def test_a_stream_may_repeat_itself_and_say_more(service: ScriptedService, call: Caller) -> None:
    told = f": alive\n\nevent: progress\ndata: {json.dumps(progress(40))}\n\n"
    service.on(EVENTS, stream(1, 2, more=told * 2), stream(2, 3, 4, 5, end=END, more=": alive\r\n\r\n"))
    events = call("events", "j1", channel="sse")
    assert [event.seq or event.data["percent"] for event in events] == [1, 2, 40, 3, 4, 5]
    service.on(EVENTS, Reply(204))
    assert call("events", "j1", after=5, channel="sse") == []


def test_an_end_that_left_events_out_is_not_believed(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, stream(1, end=END), stream(2, 3, 4, 5, end=END))
    assert numbers(call("events", "j1", channel="sse")) == [1, 2, 3, 4, 5]


def test_a_stream_that_cannot_be_had_is_given_up_after_some_tries(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, problem(503))
    with pytest.raises(longrun.ChannelUnavailable, match="by sse: HTTP 503"):
        call("events", "j1", channel="sse")
    assert len(service.asked(EVENTS)) == 5


@pytest.mark.parametrize("size", [1, 2, 7, 1_000_000])
def test_a_stream_is_understood_however_it_is_cut_into_pieces(size: int) -> None:
    text = (
        "\ufeffretry: 1500\n\n: comment\n\nid: 1\ndata: ü\u2028\x85\x0b\n\n"
        "event: x\r\ndata:a\r\ndata\r\n\r\nid:2\rdata:  b\r\rdata: lost"
    )
    frames, data = Frames(), text.encode()
    found = [frame for at in range(0, len(data), size) for frame in frames.feed(data[at : at + size])]
    assert found == [Frame("ü\u2028\x85\x0b", "message", "1"), Frame("a\n", "x", "1"), Frame(" b", "message", "2")]
    assert frames.retry == 1.5


# ---------------------------------------------------------------------------------------- WebSocket


class Socket:
    """A WebSocket service whose every connection goes as the next script says; the last one's for all further ones."""

    def __init__(self) -> None:
        self.scripts: list[Callable[[ServerConnection], None]] = []
        self.said: list[dict[str, Any]] = []
        self.paths: list[str] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        """The address."""
        with serve(self._talk, "127.0.0.1", 0) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/live"
            server.shutdown()

    def hear(self, connection: ServerConnection) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(connection.recv(10))
        self.said.append(message)
        return message

    def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        with suppress(ConnectionClosed):
            script(connection)

    def script(self, *steps: Any) -> None:
        """One connection's: a number says how many messages are heard first, all else is told."""

        def talk(connection: ServerConnection) -> None:
            for step in steps:
                if isinstance(step, int):
                    for _ in range(step):
                        self.hear(connection)
                else:
                    connection.send(json.dumps(step))

        self.scripts.append(talk)


def told(*seqs: int, job: str = "j1") -> dict[str, Any]:
    return {"job": job, "events": [view(seq) for seq in seqs]}


def live(last: int) -> dict[str, Any]:
    return {"job": "j1", "live": True, "last_event": last}


ENDED = {"job": "j1", "end": END}


@pytest.fixture
def socket(service: ScriptedService) -> Iterator[Socket]:
    socket = Socket()
    with socket.running() as url:
        service.on(TICKET, Reply(201, {"ticket": "lt_secret", "expires_at": "2026-01-31T12:00:00Z", "url": url}))
        yield socket


def test_the_socket_tells_what_was_missed_and_then_what_happens(
    service: ScriptedService, socket: Socket, call: Caller
) -> None:
    now = {"job": "j1", "events": [progress(40), view(5)]}
    socket.script(1, {"pong": True}, told(9, job="other"), told(3, 4), live(4), now, ENDED)
    events = call("events", "j1", after=2)
    assert numbers(events) == [3, 4, None, 5]
    assert socket.said == [{"action": "subscribe", "job": "j1", "after": 2}]
    assert socket.paths == ["/live?ticket=lt_secret"]
    assert service.asked(TICKET)[0].json == {"job": "j1"}
    assert service.asked(EVENTS) == []


def test_a_lost_socket_is_opened_again_from_the_last_number(socket: Socket, call: Caller) -> None:
    socket.script(1, told(1, 2))
    socket.script()
    socket.script(1, told(3), live(3), told(4))
    socket.script(1, told(4, 5), live(5), ENDED)
    assert numbers(call("events", "j1")) == [1, 2, 3, 4, 5]
    assert [said["after"] for said in socket.said] == [0, 2, 4], "the second one heard nothing"


def test_a_gap_is_healed_by_subscribing_again(socket: Socket, call: Caller) -> None:
    socket.script(1, told(1), live(1), told(3), 1, told(3), told(2, 3, 4), live(4), ENDED, 1, told(5), live(5), ENDED)
    assert numbers(call("events", "j1", channel="websocket")) == [1, 2, 3, 4, 5]
    assert [said["after"] for said in socket.said] == [0, 1, 4]


def test_a_subscription_that_leaves_events_out_is_a_cut(socket: Socket, call: Caller) -> None:
    socket.script(1, told(1), live(2), 1)
    socket.script(1, told(2, 3, 4, 5), live(5), ENDED)
    assert numbers(call("events", "j1")) == [1, 2, 3, 4, 5]
    assert len(socket.paths) == 2


def test_silence_is_answered_by_subscribing_again_and_then_by_a_new_socket(
    socket: Socket, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SILENCE == 25
    monkeypatch.setattr("longrun.talking.SILENCE", 0.05)
    socket.script(1, told(1), live(1), 1, live(1), 2)
    socket.script(1, told(2, 3, 4, 5), ENDED)
    assert numbers(call("events", "j1")) == [1, 2, 3, 4, 5]
    assert [said["after"] for said in socket.said] == [0, 1, 1, 1]
    assert len(socket.paths) == 2


@pytest.mark.parametrize(("status", "error"), [(404, longrun.NotFound), (401, longrun.Unauthorized)])
def test_a_refusal_by_the_socket_is_an_error(socket: Socket, call: Caller, status: int, error: type[Exception]) -> None:
    socket.script(1, {"job": "j1", "problem": {"status": status, "title": "No", "detail": "no such job"}})
    with pytest.raises(error, match="no such job"):
        call("events", "j1")


def test_a_socket_s_passing_trouble_is_a_cut(socket: Socket, call: Caller) -> None:
    socket.script(1, {"job": None, "problem": {"status": 503, "title": "Busy"}})
    socket.script(1, told(1, 2, 3, 4, 5), ENDED)
    assert numbers(call("events", "j1")) == [1, 2, 3, 4, 5]


def test_an_iteration_that_is_left_closes_its_socket(service: ScriptedService, socket: Socket) -> None:
    closed = threading.Event()

    def talk(connection: ServerConnection) -> None:
        socket.hear(connection)
        connection.send(json.dumps(told(1)))
        try:
            connection.recv(10)
        except ConnectionClosed:
            closed.set()

    socket.scripts.append(talk)

    async def leave() -> None:
        async with AsyncClient(service.url) as client:
            events = client.events("j1")
            assert (await anext(events)).seq == 1
            await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(leave())
    assert closed.wait(10)
    closed.clear()
    with Client(service.url) as client:
        for _ in client.events("j1"):
            break
    assert closed.wait(10)


# ---------------------------------------------------------------------------------------- which channel


def test_without_a_socket_s_address_it_streams(service: ScriptedService, call: Caller) -> None:
    service.on(TICKET, Reply(201, {"ticket": "lt_x", "expires_at": "2026-01-31T12:00:00Z", "url": None}))
    service.on(EVENTS, stream(1, 2, 3, 4, 5, end=END))
    assert numbers(call("events", "j1")) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("where", ["ws://127.0.0.1:9", "http://127.0.0.1:9", "nonsense"])
def test_a_socket_that_never_opens_is_given_up_soon(service: ScriptedService, call: Caller, where: str) -> None:
    service.on(TICKET, Reply(201, {"ticket": "lt_x", "expires_at": "2026-01-31T12:00:00Z", "url": where}))
    service.on(EVENTS, stream(1, 2, 3, 4, 5, end=END))
    assert numbers(call("events", "j1")) == [1, 2, 3, 4, 5]
    assert len(service.asked(TICKET)) <= 2


def test_a_socket_that_is_lost_for_good_is_followed_by_a_stream_from_there(
    service: ScriptedService, socket: Socket, call: Caller
) -> None:
    socket.script(1, told(1, 2), live(2))
    socket.script()
    service.on(EVENTS, stream(3, 4, 5, end=END))
    assert numbers(call("events", "j1")) == [1, 2, 3, 4, 5]
    assert service.asked(EVENTS)[0].query["after"] == "2"


def test_an_older_service_that_answers_with_json_is_polled(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, page(1, 2, 3, 4, 5, final=True))
    assert numbers(call("events", "j1")) == [1, 2, 3, 4, 5]
    assert [seen.headers["accept"] for seen in service.asked(EVENTS)] == ["text/event-stream", "application/json"]


def test_a_stream_that_is_lost_for_good_is_followed_by_polls_from_there(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, stream(1, 2), *[DROP] * 5, page(3, 4, 5, final=True))
    assert numbers(call("events", "j1")) == [1, 2, 3, 4, 5]
    assert service.asked(EVENTS)[-1].query["after"] == "2"


@pytest.mark.parametrize("channel", [None, "sse", "poll"])
def test_an_unknown_job_and_a_wrong_key_are_errors_at_once(
    service: ScriptedService, call: Caller, channel: str | None
) -> None:
    with pytest.raises(longrun.NotFound):
        call("events", "j1", channel=channel)
    service.on(EVENTS, problem(401, "Unauthorized"))
    service.on(TICKET, problem(401, "Unauthorized"))
    with pytest.raises(longrun.Unauthorized):
        call("events", "j1", channel=channel)
    assert call.sleeps == []


def test_a_channel_that_was_asked_for_is_the_only_one(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, page(1, final=True, last=1))
    service.on(TICKET, Reply(201, {"ticket": "lt_x", "expires_at": "2026-01-31T12:00:00Z", "url": None}))
    for channel in ("websocket", "sse"):
        with pytest.raises(longrun.ChannelUnavailable, match=channel):
            call("events", "j1", channel=channel)
    with pytest.raises(longrun.InvalidInput, match="websocket, sse, poll"):
        call("events", "j1", channel="telegram")
    with pytest.raises(longrun.InvalidInput):
        call("events", "j1", after=-1)


def test_a_service_that_is_gone_is_said_to_be(service: ScriptedService, call: Caller) -> None:
    service.on(EVENTS, DROP)
    service.on(TICKET, DROP)
    with pytest.raises(longrun.Unreachable):
        call("events", "j1")


def test_no_error_shows_the_ticket(service: ScriptedService, call: Caller, caplog: pytest.LogCaptureFixture) -> None:
    for where in ("ws://127.0.0.1:9", "nonsense"):
        service.on(TICKET, Reply(201, {"ticket": "lt_secret", "expires_at": "2026-01-31T12:00:00Z", "url": where}))
        with pytest.raises(longrun.ChannelUnavailable) as caught:
            call("events", "j1", channel="websocket")
        assert "lt_secret" not in repr(caught.value) + str(caught.value)
    assert "lt_secret" not in caplog.text
