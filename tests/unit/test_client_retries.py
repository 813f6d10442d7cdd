"""What the client does when a request is not answered well. No test sleeps: pauses are recorded instead."""

import socket
from datetime import UTC, datetime

import httpx
import pytest

import longrun
from longrun import Client, Retries
from longrun.retries import retry_after
from longrun.steps import Send, Sleep
from tests.unit.scripted_service import DROP, Caller, Reply, ScriptedService, job_view, problem


def test_every_try_of_a_submission_has_the_same_key_and_body(service: ScriptedService, call: Caller) -> None:
    service.on("POST /jobs", problem(503), DROP, problem(429), problem(504), Reply(202, job_view()))
    assert call("submit", "research", {"query": "tides"}).id == "j1"
    keys = {sent.headers["idempotency-key"] for sent in service.seen}
    assert len(service.seen) == 5
    assert len(keys) == len({sent.body for sent in service.seen}) == 1
    [key] = keys
    assert key[0] == key[-1] == '"'
    assert len(key) == 36 + 2


def test_every_submission_has_a_key_of_its_own(service: ScriptedService, call: Caller) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    call("submit", "research")
    call("submit", "research")
    assert len({sent.headers["idempotency-key"] for sent in service.seen}) == 2


def test_a_key_of_the_callers_is_sent_as_a_quoted_string(service: ScriptedService, call: Caller) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    call("submit", "research", idempotency_key='order "7" \\')
    assert service.seen[0].headers["idempotency-key"] == r'"order \"7\" \\"'
    with pytest.raises(longrun.InvalidInput):
        call("submit", "research", idempotency_key="a\r\nX-Evil: 1")


def test_tries_are_bounded_and_pauses_grow_with_full_jitter(service: ScriptedService, call: Caller) -> None:
    service.on("GET /tasks", problem(503, "Starting"))
    call.random = lambda: 0.5
    with pytest.raises(longrun.Unavailable, match="Starting"):
        call("tasks")
    assert len(service.seen) == 5
    assert call.sleeps == [0.125, 0.25, 0.5, 1.0]


def test_a_service_that_hangs_up_every_time_is_unreachable(service: ScriptedService, call: Caller) -> None:
    service.on("GET /tasks", DROP)
    with pytest.raises(longrun.Unreachable, match="after 5 tries") as caught:
        call("tasks")
    assert (len(service.seen), caught.value.tries, caught.value.url) == (5, 5, service.url)


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_nobody_listening_is_unreachable(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    call = Caller(kind, f"http://127.0.0.1:{port}")
    with pytest.raises(longrun.Unreachable, match=f"no answer from http://127.0.0.1:{port} after 5 tries"):
        call("submit", "research")
    assert len(call.sleeps) == 4


def test_retry_after_is_honoured(service: ScriptedService, call: Caller) -> None:
    service.on("GET /health", problem(429, headers={"Retry-After": "7"}), {"status": "ok"})
    call("health")
    assert call.sleeps == [7.0]


def test_retry_after_is_spread_but_never_cut_short(service: ScriptedService, call: Caller) -> None:
    service.on("GET /health", problem(503, headers={"Retry-After": "20"}), {"status": "ok"})
    call.random = lambda: 0.5
    call("health")
    assert call.sleeps == [21.0]


def test_a_service_that_asks_for_too_much_patience_is_reported(service: ScriptedService, call: Caller) -> None:
    service.on("GET /health", problem(429, "Over quota", headers={"Retry-After": "3600"}))
    with pytest.raises(longrun.RateLimited) as caught:
        call("health")
    assert (caught.value.retry_after, call.sleeps, len(service.seen)) == (3600.0, [], 1)


def test_a_cut_off_answer_is_asked_for_again(service: ScriptedService, call: Caller) -> None:
    service.on("GET /health", Reply(200, b"garbage", {"Content-Encoding": "gzip"}), {"status": "ok"})
    assert call("health").status == "ok"


def test_one_try_can_be_all(service: ScriptedService, call: Caller) -> None:
    service.on("GET /health", DROP)
    call.tries = 1
    with pytest.raises(longrun.Unreachable, match="after 1 try:"):
        call("health")


def test_a_post_without_a_key_is_never_repeated(service: ScriptedService) -> None:
    service.on("POST /other", DROP)
    with Client(service.url, sleep=lambda seconds: None) as client, pytest.raises(longrun.Unreachable):
        client._drive(client._calls.service.ask(Send("POST", f"{service.url}/other")))
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("outcome", "tried", "expected"),
    [
        (httpx.Response(503), 1, Sleep(0.0625)),
        (httpx.Response(502), 4, Sleep(0.5)),
        (httpx.Response(429), 40, Sleep(2.5)),
        (httpx.Response(503), 50, None),
        (httpx.Response(500), 1, None),
        (httpx.Response(200), 1, None),
        (httpx.Response(404), 1, None),
        (httpx.ReadTimeout(""), 1, Sleep(0.0625)),
        (httpx.ConnectError(""), 2, Sleep(0.125)),
        (httpx.LocalProtocolError(""), 1, None),
        (httpx.UnsupportedProtocol(""), 1, None),
    ],
)
def test_what_is_tried_again(outcome: httpx.Response | httpx.RequestError, tried: int, expected: Sleep | None) -> None:
    assert Retries(tries=50, random=lambda: 0.25).decide(Send("GET", "http://x"), outcome, tried) == expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("12", 12.0),
        ("0", 0.0),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str, seconds: float | None) -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert retry_after(httpx.Response(503, headers={"Retry-After": header}), now) == seconds


def test_the_scripted_service_answers_as_it_is_told_and_remembers() -> None:
    with ScriptedService().running() as service:
        service.on("GET /health", problem(503), {"status": "ok"})
        assert [httpx.get(f"{service.url}/health").status_code for _ in range(3)] == [503, 200, 200]
        assert len(service.asked("GET /health")) == 3
