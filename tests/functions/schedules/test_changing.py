"""Schedules that are paused or deleted fire nothing, whatever EventBridge still does."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.wiring import Services
from functions.api import scheduling
from tests.aws import Clock
from tests.functions.schedules.conftest import Fire
from tests.functions.schedules.eventbridge import Killed, jobs, known, make, raising
from tests.handlers import Api


def test_what_is_paused_fires_nothing(api: Api, due: Fire, clock: Clock, services: Services) -> None:
    made = make(api)
    for _ in range(2):
        answer = api("POST", f"/schedules/{made['id']}/pause")
        assert (answer.status, answer.json()["status"]) == (200, "paused")
    assert known()[0]["State"] == "DISABLED"
    assert due() is None  # EventBridge was about to
    clock.advance(3600)
    assert api("POST", f"/schedules/{made['id']}/resume").json() == made
    assert known()[0]["State"] == "ENABLED"
    assert jobs(api) == []
    assert [due()] == jobs(api)


def test_what_is_deleted_is_gone_everywhere(api: Api, due: Fire) -> None:
    made = make(api)
    [told] = known()
    job_id = due()
    assert api("DELETE", f"/schedules/{made['id']}").status == 204
    assert known() == []
    assert api("GET", f"/schedules/{made['id']}").status == 404
    assert api("DELETE", f"/schedules/{made['id']}").status == 404
    assert due(ago=60, told=told) is None
    assert jobs(api) == [job_id]


def test_a_deletion_that_died_half_way_leaves_what_fires_into_nothing_and_goes(
    services: Services, api: Api, due: Fire, when_calling: Any
) -> None:
    made = make(api)
    when_calling("DeleteSchedule", raising(Killed()))
    with pytest.raises(Killed):
        scheduling.remove(services, "acme", made["id"])
    assert api("GET", "/schedules").json()["schedules"] == []
    assert len(known()) == 1
    assert due() is None
    assert (known(), jobs(api)) == ([], [])


def test_what_eventbridge_does_not_delete_now_is_deleted_for_the_owner(api: Api, when_calling: Any) -> None:
    made = make(api)
    when_calling("DeleteSchedule", raising(EndpointConnectionError(endpoint_url="x")))
    assert api("DELETE", f"/schedules/{made['id']}").status == 204
    assert api("GET", f"/schedules/{made['id']}").status == 404


def test_a_leftover_is_not_taken_for_its_successor_under_the_same_key(api: Api, due: Fire, when_calling: Any) -> None:
    made = make(api, key="daily")
    [leftover] = known()
    when_calling("DeleteSchedule", raising(EndpointConnectionError(endpoint_url="x")))
    api("DELETE", f"/schedules/{made['id']}")
    assert make(api, key="daily")["id"] == made["id"]
    assert len(known()) == 2
    assert due(told=leftover) is None
    [left] = known()
    assert left["Name"] != leftover["Name"]
    assert due() is not None
