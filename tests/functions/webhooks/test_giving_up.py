"""When nobody is told any more: the endpoint is disabled or the job deleted, and what was missed is shown."""

from __future__ import annotations

from collections.abc import Callable

from common.deliveries import State
from common.jobs import DAY, Job
from common.webhooks import SCHEDULE
from common.wiring import Services
from tests.aws import Clock
from tests.functions.webhooks.conftest import scripted
from tests.handlers import Api
from tests.post import Post
from tests.receiver import receiving


def test_410_disables_the_endpoint_and_what_comes_after_is_shown_as_undelivered(
    post: Post, laptop: Services, clock: Clock, make_job: Callable[..., Job], end: Callable[..., Job], api: Api
) -> None:
    with receiving(scripted(410, 200)) as receiver:
        laptop.endpoints.set_url("acme", receiver.url, clock())
        first = end(make_job())
        post.run(DAY)
        assert not laptop.endpoints.get("acme").is_enabled
        second = end(make_job())
        post.run(DAY / 2)
        assert len(receiver.received) == 1
        found = api("GET", "/webhook/undelivered").json()["deliveries"]
        assert [each["job"] for each in found] == [second.id, first.id]
        assert "410" in found[1]["reason"]
        assert "disabled" in found[0]["reason"]
        # Mended: enabled again, and what was missed is sent on demand, under its own id.
        laptop.endpoints.set_url("acme", receiver.url, clock())
        for each in found:
            path = f"/jobs/{each['job']}/deliveries/{each['id']}/redeliver"
            assert api("POST", path).status == 202
        post.run(1)
        assert {each.headers["webhook-id"] for each in receiver.received[1:]} == {each["id"] for each in found}
        assert api("GET", "/webhook/undelivered").json()["deliveries"] == []


def test_an_endpoint_with_nothing_but_failures_is_disabled_after_five_days(
    post: Post, laptop: Services, clock: Clock, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    with receiving(scripted(500)) as receiver:
        laptop.endpoints.set_url("acme", receiver.url, clock())
        jobs = [end(make_job(ttl_seconds=10 * DAY))]
        for _ in range(5):
            post.run(DAY)
            assert laptop.endpoints.get("acme").is_enabled
            jobs.append(end(make_job(ttl_seconds=10 * DAY)))
        post.run(DAY)
    endpoint = laptop.endpoints.get("acme")
    assert not endpoint.is_enabled
    assert "Nothing but failures" in (endpoint.disabled_reason or "")
    first = post.delivery(jobs[0].id)
    assert (first.state, first.tried) == (State.EXHAUSTED, len(SCHEDULE) + 1)
    assert first.reason == "All 10 tries failed."


def test_a_delivery_outlives_its_job(
    post: Post, clock: Clock, make_job: Callable[..., Job], end: Callable[..., Job], api: Api, services: Services
) -> None:
    with receiving(scripted(500, 500, 500, 200)) as receiver:
        job = end(make_job(callback_url=receiver.url, ttl_seconds=60))
        post.run(DAY)
        assert len(receiver.received) == 4
    assert api("GET", f"/jobs/{job.id}").status == 404
    found = api("GET", f"/jobs/{job.id}/deliveries").json()["deliveries"]
    assert [each["status"] for each in found] == ["delivered"]
    assert api.as_owner(services, "other")("GET", f"/jobs/{job.id}/deliveries").status == 404


def test_deleting_a_job_ends_its_webhooks(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job], api: Api
) -> None:
    with receiving(scripted(500)) as receiver:
        job = end(make_job(callback_url=receiver.url))
        post.run(1)
        assert api("DELETE", f"/jobs/{job.id}").status == 204
        post.run(DAY)
        assert len(receiver.received) == 1
