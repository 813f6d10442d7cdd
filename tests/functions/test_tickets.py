"""Tickets open the reading of events, for a while, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from mangum import Mangum

from common.jobs import Job
from common.wiring import Services
from functions.api.application import create_app
from tests.aws import Clock, client
from tests.handlers import Answer, Api


@pytest.fixture
def job(make_job: Callable[..., Job]) -> Job:
    """A job of acme's."""
    return make_job()


def ticket(api: Api, **wanted: Any) -> str:
    answer = api("POST", "/live-ticket", json=wanted)
    assert answer.status == 201, answer.text
    return str(answer.json()["ticket"])


def read(api: Api, job_id: str, ticket: str, **headers: str) -> Answer:
    return api("GET", f"/jobs/{job_id}/events", ticket=ticket, headers=headers)


def test_a_ticket_reads_its_owner_s_events_without_a_key(api: Api, anybody: Api, job: Job) -> None:
    given = ticket(api)
    answer = read(anybody, job.id, given)
    assert [event["seq"] for event in answer.json()["events"]] == [1]
    again = read(anybody, job.id, given, accept="text/event-stream")
    assert again.headers["content-type"].startswith("text/event-stream")
    assert "id: 1\n" in again.text


def test_the_answer_says_how_long_and_where(services: Services, clock: Clock) -> None:
    named = replace(services, settings=replace(services.settings, live_url="wss://live.example"))
    api = Api(Mangum(create_app(named), lifespan="off")).as_owner(services, "acme")
    answer = api("POST", "/live-ticket", json={"seconds": 3_600})
    assert answer.json()["url"] == "wss://live.example"
    assert answer.json()["expires_at"] == "2026-11-22T11:00:00.000Z"
    assert answer.headers["cache-control"] == "no-store"


def test_without_a_web_socket_there_is_no_address(api: Api) -> None:
    assert api("POST", "/live-ticket", json={}).json()["url"] is None


def test_a_ticket_ends_with_its_time_not_with_its_use(api: Api, anybody: Api, job: Job, clock: Clock) -> None:
    given, longer = ticket(api), ticket(api, seconds=120)
    clock.advance(59)
    assert [read(anybody, job.id, given).status for _ in range(2)] == [200, 200]
    clock.advance(1)
    assert [read(anybody, job.id, each).status for each in (given, longer)] == [401, 200]


def test_a_ticket_of_one_job_opens_no_other(
    api: Api, anybody: Api, services: Services, job: Job, make_job: Callable[..., Job]
) -> None:
    other, foreign = make_job(), make_job(owner="other")
    one, every = ticket(api, job=job.id), ticket(api)
    assert [read(anybody, each.id, one).status for each in (job, other, foreign)] == [200, 404, 404]
    assert [read(anybody, each.id, every).status for each in (job, other, foreign)] == [200, 200, 404]


def test_a_ticket_opens_nothing_but_events(api: Api, anybody: Api, job: Job) -> None:
    given = ticket(api)
    for method, path in (("GET", f"/jobs/{job.id}"), ("POST", f"/jobs/{job.id}/cancel"), ("POST", "/live-ticket")):
        assert anybody(method, path, ticket=given).status == 401
        assert anybody(method, path, headers={"authorization": f"Bearer {given}"}).status == 401


def test_a_wrong_ticket_is_wrong_with_a_key_and_on_a_laptop_too(api: Api, open_api: Api, job: Job) -> None:
    for wrong in ("", "lt_", "lt_" + "x" * 43, "\N{SNOWMAN}", "x" * 5_000):
        assert {read(caller, job.id, wrong).status for caller in (api, open_api)} == {401}


def test_there_is_no_ticket_for_another_s_job(api: Api, services: Services, job: Job) -> None:
    stranger = api.as_owner(services, "other")
    answers = [stranger("POST", "/live-ticket", json={"job": job_id}) for job_id in (job.id, "f" * 32, "x")]
    assert [answer.status for answer in answers] == [404, 404, 404]
    assert len({answer.json()["detail"] for answer in answers}) == 1


@pytest.mark.parametrize(
    "wrong", [{"seconds": 59}, {"seconds": 3_601}, {"seconds": "60"}, {"owner": "x"}, [], {"job": 1}]
)
def test_what_cannot_be_a_ticket_is_refused(api: Api, wrong: Any) -> None:
    assert api("POST", "/live-ticket", json=wrong).status == 422


def test_the_ticket_itself_is_neither_kept_nor_logged(
    api: Api, anybody: Api, services: Services, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        given = ticket(api)
        read(anybody, job.id, given)
        read(anybody, "x", given, accept="text/event-stream")
        read(anybody, job.id, given + "x")
    rows = client("dynamodb").scan(TableName=services.settings.table_name)["Items"]
    logged = str([vars(record) for record in caplog.records])
    assert "/events" in logged
    assert given[3:] not in str(rows) + logged
