"""A client that asks for what it may not have, or says what is no message, is answered with a problem."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from common.jobs import new_id
from common.live import MAX_JOBS, MAX_WATCHERS, Connection
from common.wiring import Services
from tests.aws import Clock
from tests.functions.live.watching import Page, Talker
from tests.handlers import Api


def test_another_s_job_is_a_job_that_there_is_not(page: Page, api: Api, make_job: Any) -> None:
    foreign = make_job(owner="other").id
    for job_id in (foreign, new_id(), "nonsense"):
        page.subscribe(job_id)
    answer = api("GET", f"/jobs/{new_id()}").json()
    problems = [message["problem"] for message in page.heard]
    assert problems == [{name: answer[name] for name in ("status", "title", "detail")}] * 3
    assert page.heard[0]["job"] == foreign


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "hello",
        "[]",
        "{}",
        "[" * 4_000,
        "{" + '"a":' * 1_500,
        '{"action": "subscribe"}',
        '{"action": "subscribe", "job": 7}',
        '{"action": "subscribe", "job": null}',
        '{"action": ["subscribe"]}',
        '{"action": "delete", "job": "0123456789abcdef0123456789abcdef"}',
        *(
            f'{{"action": "subscribe", "job": "0123456789abcdef0123456789abcdef", "after": {after}}}'
            for after in ("-1", "1.0", "true", '"1"', "null", "100000000", "NaN", "9" * 3_000)
        ),
        '{"action": "ping"}' + " " * 5_000,
    ],
)
def test_what_is_no_message_is_answered_with_a_problem(page: Page, text: str | None) -> None:
    page.says(text)
    (message,) = page.heard
    assert message["job"] is None
    assert message["problem"]["status"] == 400
    assert len(message["problem"]["detail"]) < 100


def test_a_table_that_does_not_answer_is_a_problem(page: Page, services: Services, talker: Talker) -> None:
    def fail(**_: Any) -> Any:
        error = {"Error": {"Code": "AccessDeniedException", "Message": "no"}, "ResponseMetadata": {}}
        return SimpleNamespace(status_code=400, headers={}), error

    events = services.store._client.meta.events
    events.register("before-call.dynamodb.*", fail)
    page.subscribe(talker.job.id)
    events.unregister("before-call.dynamodb.*", fail)
    assert page.heard[-1]["problem"]["status"] == 503
    page.subscribe(talker.job.id)
    assert page.heard[-1]["live"]


def test_a_connection_watches_so_many_jobs_and_no_more(page: Page, make_job: Any) -> None:
    jobs = [make_job() for _ in range(MAX_JOBS + 1)]
    for job in jobs:
        page.subscribe(job.id)
    assert page.heard[-1]["problem"]["status"] == 409
    assert str(MAX_JOBS) in page.heard[-1]["problem"]["detail"]
    page.subscribe(jobs[0].id)  # which it has
    assert page.heard[-1]["live"]
    page.says({"action": "unsubscribe", "job": jobs[0].id})
    page.subscribe(jobs[-1].id)
    assert page.heard[-1] == {"job": jobs[-1].id, "live": True, "last_event": 1}


def test_so_many_watch_a_job_and_no_more(page: Page, services: Services, make_job: Any, clock: Clock) -> None:
    job = make_job()
    for n in range(MAX_WATCHERS):
        connection = Connection(f"c{n}", "acme", jobs=frozenset([job.id]))
        services.subscriptions.begin(connection, job, 0, clock())
    page.subscribe(job.id)
    assert page.heard[-1]["problem"]["status"] == 409
    clock.advance(3 * 3_600)  # those are long over, though nobody has noticed
    page.subscribe(job.id)
    assert page.heard[-1]["live"]
