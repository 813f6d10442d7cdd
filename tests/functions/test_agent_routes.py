"""The agent routes: clients that know nothing but an id and a status."""

from __future__ import annotations

from typing import Any

import pytest

from common.jobs import Payload, Progress, Report
from common.wiring import Services
from tests.aws import Clock
from tests.handlers import Api, Worker


def put(api: Api, name: str, text: str) -> None:
    answer = api("PUT", f"/documents/{name}", body=text.encode(), headers={"content-type": "text/plain"})
    assert answer.status == 201


def until_ended(api: Api, worker: Worker, path: str) -> dict[str, Any]:
    """Polls as the simplest of clients does."""
    for _ in range(5):
        seen: dict[str, Any] = api("GET", path).json()
        if seen["status"] in ("completed", "failed"):
            return seen
        worker()
    raise AssertionError(seen)


@pytest.mark.parametrize("route", ["/agent/submit", "/agent/start"])
def test_a_prompt_is_submitted_and_polled_until_it_is_answered(api: Api, worker: Worker, route: str) -> None:
    put(api, "sky", "The sky is blue because air scatters short waves of light more than long ones. Grass is green.")
    answer = api("POST", route, json={"prompt": "Why is the sky blue?"})
    assert (answer.status, answer.json()["status"]) == (202, "pending")
    task_id = answer.json()["task_id"]
    before = api("GET", f"/agent/status/{task_id}").json()
    assert before == {
        "id": task_id, "task_id": task_id, "status": "pending", "progress": 0, "result": None, "error": None,
    }  # fmt: skip

    done = until_ended(api, worker, f"/agent/status/{task_id}")

    assert (done["status"], done["progress"], done["error"]) == ("completed", 100, None)
    assert "scatters" in done["result"]


def test_a_callback_is_checked_and_kept(api: Api) -> None:
    given = {"prompt": "hi", "callback_url": "https://hooks.example.com/x"}
    answer = api("POST", "/agent/submit-with-callback", json=given)
    assert (answer.status, answer.json()["status"]) == (202, "submitted")
    assert api.job(answer.json()["task_id"])["callback_url"] == "https://hooks.example.com/x"
    refused = api("POST", "/agent/submit-with-callback", json=given | {"callback_url": "http://127.0.0.1/"})
    assert (refused.status, refused.json()["errors"][0]["loc"]) == (422, ["callback_url"])


def test_the_same_key_makes_one_task(api: Api) -> None:
    key = {"idempotency-key": "k"}
    first = api("POST", "/agent/submit", json={"prompt": "hi"}, headers=key)
    again = api("POST", "/agent/submit", json={"prompt": "hi"}, headers=key)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"


def test_research_is_submitted_and_polled(api: Api, worker: Worker) -> None:
    put(api, "sky", "The sky is blue because air scatters short waves of light more than long ones.")
    answer = api("POST", "/research", json={"query": "Why is the sky blue?"})
    assert (answer.status, answer.json()["status"]) == (202, "pending")
    task_id = answer.json()["task_id"]

    done = until_ended(api, worker, f"/research/{task_id}")

    assert set(done) == {"task_id", "status", "result", "error", "created_at", "completed_at"}
    assert (done["status"], done["error"]) == ("completed", None)
    assert done["result"]["citations"][0]["source"] == "document:sky"
    assert done["completed_at"]


def test_a_batch_is_submitted_and_polled(api: Api, worker: Worker, services: Services, clock: Clock) -> None:
    for name in ("a", "b"):
        put(api, name, "Rain falls. Rain makes rivers grow and rivers feed the sea. The sea makes clouds.")
    answer = api("POST", "/batch-analyze", json={"document_ids": ["a", "b", "missing"]})
    assert (answer.status, answer.json()["status"]) == (202, "queued")
    task_id = answer.json()["task_id"]
    assert api("GET", f"/batch-analyze/{task_id}").json()["progress"] == {"current": 0, "total": 3}

    done = until_ended(api, worker, f"/batch-analyze/{task_id}")

    assert done["progress"] == {"current": 3, "total": 3}
    assert done["result"]["count"] == len(done["result"]["results"]) == 3
    assert done["error"] is None


