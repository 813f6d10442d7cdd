"""Stragglers: a job that has not ended within a minute comes into the index where the sweeper looks; others are never there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from common.jobs import DAY, Failure, Job, Payload, Report, Status
from common.store import Store
from common.wiring import Services
from tests.aws import Clock
from tests.handlers import Api, Worker, load_event
from tests.streams import Stream

Enlist = Callable[[], int]
Calls = list[tuple[str, dict[str, Any]]]


def listed(services: Services) -> set[str]:
    """The jobs in the index of unfinished items, however far off their time is."""
    return {one.job_id for one in services.store.overdue(services.clock() + 100 * DAY)}


def test_a_job_that_ends_within_the_minute_is_never_in_the_index(
    services: Services, api: Api, worker: Worker, enlist: Enlist, calls: Calls
) -> None:
    job_id = api.submit()["id"]
    assert not listed(services)
    worker()
    assert api.job(job_id)["status"] == "completed"
    calls.clear()
    assert enlist() == 0
    assert "UpdateItem" not in [name for name, _ in calls]
    assert not listed(services)


def test_one_that_waits_is_put_there_once_and_leaves_when_it_ends(
    services: Services, api: Api, worker: Worker, enlist: Enlist, calls: Calls
) -> None:
    job_id = api.submit()["id"]
    assert enlist() == 1
    assert listed(services) == {job_id}
    calls.clear()
    assert enlist() == 0  # the stream shows its own write, too
    assert "UpdateItem" not in [name for name, _ in calls]
    worker()
    assert api.job(job_id)["status"] == "completed"
    assert not listed(services)
    assert enlist() == 0


def test_a_delayed_job_is_there_from_the_start(services: Services, api: Api, enlist: Enlist) -> None:
    job_id = api.submit(delay_seconds=300)["id"]
    assert listed(services) == {job_id}
    assert enlist() == 0


@pytest.mark.parametrize(
    "move",
    [
        lambda store, job, now: store.renew(job, now),
        lambda store, job, now: store.put_back(job, Report(), 1.0, now),
        lambda store, job, now: store.retry(job, Failure("OSError", "once", True, 1), now + 5, Report(), now),
    ],
    ids=["renewed", "put back", "to be retried"],
)
def test_a_worker_s_job_goes_there_by_itself(
    services: Services,
    make_job: Callable[..., Job],
    clock: Clock,
    enlist: Enlist,
    calls: Calls,
    move: Callable[[Store, Job, float], Job],
) -> None:
    job = services.store.claim(make_job().id, token="t", now=clock())
    assert not listed(services)
    move(services.store, job, clock())
    assert listed(services) == {job.id}
    calls.clear()
    assert enlist() == 0
    assert "UpdateItem" not in [name for name, _ in calls]


def test_one_that_takes_an_expired_one_s_place_is_put_there(
    services: Services, make_job: Callable[..., Job], worker: Worker, clock: Clock, enlist: Enlist
) -> None:
    first = make_job(ttl_seconds=60)
    done = services.store.claim(first.id, token="t", now=clock())
    services.store.complete(done, Payload(size=2, inline="{}"), Report(), clock())
    assert enlist() == 0
    clock.advance(61)
    again = make_job(id=first.id, token="another")
    assert enlist() == 1
    assert listed(services) == {again.id}


def test_what_is_not_shown_needs_no_look(services: Services, make_job: Callable[..., Job], clock: Clock) -> None:
    stream = Stream(services, "StragglersFunction")
    job = services.store.claim(make_job().id, token="t", now=clock())
    assert [record["eventName"] for record in stream.records()] == ["INSERT"]  # not the claim
    job = services.store.renew(job, clock())
    assert len(stream.records()) == 1
    job = services.store.report(services.store.renew(job, clock()), Report(), clock())
    assert not stream.records()  # what is in there already
    services.store.complete(job, Payload(size=2, inline="{}"), Report(), clock())
    assert [record["dynamodb"]["NewImage"]["status"]["S"] for record in stream.records()] == [Status.COMPLETED]


def test_one_that_ended_between_its_record_and_the_look_stays_out(
    services: Services, make_job: Callable[..., Job], clock: Clock
) -> None:
    from functions.stragglers.enlisting import enlist

    stream = Stream(services, "StragglersFunction")
    job = make_job()
    records = stream.records()
    assert services.store.bury(replace(job, attempt=0), None, "grave", clock()) is not None
    assert enlist(services, records) == (0, [])
    assert not listed(services)


def test_a_table_that_refuses_one_is_shown_that_one_again(
    services: Services, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, entry_point: Callable[[str], Any]
) -> None:
    stream = Stream(services, "StragglersFunction")
    jobs = [make_job() for _ in range(3)]
    records = stream.records()
    app = entry_point("stragglers")
    client = app.services.store._client
    update = client.update_item

    def refuse_one(**given: Any) -> Any:
        if given["Key"]["pk"]["S"] == f"job#{jobs[1].id}":
            raise OSError("no table")
        return update(**given)

    monkeypatch.setattr(client, "update_item", refuse_one)
    number = records[1]["dynamodb"]["SequenceNumber"]
    assert app.handler({"Records": records}, None) == {"batchItemFailures": [{"itemIdentifier": number}]}
    assert listed(services) == {jobs[0].id, jobs[2].id}
    monkeypatch.undo()
    assert app.handler({"Records": records[1:]}, None) == {"batchItemFailures": []}
    assert listed(services) == {job.id for job in jobs}


def test_the_stragglers_entry_point(entry_point: Callable[[str], Any]) -> None:
    assert entry_point("stragglers").handler(load_event("stragglers"), None) == {"batchItemFailures": []}
