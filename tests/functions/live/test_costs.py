"""What watching costs: calls, a job's own writes, and time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from common.wiring import Services
from functions.live.handling import MARGIN
from functions.notifier.live import LIMIT, push
from functions.notifier.records import job_change
from tests.aws import RESOURCES, Clock
from tests.functions.live.watching import Notify, Page, Talker, count_calls
from tests.handlers import Api
from tests.streams import Stream


def test_a_job_that_nobody_watches_costs_no_call(
    services: Services, talker: Talker, stream: Notify, unread: Stream
) -> None:
    stream()
    talker.says(3)
    talker.ends()
    changes = [change for record in unread.records() if (change := job_change(record))]
    assert len(changes) == 1, "what is said is nobody's affair: the template's filters let the end alone through"
    assert count_calls(services, lambda: push(services, changes)) == []


def test_many_changes_of_one_batch_are_one_push(page: Page, services: Services, talker: Talker, stream: Notify) -> None:
    page.subscribe(talker.job.id)
    stream()
    for _ in range(10):
        talker.says()
    assert count_calls(services, stream) == ["Query", "Query", "UpdateItem"]
    assert len([message for message in page.heard if "events" in message]) == 2


def test_watching_is_no_change_that_a_client_sees(page: Page, api: Api, talker: Talker, clock: Clock) -> None:
    before = api("GET", f"/jobs/{talker.job.id}")
    clock.advance(1)
    page.subscribe(talker.job.id)
    after = api("GET", f"/jobs/{talker.job.id}")
    assert (after.headers["etag"], after.json()) == (before.headers["etag"], before.json())


def test_the_worker_s_own_writes_come_first(page: Page, services: Services, talker: Talker, stream: Notify) -> None:
    refusals = iter([True, True])

    def conflict(model: Any, params: dict[str, Any], **_: Any) -> Any:
        if b"watched_until" in params["body"] and next(refusals, False):
            error = {"Error": {"Code": "TransactionConflictException", "Message": "ongoing"}}
            return SimpleNamespace(status_code=400, headers={}), error | {"ResponseMetadata": {}}
        return None

    events = services.store._client.meta.events
    events.register("before-call.dynamodb.UpdateItem", conflict)
    page.subscribe(talker.job.id)
    events.unregister("before-call.dynamodb.UpdateItem", conflict)
    assert next(refusals, None) is None
    talker.says()
    stream()
    assert page.numbers(talker.job) == [1, 2, 3]


def test_functions_may_run_for_as_long_as_they_need() -> None:
    notifier, live = (RESOURCES[name]["Properties"] for name in ("NotifierFunction", "LiveFunction"))
    assert notifier["Timeout"] > 2 * LIMIT
    gateway = RESOURCES["LiveApi"]["Properties"]["Routes"]["$default"]["IntegrationTimeout"] / 1000
    assert 2 * MARGIN < live["Timeout"] <= gateway
