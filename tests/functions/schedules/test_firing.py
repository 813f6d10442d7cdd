"""Each firing makes its one job, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.jobs import Job
from common.scheduler import SCHEDULED_TIME
from common.schedules import MIN_TTL, PATIENCE
from common.wiring import Services
from functions.scheduled.firing import Firing, NotAFiring, fire
from tests.aws import RESOURCES, Clock, message_count
from tests.functions.schedules.conftest import Fire
from tests.functions.schedules.eventbridge import Killed, event_of, jobs, known, make, raising
from tests.handlers import Api, Worker, load_event


def test_a_firing_makes_its_job_once(
    api: Api, due: Fire, services: Services, clock: Clock, make_worker: Callable[..., Worker]
) -> None:
    made = make(api, metadata={"team": "a"}, timeout_seconds=60, max_cost_usd=0.5, input={"n": 1.50, "text": "ü"})
    clock.advance(3600)
    job_id = due()
    assert job_id is not None
    assert [due(), due()] == [job_id, job_id]
    assert (jobs(api), message_count(services)) == ([job_id], 1)
    make_worker()()
    job = api.job(job_id)
    assert (job["status"], job["result"], job["metadata"]) == ("completed", {"n": 1.50, "text": "ü"}, {"team": "a"})
    assert (job["timeout_seconds"], job["created_at"]) == (60, "2026-11-22T11:00:00.000Z")
    stored = services.store.get(job_id, clock())
    assert stored is not None
    assert stored.budget.max_cost_nano_usd == 500_000_000
    shown = api("GET", f"/schedules/{made['id']}").json()
    assert (shown["last_job"], shown["last_fired_at"]) == (job_id, "2026-11-22T11:00:00.000Z")


def test_each_firing_makes_a_job_of_its_own(api: Api, due: Fire, clock: Clock, services: Services) -> None:
    make(api)
    made = []
    for _ in range(3):
        clock.advance(3600)
        made.append(due())
    assert sorted(made) == sorted(jobs(api))  # type: ignore[type-var]
    assert len(set(made)) == message_count(services) == 3


def test_many_who_fire_at_once_make_one_job(api: Api, services: Services, clock: Clock) -> None:
    make(api)
    firing = Firing.from_event(event_of(known()[0], clock()))
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: fire(services, firing), range(8)))
    assert made == set(jobs(api))
    assert (len(made), message_count(services)) == (1, 1)


def test_a_firing_that_comes_again_makes_no_second_job_though_the_first_is_forgotten(
    api: Api, due: Fire, make_worker: Callable[..., Worker]
) -> None:
    make(api)
    job_id = due()
    make_worker()()
    assert api("DELETE", f"/jobs/{job_id}").status == 204
    assert due() == job_id
    assert jobs(api) == []


def test_a_firing_that_comes_late_is_made_good_and_is_not_the_last(api: Api, due: Fire, clock: Clock) -> None:
    made = make(api, rate="1 minute")
    clock.advance(600)
    latest, late = due(), due(ago=120)
    assert due(ago=120) == late
    assert sorted([latest, late]) == sorted(jobs(api))  # type: ignore[type-var]
    assert api("GET", f"/schedules/{made['id']}").json()["last_job"] == latest


def test_a_job_is_stored_so_long_that_a_late_repetition_finds_it() -> None:
    config = RESOURCES["ScheduledFunction"]["Properties"]["EventInvokeConfig"]
    assert config["MaximumEventAgeInSeconds"] == PATIENCE
    assert MIN_TTL > 2 * PATIENCE


def test_a_large_input_is_fired_as_it_was_given(api: Api, due: Fire) -> None:
    given = {"text": "ü" * 40_000}
    make(api, input=given)
    job_id = due()
    assert api("GET", f"/jobs/{job_id}/input").json() == given


def test_a_priority_is_the_job_s(api: Api, due: Fire, services: Services, clock: Clock) -> None:
    make(api, priority="high")
    job_id = due()
    assert job_id is not None
    job: Job | None = services.store.get(job_id, clock())
    assert job is not None
    assert job.priority == "high"
    assert message_count(services) == 0  # it is in the other queue


def test_a_queue_that_refuses_leaves_the_job_to_the_sweeper(
    api: Api, due: Fire, services: Services, clock: Clock, sweep: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(api)
    with monkeypatch.context() as patch:
        patch.setattr(
            services.webhook_queue._client,
            "send_message",
            raising(EndpointConnectionError(endpoint_url="x")),
        )
        job_id = due()
    assert jobs(api) == [job_id]
    clock.advance(61)
    assert sweep() == 1


def test_a_function_that_dies_before_it_notes_the_job_is_repeated(
    api: Api, services: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(api)
    firing = Firing.from_event(event_of(known()[0], clock()))
    with monkeypatch.context() as patch:
        patch.setattr(services.store._client, "update_item", raising(Killed()))
        with pytest.raises(Killed):
            fire(services, firing)
    job_id = fire(services, firing)
    assert (jobs(api), message_count(services)) == ([job_id], 1)
    assert api("GET", f"/schedules/{made['id']}").json()["last_job"] == job_id


@pytest.mark.parametrize(
    "changes",
    [
        {"at": SCHEDULED_TIME},
        {"at": None},
        {"at": "2026-11-22T10:05:00"},
        {"owner": 5},
        {"schedule": "x"},
        {"token": []},
    ],
)
def test_what_is_no_firing_ends_in_the_dead_letters(
    scheduled: Callable[[dict[str, Any]], str | None], changes: dict[str, Any]
) -> None:
    with pytest.raises(NotAFiring):
        scheduled(load_event("scheduled") | changes)


def test_an_event_of_an_unknown_schedule_does_nothing(
    scheduled: Callable[[dict[str, Any]], str | None], services: Services
) -> None:
    assert scheduled(load_event("scheduled")) is None
    assert message_count(services) == 0
