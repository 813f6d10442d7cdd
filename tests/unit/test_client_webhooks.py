"""The client's calls about webhooks; each test speaks for the blocking and the async client."""

from datetime import UTC, datetime
from typing import Any

import pytest

import longrun
from tests.unit.scripted_service import DROP, Caller, Reply, ScriptedService, problem

URL = "https://hooks.example.com/longrun"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def endpoint_view(url: str | None = URL, **more: Any) -> dict[str, Any]:
    """An endpoint as the service shows it."""
    return {
        "url": url,
        "enabled": url is not None,
        "created_at": "2026-01-31T12:00:00Z" if url else None,
        "disabled_at": None,
        "disabled_reason": None,
        "failing_since": None,
        "secrets": [{"created_at": "2026-01-31T12:00:00Z", "signs_until": None}],
        **more,
    }


def delivery_view(**more: Any) -> dict[str, Any]:
    """A delivery as the service shows it."""
    made = {"at": "2026-01-31T12:00:00Z", "url": URL, "seconds": 0.25, "error": None, "answer": "no"}
    return {
        "id": "msg_1",
        "job": "j1",
        "type": "job.completed",
        "to": "endpoint",
        "url": None,
        "status": "exhausted",
        "reason": "All 10 tries failed.",
        "created_at": "2026-01-31T12:00:00Z",
        "next_try_at": None,
        "tried": 1,
        "tries": [made | {"status": 500}],
        **more,
    }


def test_an_endpoint_is_set_shown_and_removed(service: ScriptedService, call: Caller) -> None:
    service.on("PUT /webhook", endpoint_view(secret=SECRET))
    service.on("GET /webhook", endpoint_view())
    service.on("DELETE /webhook", Reply(204))
    made = call("set_webhook", URL)
    assert (made.url, made.enabled, made.secret) == (URL, True, SECRET)
    assert SECRET not in repr(made), "it would stand in logs"
    shown = call("webhook")
    assert (shown.secret, shown.secrets[0].created_at) == (None, datetime(2026, 1, 31, 12, tzinfo=UTC))
    assert call("remove_webhook") is None
    assert service.asked("PUT /webhook")[0].json == {"url": URL}


def test_a_secret_is_rotated_with_the_service_s_overlap_or_ours(service: ScriptedService, call: Caller) -> None:
    service.on("POST /webhook/rotate", endpoint_view(None, secret=SECRET))
    assert call("rotate_webhook_secret").secret == SECRET
    call("rotate_webhook_secret", 0)
    assert [sent.json for sent in service.seen] == [{}, {"overlap_seconds": 0}]
    assert service.seen[0].headers["content-type"] == "application/json"


def test_a_refused_address_says_why(service: ScriptedService, call: Caller) -> None:
    errors = [{"loc": ["url"], "msg": "Only https addresses are called."}]
    service.on("PUT /webhook", problem(422, "Invalid", errors=errors))
    with pytest.raises(longrun.InvalidRequest) as caught:
        call("set_webhook", "http://127.0.0.1:9000/")
    assert [str(error) for error in caught.value.errors] == ["url: Only https addresses are called."]


def test_a_job_s_deliveries_have_their_tries(service: ScriptedService, call: Caller) -> None:
    later = delivery_view(id="msg_2", status="pending", tries=[], to="callback", url=URL, mood="new")
    service.on("GET /jobs/j1/deliveries", {"deliveries": [delivery_view(), later]})
    first, second = call("deliveries", "j1")
    assert (first.status, first.tries[0].status, first.tries[0].seconds) == ("exhausted", 500, 0.25)
    assert (second.url, second.tries) == (URL, ())


def test_the_undelivered_come_page_by_page(service: ScriptedService, call: Caller) -> None:
    pages = [
        {"deliveries": [delivery_view(id=name)], "next_cursor": after} for name, after in (("a", "c"), ("b", None))
    ]
    service.on("GET /webhook/undelivered", *pages)
    assert [each.id for each in call("undelivered", page_size=1)] == ["a", "b"]
    assert [sent.query for sent in service.seen] == [{"limit": "1"}, {"limit": "1", "cursor": "c"}]


def test_a_redelivery_is_asked_for_until_there_is_an_answer(service: ScriptedService, call: Caller) -> None:
    route = "POST /jobs/j1/deliveries/msg_1/redeliver"
    service.on(route, DROP, Reply(202, delivery_view(status="pending")))
    assert call("redeliver", "j1", "msg_1").status == "pending"
    assert len(service.asked(route)) == 2
    service.on(route, problem(409, "Conflict", detail="It is being tried at this moment; ask again."))
    with pytest.raises(longrun.Conflict):
        call("redeliver", "j1", "msg_1")
    with pytest.raises(longrun.InvalidInput):
        call("redeliver", "j1", "..")
