"""Looking at jobs: one's own only, never an expired one, and cheaply when nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common.jobs import DAY, Job
from common.wiring import Services
from tests.aws import Clock
from tests.handlers import Api, Worker


def test_an_unchanged_job_is_one_cheap_read_and_a_304(api: Api, calls: list[tuple[str, dict[str, Any]]]) -> None:
    job = api.submit()
    first = api("GET", f"/jobs/{job['id']}")
    calls.clear()

    again = api("GET", f"/jobs/{job['id']}", headers={"if-none-match": first.headers["etag"]})

    assert (again.status, again.text) == (304, "")
    assert again.headers["etag"] == first.headers["etag"]
    assert [(name, given["ConsistentRead"]) for name, given in calls] == [("GetItem", False)]


def test_the_tag_changes_with_the_job(api: Api, worker: Worker) -> None:
    job = api.submit()
    tag = api("GET", f"/jobs/{job['id']}").headers["etag"]
    worker()
    answer = api("GET", f"/jobs/{job['id']}", headers={"if-none-match": tag})
    assert (answer.status, answer.json()["status"]) == (200, "completed")
    assert "retry-after" not in answer.headers


def test_the_worker_s_renewals_do_not_change_the_tag(
    api: Api, services: Services, make_job: Callable[..., Job]
) -> None:
    job = services.store.claim(make_job().id, token="w", now=services.clock())
    tag = api("GET", f"/jobs/{job.id}").headers["etag"]
    services.store.renew(job, services.clock())
    assert api("GET", f"/jobs/{job.id}", headers={"if-none-match": tag}).status == 304


def test_clients_are_told_to_ask_less_often_as_a_job_grows_old(api: Api, clock: Clock) -> None:
    job = api.submit()
    clock.advance(50)
    assert api("GET", f"/jobs/{job['id']}").headers["retry-after"] == "5"
    clock.advance(5_000)
    assert api("GET", f"/jobs/{job['id']}").headers["retry-after"] == "15"


def test_running_is_only_said_while_somebody_holds_the_lease(
    api: Api, services: Services, make_job: Callable[..., Job], clock: Clock
) -> None:
    job = services.store.claim(make_job().id, token="w", now=clock())
    before = api("GET", f"/jobs/{job.id}")
    assert before.json()["status"] == "running"
    clock.advance(61)
    after = api("GET", f"/jobs/{job.id}", headers={"if-none-match": before.headers["etag"]})
    assert after.json()["status"] == "pending"


ROUTES = [
    ("GET", "/jobs/{}"),
    ("GET", "/jobs/{}/result"),
    ("GET", "/jobs/{}/input"),
    ("POST", "/jobs/{}/cancel"),
    ("DELETE", "/jobs/{}"),
]


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_unknown_foreign_and_expired_jobs_are_the_same_404(
    api: Api, services: Services, worker: Worker, clock: Clock, method: str, route: str
) -> None:
    foreign = api.as_owner(services, "other").submit()["id"]
    expired = api.submit(ttl_seconds=1)["id"]
    worker()
    clock.advance(1)

    answers = [api(method, route.format(job_id)) for job_id in (foreign, expired, "f" * 32, "no-id", "%2e%2e")]

    assert {answer.status for answer in answers} == {404}
    assert len({(answer.json()["title"], answer.json()["detail"]) for answer in answers}) == 1


def test_a_list_is_newest_first_and_pages(api: Api, clock: Clock) -> None:
    made = []
    for _ in range(5):
        made.append(api.submit()["id"])
        clock.advance(1)

    first = api("GET", "/jobs", limit=2).json()
    second = api("GET", "/jobs", limit=2, cursor=first["next_cursor"]).json()
    third = api("GET", "/jobs", limit=2, cursor=second["next_cursor"]).json()

    listed = [job["id"] for page in (first, second, third) for job in page["jobs"]]
    assert listed == made[::-1]
    assert third["next_cursor"] is None


def test_a_list_filters(api: Api, worker: Worker, clock: Clock) -> None:
    done = api.submit()["id"]
    worker()
    clock.advance(1)
    open_ones = [api.submit(delay_seconds=10 + n)["id"] for n in range(3)]

    assert [job["id"] for job in api("GET", "/jobs", status="completed").json()["jobs"]] == [done]
    pending = api("GET", "/jobs", status="pending", limit=2).json()
    rest = api("GET", "/jobs", status="pending", limit=2, cursor=pending["next_cursor"]).json()
    assert {job["id"] for page in (pending, rest) for job in page["jobs"]} == set(open_ones)
    assert api("GET", "/jobs", task="nope").json() == {"jobs": [], "next_cursor": None}


@pytest.fixture
def busy_table(services: Services, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A table that answers a look at many jobs for as many of them as the list says, call after call; then for all."""
    monkeypatch.setattr("common.reads.PAUSES", (0, 0, 0))
    room: list[int] = []

    def answer_in_part(parsed: dict[str, Any], **_: Any) -> None:
        if room:
            ((table, items),) = parsed["Responses"].items()
            late = items[room.pop(0) :]
            del items[len(items) - len(late) :]
            keys = [{"pk": item["pk"], "sk": {"S": "job"}} for item in late]
            parsed["UnprocessedKeys"] = {table: {"Keys": keys}} if keys else {}

    events = services.store._client.meta.events
    events.register("after-call.dynamodb.BatchGetItem", answer_in_part, unique_id="busy table")
    return room


