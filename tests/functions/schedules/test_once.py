"""What is to be once is fired or missed, and says so."""

from __future__ import annotations

from common.schedules import KEPT, PATIENCE
from common.wiring import Services
from tests.aws import Clock
from tests.functions.schedules.conftest import Fire
from tests.functions.schedules.eventbridge import known, make
from tests.handlers import Api


def test_what_is_to_be_once_is_and_says_so(api: Api, due: Fire, clock: Clock, services: Services) -> None:
    made = make(api, rate=None, at="2026-11-22T11:00:00", timezone="UTC")
    assert (made["at"], made["status"]) == ("2026-11-22T11:00:00.000Z", "active")
    assert known()[0]["ActionAfterCompletion"] == "DELETE"
    clock.advance(3600)
    job_id = due()
    shown = api("GET", f"/schedules/{made['id']}").json()
    assert (shown["status"], shown["last_job"]) == ("fired", job_id)
    assert services.schedules.count("acme") == 0
    assert api("POST", f"/schedules/{made['id']}/pause").status == 409
    clock.advance(KEPT)
    assert api("GET", f"/schedules/{made['id']}").status == 404
    assert api("GET", "/schedules").json()["schedules"] == []


def test_what_was_paused_at_its_time_is_missed(api: Api, due: Fire, clock: Clock) -> None:
    made = make(api, rate=None, at="2026-11-22T11:00:00")
    assert api("POST", f"/schedules/{made['id']}/pause").json()["status"] == "paused"
    clock.advance(3600)
    assert due() is None
    clock.advance(1)
    assert api("GET", f"/schedules/{made['id']}").json()["status"] == "missed"
    assert api("POST", f"/schedules/{made['id']}/resume").status == 409


def test_what_never_fired_is_missed(api: Api, clock: Clock) -> None:
    made = make(api, rate=None, at="2026-11-22T11:00:00")
    clock.advance(3600 + 2 * PATIENCE)
    assert api("GET", f"/schedules/{made['id']}").json()["status"] == "active"
    clock.advance(1)
    assert api("GET", f"/schedules/{made['id']}").json()["status"] == "missed"
