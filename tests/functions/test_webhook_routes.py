"""The API's face of webhooks: what may be set, what is shown, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from mangum import Mangum

from common.jobs import Job
from common.wiring import Services
from functions.api.application import create_app
from tests.aws import Clock
from tests.handlers import Api, anywhere
from tests.unit.test_egress_cases import World, rows

HOOK = "https://hooks.example.com/longrun"


def test_the_secret_is_shown_once(api: Api) -> None:
    assert api("GET", "/webhook").json() == {
        "url": None,
        "enabled": False,
        "created_at": None,
        "disabled_at": None,
        "disabled_reason": None,
        "failing_since": None,
        "secrets": [],
    }
    first = api("PUT", "/webhook", json={"url": HOOK})
    assert first.status == 200
    assert first.json()["secret"].startswith("whsec_")
    assert api("PUT", "/webhook", json={"url": f"{HOOK}/2"}).json()["secret"] is None
    shown = api("GET", "/webhook")
    assert (shown.json()["url"], shown.json()["enabled"]) == (f"{HOOK}/2", True)
    assert "whsec_" not in shown.text


def test_rotating_shows_the_new_secret_and_both_sign(api: Api, clock: Clock) -> None:
    api("PUT", "/webhook", json={"url": HOOK})
    rotated = api("POST", "/webhook/rotate", json={"overlap_seconds": 60}).json()
    assert rotated["secret"].startswith("whsec_")
    assert [each["signs_until"] is None for each in rotated["secrets"]] == [True, False]
    clock.advance(61)
    assert len(api("GET", "/webhook").json()["secrets"]) == 1


def test_a_secret_can_be_had_without_an_endpoint(api: Api) -> None:
    """For receivers of callbacks, who want to verify them too."""
    assert api("POST", "/webhook/rotate").json()["secret"].startswith("whsec_")
    assert api("GET", "/webhook").json()["url"] is None


def test_too_many_secrets_are_refused_but_a_leaked_one_can_always_be_ended(api: Api) -> None:
    statuses = [api("POST", "/webhook/rotate").status for _ in range(6)]
    assert statuses == [200, 200, 200, 200, 409, 409]
    ended = api("POST", "/webhook/rotate", json={"overlap_seconds": 0})
    assert (ended.status, len(ended.json()["secrets"])) == (200, 1)


def test_removing_the_endpoint_keeps_the_secret(api: Api) -> None:
    api("PUT", "/webhook", json={"url": HOOK})
    assert api("DELETE", "/webhook").status == 204
    assert api("DELETE", "/webhook").status == 204
    shown = api("GET", "/webhook").json()
    assert (shown["url"], len(shown["secrets"])) == (None, 1)
    assert api("PUT", "/webhook", json={"url": HOOK}).json()["secret"] is None


@pytest.mark.parametrize(
    "body",
    [{}, {"url": None}, {"url": 5}, {"url": HOOK, "secret": "x"}, [], "x", {"url": ""}, {"url": "x" * 3000}],
)
def test_nonsense_is_refused(api: Api, body: Any) -> None:
    assert api("PUT", "/webhook", json=body).status == 422
    assert api("GET", "/webhook").json()["url"] is None


@pytest.mark.parametrize(
    "body", [{"overlap_seconds": -1}, {"overlap_seconds": 604_801}, {"overlap": 5}, {"overlap_seconds": "9"}]
)
def test_no_other_rotation_is_known(api: Api, body: Any) -> None:
    assert api("POST", "/webhook/rotate", json=body).status == 422


def test_what_must_be_blocked_is_refused_at_registration(api: Api, services: Services) -> None:
    for case in rows("must_block", "policy_block"):
        app = create_app(services, resolve=World(case).resolve)
        answer = Api(Mangum(app, lifespan="off"), api.headers)("PUT", "/webhook", json={"url": case.url})
        assert answer.status == 422, case


def test_callbacks_are_judged_by_their_text_at_submission(api: Api) -> None:
    """A submission looks no names up; where they lead is judged at every delivery."""
    for case in rows("must_block", "policy_block"):
        if case.category != "dns":
            job = {"task": "echo", "input": {}, "callback_url": case.url}
            assert api("POST", "/jobs", json=job).status == 422, case
            prompt = {"prompt": "hi", "callback_url": case.url}
            assert api("POST", "/agent/submit-with-callback", json=prompt).status == 422, case


def test_what_is_allowed_can_be_registered(api: Api, services: Services) -> None:
    for case in rows("allow"):
        app = create_app(services, resolve=World(case).resolve)
        answer = Api(Mangum(app, lifespan="off"), api.headers)("PUT", "/webhook", json={"url": case.url})
        assert answer.status == 200, case


def test_loopback_is_for_laptops(api: Api, services: Services) -> None:
    local = {"url": "http://127.0.0.1:9000/hook"}
    assert api("PUT", "/webhook", json=local).status == 422
    settings = replace(services.settings, loopback=True)
    laptop = Api(
        Mangum(create_app(replace(services, settings=settings), resolve=anywhere), lifespan="off"), api.headers
    )
    assert laptop("PUT", "/webhook", json=local).status == 200
    assert laptop("POST", "/jobs", json={"task": "echo", "input": {}, "callback_url": local["url"]}).status == 202
    assert laptop("PUT", "/webhook", json={"url": "http://10.0.0.1/"}).status == 422


def test_one_owner_sees_nothing_of_another_s(api: Api, services: Services, make_job: Callable[..., Job]) -> None:
    from common.notices import Notices

    api("PUT", "/webhook", json={"url": HOOK})
    job = services.store.request_cancel(make_job(), "wish", services.clock())
    assert Notices(services).recover(job) == 1
    delivery = api("GET", f"/jobs/{job.id}/deliveries").json()["deliveries"][0]
    other = api.as_owner(services, "other")
    assert other("GET", "/webhook").json()["url"] is None
    unknown = other("GET", f"/jobs/{'0' * 32}/deliveries")
    hidden = other("GET", f"/jobs/{job.id}/deliveries")
    again = other("POST", f"/jobs/{job.id}/deliveries/{delivery['id']}/redeliver")
    assert unknown.status == hidden.status == again.status == 404
    assert unknown.json()["detail"] == hidden.json()["detail"] == again.json()["detail"]
    assert other("GET", "/webhook/undelivered").json()["deliveries"] == []
    assert api("POST", f"/jobs/{job.id}/deliveries/msg_none/redeliver").status == 404


def test_a_delivery_is_shown_whole(api: Api, services: Services, make_job: Callable[..., Job]) -> None:
    from common.notices import Notices

    job = services.store.request_cancel(make_job(callback_url=HOOK), "wish", services.clock())
    Notices(services).recover(job)
    (shown,) = api("GET", f"/jobs/{job.id}/deliveries").json()["deliveries"]
    assert shown == {
        "id": shown["id"],
        "job": job.id,
        "type": "job.cancelled",
        "to": "callback",
        "url": HOOK,
        "status": "pending",
        "reason": None,
        "created_at": shown["created_at"],
        "next_try_at": shown["created_at"],
        "tried": 0,
        "tries": [],
    }


def test_pages_of_the_undelivered_follow_each_other(
    api: Api, services: Services, clock: Clock, make_job: Callable[..., Job]
) -> None:
    from common.notices import Notices
    from common.webhooks import Exhausted

    ids = []
    for _ in range(5):
        clock.advance(1)
        job = services.store.request_cancel(make_job(callback_url=HOOK), "wish", clock())
        Notices(services).recover(job)
        (delivery,) = services.deliveries.of_job(job.id, clock())
        assert services.deliveries.record(delivery, None, Exhausted("enough"), clock())
        ids.append(job.id)
    seen, cursor = [], None
    for _ in range(5):
        page = api("GET", "/webhook/undelivered", limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [each["job"] for each in page["deliveries"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]
    assert api("GET", "/webhook/undelivered", cursor="bm9uc2Vuc2U=").status == 400
    # They are no jobs, whatever index they share.
    assert len(api("GET", "/jobs").json()["jobs"]) == 5


def test_a_job_under_a_used_key_has_its_own_deliveries(api: Api, services: Services, clock: Clock, worker: Any) -> None:
    from common.notices import Notices

    submission = {"task": "echo", "input": {}, "ttl_seconds": 1, "callback_url": HOOK}
    key = {"idempotency-key": '"again"'}
    for _ in range(2):
        job_id = api("POST", "/jobs", json=submission, headers=key).json()["id"]
        worker()
        job = services.store.get(job_id, clock(), consistent=True)
        assert job is not None
        assert Notices(services).recover(job) == 1
        assert len(api("GET", f"/jobs/{job_id}/deliveries").json()["deliveries"]) == 1
        clock.advance(2)
    assert len(list(services.deliveries.of_job(job_id, clock()))) == 2