def test_progress_is_a_percentage(api: Api, services: Services, clock: Clock) -> None:
    task_id = api("POST", "/agent/submit", json={"prompt": "hi"}).json()["task_id"]
    job = services.store.claim(task_id, token="w", now=clock())
    job = services.store.report(job, Report(Progress(percent=40)), clock())
    assert api("GET", f"/agent/status/{task_id}").json()["progress"] == 40
    services.store.complete(job, Payload(size=14, inline='{"answer":"42"}'), Report(), clock())
    seen = api("GET", f"/agent/status/{task_id}").json()
    assert (seen["progress"], seen["result"]) == (100, "42")


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/agent/submit", {}),
        ("/agent/submit", {"prompt": ""}),
        ("/agent/submit", {"prompt": 1}),
        ("/agent/submit", {"prompt": "x", "model": "y"}),
        ("/agent/submit", {"prompt": "x", "tools": ["rm"]}),
        ("/agent/submit-with-callback", {"prompt": "x"}),
        ("/research", {"query": ""}),
        ("/research", {"query": "x", "webhook_url": "http://10.0.0.1/"}),
        ("/batch-analyze", {"document_ids": []}),
        ("/batch-analyze", {"document_ids": [1]}),
        ("/chat", {"session_id": "s", "messages": []}),
        ("/chat", {"session_id": "a b", "messages": [{"role": "user", "content": "x"}]}),
        ("/chat", {"session_id": "s", "messages": [{"role": "robot", "content": "x"}]}),
    ],
)
def test_what_does_not_fit_is_refused(api: Api, route: str, body: dict[str, Any]) -> None:
    answer = api("POST", route, json=body)
    assert answer.status == 422, answer.text
    assert answer.json()["errors"]


def test_a_task_is_found_under_its_own_route_only(api: Api, services: Services) -> None:
    task_id = api("POST", "/agent/submit", json={"prompt": "hi"}).json()["task_id"]
    for path in (f"/research/{task_id}", f"/batch-analyze/{task_id}", f"/agent/status/{'0' * 32}"):
        assert api("GET", path).status == 404
    assert api.as_owner(services, "other")("GET", f"/agent/status/{task_id}").status == 404


def test_a_chat_is_logged_by_its_job(api: Api, worker: Worker, services: Services) -> None:
    put(api, "sky", "The sky is blue because air scatters short waves of light more than long ones.")
    said = {"session_id": "s:1", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    later = api("POST", "/chat", json=said, wait=0)
    assert (later.status, later.headers["location"]) == (202, f"/jobs/{later.json()['id']}")
    assert api("GET", "/chat/s:1").json()["interactions"] == []

    worker()

    assert api.job(later.json()["id"])["status"] == "completed"
    logged = api("GET", "/chat/s:1").json()["interactions"]
    assert len(logged) == 1
    assert logged[0]["message"] == "Why is the sky blue?"
    assert "scatters" in logged[0]["response"]
    assert logged[0]["latency_ms"] >= 0
    assert api.as_owner(services, "other")("GET", "/chat/s:1").json()["interactions"] == []


def test_a_chat_is_answered_at_once_when_the_answer_comes_in_time(api: Api, worker: Worker) -> None:
    said = {"session_id": "s", "messages": [{"role": "user", "content": "2 + 2 * 3 = ?"}]}
    key = {"idempotency-key": "k"}
    api("POST", "/chat", json=said, headers=key, wait=0)
    worker()
    answer = api("POST", "/chat", json=said, headers=key)
    assert answer.status == 200
    assert "8" in answer.json()["response"]


def test_a_chat_s_pages_are_its_own(api: Api) -> None:
    assert api("GET", "/chat/s", cursor="document#x").status == 400
    assert api("GET", "/chat/a%20b").status == 400