def test_a_list_waits_for_a_table_that_is_busy(api: Api, busy_table: list[int]) -> None:
    made = {api.submit()["id"] for _ in range(5)}
    busy_table += [2, 0]
    assert {job["id"] for job in api("GET", "/jobs").json()["jobs"]} == made
    assert not busy_table


def test_a_table_that_stays_busy_is_said_to_be_so(api: Api, busy_table: list[int]) -> None:
    api.submit()
    busy_table += [0, 0, 0]
    answer = api("GET", "/jobs")
    assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")


def test_a_list_shows_what_the_table_has(api: Api, services: Services, worker: Worker) -> None:
    job = api.submit()["id"]
    for status in ("pending", "completed"):
        assert [(each["id"], each["status"]) for each in api("GET", "/jobs").json()["jobs"]] == [(job, status)]
        worker()


def test_a_list_shows_the_caller_s_own_living_jobs(api: Api, services: Services, worker: Worker, clock: Clock) -> None:
    api.as_owner(services, "other").submit()
    api.submit(ttl_seconds=5)
    worker()
    kept = api.submit()["id"]
    clock.advance(6)
    assert [job["id"] for job in api("GET", "/jobs").json()["jobs"]] == [kept]


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"status": "lost"}, {"cursor": "junk"}]
)
def test_a_wrong_list_request_is_refused(api: Api, query: dict[str, Any]) -> None:
    answer = api("GET", "/jobs", **query)
    assert answer.status in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_cursor_leads_to_nobody_else_s_jobs(api: Api, services: Services, clock: Clock) -> None:
    other = api.as_owner(services, "other")
    for _ in range(3):
        other.submit()
        clock.advance(1)
    cursor = other("GET", "/jobs", limit=1).json()["next_cursor"]
    assert api("GET", "/jobs", cursor=cursor).json()["jobs"] == []


def test_a_result_stands_alone(api: Api, worker: Worker) -> None:
    job = api.submit("echo", {"a": [1, None, "ü"]})
    early = api("GET", f"/jobs/{job['id']}/result")
    assert (early.status, early.json()["status"]) == (409, 409)
    worker()
    answer = api("GET", f"/jobs/{job['id']}/result")
    assert (answer.status, answer.json()) == (200, {"a": [1, None, "ü"]})


@pytest.mark.parametrize("size", [900, 50_000, 300_000, 3_000_000])
def test_payloads_of_any_size_come_back_equal(api: Api, worker: Worker, services: Services, size: int) -> None:
    sent = {"v": "ü" * (size // 2)}
    job = api.submit("echo", sent)
    worker()

    done = api.job(job["id"])
    answer = api("GET", f"/jobs/{job['id']}/result")

    assert done["status"] == "completed"
    if size <= 100_000:
        assert done["result"] == answer.json() == done["input"] == sent
    else:
        assert done["result"] is None
        assert done["result_link"] == f"/jobs/{job['id']}/result"
        assert answer.status == 303
        assert "X-Amz-Signature" in answer.headers["location"]


def test_deleting_forgets_everything(api: Api, worker: Worker, services: Services) -> None:
    job = api.submit("echo", {"v": "x" * 300_000})
    assert api("DELETE", f"/jobs/{job['id']}").status == 409
    worker()

    assert api("DELETE", f"/jobs/{job['id']}").status == 204

    assert api("GET", f"/jobs/{job['id']}").status == 404
    assert everything_of(services, job["id"]) == []


def everything_of(services: Services, job_id: str) -> list[Any]:
    from tests.aws import client

    items = client("dynamodb").scan(TableName=services.settings.table_name)["Items"]
    blobs: list[Any] = client("s3").list_objects_v2(Bucket=services.settings.bucket_name).get("Contents", [])
    return [item for item in items if job_id in item["pk"]["S"]] + blobs


def test_a_job_stays_as_long_as_it_is_unfinished(api: Api, clock: Clock) -> None:
    job = api.submit(ttl_seconds=1)
    clock.advance(30 * DAY)
    assert api.job(job["id"])["status"] == "pending"
