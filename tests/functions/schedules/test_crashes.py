"""Schedules whose makers died or raced are made whole by whoever looks at them, or forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.errors import NotFound
from common.schedules import State
from common.wiring import Services
from functions.api import scheduling
from tests.functions.schedules.conftest import Fire
from tests.functions.schedules.eventbridge import HOURLY, Killed, known, make, raising, refusal
from tests.handlers import Api


@pytest.fixture
def half_made(services: Services, when_calling: Any) -> str:
    """The id of a schedule whose maker died between the table and EventBridge."""
    when_calling("CreateSchedule", raising(Killed()))
    new = scheduling.read_schedule(services, HOURLY)
    with pytest.raises(Killed):
        scheduling.make(services, "acme", new, "daily")
    assert known() == []
    [half], _ = services.schedules.list("acme", services.clock(), limit=10)
    assert half.status(services.clock()) is State.ARMING
    return half.id


def test_what_was_half_made_is_made_whole_by_looking_at_it(api: Api, half_made: str, services: Services) -> None:
    assert api.as_owner(services, "other")("GET", f"/schedules/{half_made}").status == 404
    assert known() == []
    assert api("GET", f"/schedules/{half_made}").json()["status"] == "active"
    assert known()[0]["Name"].startswith(half_made)


def test_what_was_half_made_is_made_whole_by_listing_it(api: Api, half_made: str) -> None:
    [listed] = api("GET", "/schedules").json()["schedules"]
    assert (listed["id"], listed["status"], len(known())) == (half_made, "active", 1)


def test_what_was_half_made_is_made_whole_by_trying_again(api: Api, half_made: str) -> None:
    assert make(api, key="daily")["id"] == half_made
    assert len(known()) == 1


def test_what_was_half_made_can_be_deleted(api: Api, half_made: str) -> None:
    assert api("DELETE", f"/schedules/{half_made}").status == 204


def test_what_was_half_made_and_cannot_be_is_forgotten(api: Api, half_made: str, when_calling: Any) -> None:
    when_calling("CreateSchedule", raising(refusal("Invalid Schedule Expression")))
    assert api("GET", f"/schedules/{half_made}").status == 404
    assert api("GET", "/schedules").json()["schedules"] == []


def test_eventbridge_is_told_again_when_the_mark_was_lost(
    services: Services, api: Api, monkeypatch: pytest.MonkeyPatch, due: Fire
) -> None:
    new = scheduling.read_schedule(services, HOURLY)
    with monkeypatch.context() as patch:
        patch.setattr(services.store._client, "update_item", raising(Killed()))
        with pytest.raises(Killed):
            scheduling.make(services, "acme", new, "daily")
    assert len(known()) == 1
    assert due() is not None  # it is in force already
    assert make(api, key="daily")["status"] == "active"
    assert len(known()) == 1


def test_an_eventbridge_that_does_not_answer_is_a_503_that_is_safe_to_repeat(api: Api, when_calling: Any) -> None:
    for _ in range(2):
        when_calling("CreateSchedule", raising(EndpointConnectionError(endpoint_url="x")))
        answer = api("POST", "/schedules", json=HOURLY, headers={"idempotency-key": "daily"})
        assert answer.status == 503
    instance = answer.json()["instance"]
    when_calling("CreateSchedule", raising(EndpointConnectionError(endpoint_url="x")))
    assert api("GET", instance).json()["status"] == "arming"
    assert f"/schedules/{make(api, key='daily')['id']}" == instance


def test_of_a_pause_and_a_resumption_at_once_the_table_s_last_word_counts(
    api: Api, services: Services, when_calling: Any
) -> None:
    made = make(api)
    # The pause is told to EventBridge only after the resumption, which came later, has been told.
    when_calling("UpdateSchedule", lambda: scheduling.pause(services, "acme", made["id"], paused=False))
    assert scheduling.pause(services, "acme", made["id"], paused=True).status(services.clock()) is State.ACTIVE
    assert known()[0]["State"] == "ENABLED"
    assert api("GET", f"/schedules/{made['id']}").json()["status"] == "active"


def test_what_is_deleted_while_it_is_made_leaves_nothing(services: Services, when_calling: Any) -> None:
    def delete() -> None:
        [half], _ = services.schedules.list("acme", services.clock(), limit=10)
        scheduling.remove(services, "acme", half.id)

    when_calling("CreateSchedule", delete)
    with pytest.raises(NotFound):
        scheduling.make(services, "acme", scheduling.read_schedule(services, HOURLY), None)
    assert known() == []
