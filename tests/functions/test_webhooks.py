"""Webhooks from a job's ending to its receiver, on a controlled clock, against a real receiver on loopback."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import Webhook

from common.addresses import is_public
from common.deliveries import State
from common.fetching import Limits
from common.jobs import DAY, Failure, Job, Report, Status
from common.webhooks import MAX_BODY, SCHEDULE
from common.wiring import Services
from common.wiring import services as wire
from functions.webhooks.delivering import Courier
from tests.conftest import SESSION, Api, Clock, load_event
from tests.post import Post, message_record, post_office
from tests.receiver import Answer, receiving
from tests.unit.test_egress_cases import Network, World, public_name, rows


@pytest.fixture
def laptop(services: Services) -> Services:
    """Receivers on loopback are allowed there."""
    return replace(services, settings=replace(services.settings, loopback=True))


@pytest.fixture
def post(laptop: Services, clock: Clock) -> Iterator[Post]:
    with post_office(laptop, clock, lambda: Courier(laptop, lambda: 0.5)) as office:
        yield office


@pytest.fixture
def end(services: Services, clock: Clock) -> Callable[..., Job]:
    """Ends a job as a worker does."""

    def end_it(job: Job, result: Any = "done", error: str | None = None) -> Job:
        held = services.store.claim(job.id, token="t", now=clock())
        if error is not None:
            failure = Failure("Permanent", error, retryable=False, attempt=1)
            return services.store.fail(held, failure, Report(), clock())
        payload = services.payloads.put_result(job.id, 1, json.dumps(result), clock())
        return services.store.complete(held, payload, Report(), clock())

    return end_it


def scripted(*answers: Answer) -> Callable[[int], Answer]:
    return lambda number: answers[min(number, len(answers) - 1)]


def test_a_receiver_that_fails_in_every_way_gets_one_message_in_the_end(
    post: Post, laptop: Services, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    post.courier = lambda: Courier(laptop, lambda: 0.5, {"limits": Limits(seconds=1)})  # the real patience is 15 s
    with receiving(scripted(500, 500, "hang", "close", 200)) as receiver:
        job = end(make_job(callback_url=f"{receiver.url}/hook"))
        post.run(DAY)
        assert len(receiver.received) == 5
        assert len({each.headers["webhook-id"] for each in receiver.received}) == 1
        assert len({each.body for each in receiver.received}) == 1
        delivery = post.delivery(job.id)
    assert (delivery.state, delivery.tried) == (State.DELIVERED, 5)
    assert delivery.id == receiver.received[0].headers["webhook-id"]
    assert [made.status for made in delivery.tries] == [500, 500, None, None, 200]
    assert [(made.error or "").partition(":")[0] for made in delivery.tries] == ["", "", "TimedOut", "BadAnswer", ""]
    assert [made.answer for made in delivery.tries] == ["thanks", "thanks", None, None, "thanks"]
    waits = [later.at - sooner.at for sooner, later in zip(delivery.tries, delivery.tries[1:], strict=False)]
    for wait, published in zip(waits, SCHEDULE, strict=False):
        assert published <= wait <= published + 60  # the sweeper's minute
    assert post.failed == []


#: Moto's calls take the longer the more there is; LONGRUN_MANY=1000 is the number that was promised.
MANY = int(os.environ.get("LONGRUN_MANY", "30"))


@pytest.mark.timeout(1_800)
def test_many_messages_outlive_the_receiver_s_bad_hour(
    post: Post, laptop: Services, clock: Clock, make_job: Callable[..., Job]
) -> None:
    back = clock() + 3_600
    with receiving(lambda number: 200 if clock() >= back else 503) as receiver:
        laptop.endpoints.set_url("acme", f"{receiver.url}/all", clock())
        jobs = [make_job() for _ in range(MANY)]
        for job in jobs:
            laptop.store.request_cancel(job, "wish", clock())
        post.run(DAY)
        good = [each for each in receiver.received if json.loads(each.body)["data"]["job"]["status"] == "cancelled"]
        told = {json.loads(each.body)["data"]["task_id"] for each in good}
    assert told == {job.id for job in jobs}
    assert {post.delivery(job.id).state for job in jobs} == {State.DELIVERED}
    assert laptop.endpoints.get("acme").failing_since is None
    assert post.failed == []


def test_messages_that_get_lost_are_sent_again(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    lost: list[Any] = []
    post.lose = lambda message: not lost and not lost.append(message)  # type: ignore[func-returns-value]
    with receiving(scripted(200)) as receiver:
        job = end(make_job(callback_url=receiver.url))
        post.run(600)
        assert len(receiver.received) == 1
    assert post.delivery(job.id).state is State.DELIVERED
    assert len(lost) == 1


def test_the_public_library_verifies_what_is_sent(aws: Any, make_job: Callable[..., Job], services: Services) -> None:
    import time

    real = wire(replace(aws, loopback=True), session=SESSION, clock=time.time)
    now = Clock()
    now.now = time.time()
    with receiving(scripted(200)) as receiver, post_office(real, now, lambda: Courier(real, lambda: 0)) as post:
        _, first = real.endpoints.set_url("acme", receiver.url, time.time())
        _, second = real.endpoints.rotate("acme", 3_600, time.time())
        real.store.request_cancel(make_job(metadata={"order": "ü"}), "wish", time.time())
        post.notify()
        post.deliver()
        message = receiver.received[0]
    assert first is not None
    for secret in (first, second):
        assert Webhook(secret).verify(message.body, message.headers)["data"]["job"]["metadata"] == {"order": "ü"}
    assert message.headers["webhook-signature"].count("v1,") == 2


def test_an_ended_overlap_ends_the_old_secret(laptop: Services, clock: Clock) -> None:
    _, first = laptop.endpoints.set_url("acme", "https://a.example.com/", clock())
    _, second = laptop.endpoints.rotate("acme", 600, clock())
    assert laptop.endpoints.open_secrets(laptop.endpoints.get("acme"), clock()) == [second, first]
    clock.advance(601)
    assert laptop.endpoints.open_secrets(laptop.endpoints.get("acme"), clock()) == [second]
    _, third = laptop.endpoints.rotate("acme", 0, clock())
    assert laptop.endpoints.open_secrets(laptop.endpoints.get("acme"), clock()) == [third]


def test_secrets_are_kept_encrypted_and_bound_to_their_owner(laptop: Services, clock: Clock) -> None:
    _, secret = laptop.endpoints.set_url("acme", "https://a.example.com/", clock())
    assert secret is not None
    assert secret.startswith("whsec_")
    items = str(laptop.store._client.scan(TableName=laptop.settings.table_name)["Items"])
    assert secret not in items
    assert secret.removeprefix("whsec_") not in items
    box = laptop.endpoints.get("acme").secrets[0].box
    fresh = wire(laptop.settings, session=SESSION, clock=clock).endpoints._vault
    assert fresh.open(box, "acme") == secret
    with pytest.raises(laptop.endpoints._vault._client.exceptions.InvalidCiphertextException):
        fresh.open(box, "other")


@pytest.mark.parametrize(
    ("options", "kind", "status"),
    [({}, "job.completed", "completed"), ({"error": "no"}, "job.failed", "failed")],
)
def test_both_the_callback_and_the_endpoint_are_told(
    post: Post,
    laptop: Services,
    clock: Clock,
    make_job: Callable[..., Job],
    end: Callable[..., Job],
    options: dict[str, Any],
    kind: str,
    status: str,
) -> None:
    with receiving(scripted(200)) as receiver:
        laptop.endpoints.set_url("acme", f"{receiver.url}/all", clock())
        job = end(make_job(callback_url=f"{receiver.url}/one"), **options)
        post.run(1)
    assert sorted(each.path for each in receiver.received) == ["/all", "/one"]
    for each in receiver.received:
        message = json.loads(each.body)
        assert (message["type"], message["data"]["task_id"]) == (kind, job.id)
        assert (message["data"]["job"]["status"], message["data"]["job"]["last_event"]) == (status, job.last_event)


def test_one_address_is_told_once(
    post: Post, laptop: Services, clock: Clock, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    with receiving(scripted(200)) as receiver:
        laptop.endpoints.set_url("acme", receiver.url, clock())
        end(make_job(callback_url=receiver.url))
        post.run(1)
    assert len(receiver.received) == 1


def test_a_stream_that_repeats_itself_makes_no_second_message(
    post: Post, laptop: Services, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    from functions.notifier.records import notify

    with receiving(scripted(200)) as receiver:
        end(make_job(callback_url=receiver.url))
        records = post.records()
        for _ in range(3):
            notify(laptop, records)
            post.deliver()
    assert len(receiver.received) == 1


def test_a_message_for_a_large_result_stays_small_and_links_to_it(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    with receiving(scripted(200)) as receiver:
        job = end(make_job(callback_url=receiver.url), result="é" * 2_500_000)
        post.run(1)
    assert len(receiver.received[0].body) < MAX_BODY
    message = json.loads(receiver.received[0].body)
    assert message["data"]["job"]["result"] is None
    assert message["data"]["job"]["result_link"] == f"https://api.example.com/jobs/{job.id}/result"


@pytest.mark.parametrize("size", [15_000, 19_000, 25_000, 90_000])
def test_no_message_is_over_its_size(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job], size: int
) -> None:
    with receiving(scripted(200)) as receiver:
        made = make_job(callback_url=receiver.url, metadata={f"{n}": "ü" * 500 for n in range(10)})
        end(made, result="x" * size)
        end(make_job(callback_url=receiver.url), error="ü" * 4_000)
        post.run(1)
    assert max(len(each.body) for each in receiver.received) <= MAX_BODY
    assert len(receiver.received) == 2


def test_the_simple_receivers_find_what_they_look_for(post: Post, open_api: Api, worker: Any, laptop: Services) -> None:
    with receiving(scripted(200)) as receiver:
        answer = open_api(
            "POST",
            "/agent/submit-with-callback",
            json={"prompt": "17 * 23 = ?", "callback_url": "https://hooks.example.com/agent"},
        )
        assert answer.json()["status"] == "submitted"
        job = laptop.store.get(answer.json()["task_id"], 0)
        assert job is not None
        assert job.callback_form == "simple"
        point_at(laptop, job, receiver.url)
        laptop.store.request_cancel(job, "wish", laptop.clock())
        post.run(1)
    message = json.loads(receiver.received[0].body)
    assert (message["task_id"], message["status"]) == (job.id, "cancelled")
    assert (message["result"], message["error"]) == (None, "The job was cancelled.")
    assert message["type"] == "job.cancelled"


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


def test_a_receiver_s_retry_after_is_honoured(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    with receiving(scripted((429, {"Retry-After": "600"}, b""), 200)) as receiver:
        job = end(make_job(callback_url=receiver.url))
        post.run(599)
        assert len(receiver.received) == 1
        post.run(10)
        assert len(receiver.received) == 2
    assert post.delivery(job.id).state is State.DELIVERED


def test_a_redirect_is_a_failure_and_is_not_followed(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    with receiving(scripted(200)) as inside, receiving(scripted((307, {"Location": inside.url}, b""))) as receiver:
        job = end(make_job(callback_url=receiver.url))
        post.run(60)
        assert inside.received == []
    assert post.delivery(job.id).tries[0].status == 307


def test_what_was_allowed_once_is_judged_again_at_every_try(
    services: Services, clock: Clock, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    """In a deployment no loopback receiver is called, whatever the table says."""
    with (
        receiving(scripted(200)) as receiver,
        post_office(services, clock, lambda: Courier(services, lambda: 0.5)) as post,
    ):
        job = end(make_job(callback_url=receiver.url))
        post.run(1)
        assert receiver.received == []
        assert (post.delivery(job.id).tries[0].error or "").startswith("ForbiddenAddress")


def test_no_delivery_dials_what_is_forbidden(
    services: Services, clock: Clock, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    """Whatever the table says: as if every address had passed at registration."""
    with post_office(services, clock, lambda: Courier(services, lambda: 0.5, ways)) as post:
        for case in rows():
            world = World(public_name(case))
            ways = {"resolve": world.resolve, "network": Network(world)}
            job = end(make_job(callback_url=world.case.url))
            post.notify()
            post.deliver()
            made = post.delivery(job.id).tries[0]
            assert all(is_public(address) and port == 443 for address, port in world.dialled), case
            assert len(world.dialled) <= 1, case
            if case.expected in ("must_block", "policy_block"):
                assert not world.dialled, case
                assert (made.error or "").startswith("ForbiddenAddress"), case
            assert made.ok == (case.expected in ("allow", "connect_only_public", "never_dial_private")), case


def test_a_poison_record_does_not_hold_up_the_next_one(
    post: Post, laptop: Services, make_job: Callable[..., Job], end: Callable[..., Job]
) -> None:
    from functions.notifier.records import notify

    with receiving(scripted(200)) as receiver:
        lost, good = end(make_job(callback_url=receiver.url)), end(make_job(callback_url=receiver.url))
        records = post.records()
        assert len(records) == 2
        del records[0]["dynamodb"]["NewImage"]["history"]
        nobody = load_event("notifier")["Records"][0]
        del nobody["dynamodb"]["Keys"]
        assert notify(laptop, [nobody, *records]) == {"batchItemFailures": []}
        post.deliver()
        # The damaged record's job was looked at again, in the table.
        told = {json.loads(each.body)["data"]["task_id"] for each in receiver.received}
    assert told == {good.id, lost.id}


def test_only_when_nothing_answers_is_a_record_asked_for_again(
    post: Post, laptop: Services, make_job: Callable[..., Job], end: Callable[..., Job], aws: Any
) -> None:
    from functions.notifier.records import notify

    end(make_job(callback_url="https://hooks.example.com/"))
    records = post.records()
    number = records[0]["dynamodb"]["SequenceNumber"]
    nowhere = wire(replace(aws, table_name="none", webhook_queue_url=aws.queue_url + "-none"), session=SESSION)
    assert notify(nowhere, records) == {"batchItemFailures": [{"itemIdentifier": number}]}


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


def test_a_job_that_nobody_is_told_of_costs_one_read(
    post: Post, make_job: Callable[..., Job], end: Callable[..., Job], calls: list[tuple[str, Any]]
) -> None:
    end(make_job())
    records = post.records()
    assert len(records) == 1  # neither its start nor its claim reached the notifier
    before = len(calls)
    from functions.notifier.records import notify

    notify(post.services, records)
    assert [name for name, _ in calls[before:]] == ["GetItem"]


def test_a_delivered_webhook_costs_what_is_written_down(
    post: Post, laptop: Services, clock: Clock, make_job: Callable[..., Job], calls: list[tuple[str, Any]]
) -> None:
    with receiving(scripted(200)) as receiver:
        laptop.endpoints.set_url("acme", receiver.url, clock())
        laptop.store.request_cancel(make_job(), "wish", clock())
        before = len(calls)
        post.notify()
        post.deliver()
    names = [name for name, _ in calls[before:]]
    assert names == ["GetItem", "PutItem", "SendMessage", "GetItem", "GetItem", "UpdateItem"]


def test_the_entry_points_take_lambda_s_events(
    entry_point: Callable[[str], Any], make_job: Callable[..., Job], services: Services, clock: Clock
) -> None:
    assert entry_point("notifier").handler(load_event("notifier"), None) == {"batchItemFailures": []}
    assert entry_point("webhooks").handler(load_event("webhooks"), None) == {"batchItemFailures": []}
    bad = {"Records": [message_record("nonsense", 7)]}
    assert entry_point("webhooks").handler(bad, None) == {"batchItemFailures": [{"itemIdentifier": "7"}]}


def test_waiting_jobs_are_told_of_too(make_job: Callable[..., Job], clock: Clock) -> None:
    from common.jobs import Change
    from common.notices import told_changes

    job = make_job()
    waiting = replace(job, history=(*job.history, Change(2, clock(), Status.WAITING, detail={"asks": True})))
    assert [change.status for change in told_changes(job, waiting)] == ["waiting"]
    assert told_changes(waiting, waiting) == []


def point_at(services: Services, job: Job, url: str) -> None:
    """The receiver of a test listens on loopback, which the API of a deployment refuses."""
    services.store._client.update_item(
        TableName=services.settings.table_name,
        Key={"pk": {"S": f"job#{job.id}"}, "sk": {"S": "job"}},
        UpdateExpression="SET callback_url = :u",
        ExpressionAttributeValues={":u": {"S": url}},
    )
