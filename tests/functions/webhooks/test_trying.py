"""A message is tried until its receiver has it, once, whatever the receiver does in between."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from common.deliveries import State
from common.fetching import Limits
from common.jobs import DAY, Job
from common.webhooks import SCHEDULE
from common.wiring import Services
from functions.webhooks.delivering import Courier
from tests.aws import Clock
from tests.functions.webhooks.conftest import scripted
from tests.post import Post
from tests.receiver import receiving


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
