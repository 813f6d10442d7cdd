"""One owner's backlog does not hold up another's job: our own messages, on a model of SQS's fair queues.

The model has the rule as AWS documents it ("How Amazon SQS fair queues work", SQS developer guide, 2026): a group is noisy
that has over 10 % of the messages in flight and at least 30 of them, or over 10 % of the recent processing time; messages of
quiet groups are given first, then those of the noisy group with the fewest in flight; a message without a group is a group of
its own; a group is quiet again when its backlog is gone. Without groups that is: oldest first.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter, deque
from types import SimpleNamespace
from typing import Any

import pytest

from common.jobs import Job, Payload, Priority, Status, new_id
from common.queue import Queues

SHARE, LEAST = 0.10, 30


class FairQueue:
    """In place of boto3's client: takes what our code sends, and gives it out by the rule."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: dict[str, deque[tuple[int, str]]] = {}
        self._in_flight: Counter[str] = Counter()
        self._worked: Counter[str] = Counter()

    def send_message(self, **sent: Any) -> None:
        number = next(self._numbers)
        group = sent.get("MessageGroupId", f"message-{number}")
        self._waiting.setdefault(group, deque()).append((number, sent["MessageBody"]))

    def receive(self) -> tuple[str, str]:
        """The next message and its group; there must be one."""
        quiet = [group for group in self._waiting if not self._is_noisy(group)]
        noisy = sorted(self._waiting, key=lambda group: self._in_flight[group])
        group = min(quiet, key=lambda group: self._waiting[group][0]) if quiet else noisy[0]
        _, body = self._waiting[group].popleft()
        if not self._waiting[group]:
            del self._waiting[group]
        self._in_flight[group] += 1
        return body, group

    def delete(self, group: str, worked: float) -> None:
        self._in_flight -= Counter([group])
        self._worked[group] += round(worked)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def _is_noisy(self, group: str) -> bool:
        in_flight, worked = self._in_flight[group], self._worked[group]
        has_share = in_flight > SHARE * self._in_flight.total() and in_flight >= LEAST
        return has_share or worked > SHARE * self._worked.total() > 0


class NoGroups(FairQueue):
    """The same, if the messages named no group and were given oldest first."""

    def send_message(self, **sent: Any) -> None:
        super().send_message(**sent | {"MessageGroupId": "all"})


def job_of(owner: str) -> Job:
    return Job(
        id=new_id(),
        owner=owner,
        task="echo",
        status=Status.PENDING,
        input=Payload(size=2, inline="{}"),
        created_at=0,
        updated_at=0,
        max_attempts=3,
        timeout_seconds=300,
        ttl_seconds=86_400,
        fingerprint="",
        token="t",
        run_at=0,
    )


def wait_of_the_last(queue: FairQueue, backlog: int, *, workers: int, seconds: float) -> float:
    """Seconds from the submission of one owner's single job to its start, while another owner's `backlog` is worked on.

    Each of the `workers` does one job at a time, which takes `seconds`; the single job comes in the middle of the first.
    """
    client: Any = queue
    queues = Queues(client, dict.fromkeys(Priority, "https://sqs/jobs"), fair=True)
    for _ in range(backlog):
        queues.send(job_of("noisy"))
    single, submitted_at = job_of("quiet"), seconds / 2
    running: list[tuple[float, int, str]] = []
    for worker in range(min(workers, backlog)):
        heapq.heappush(running, (seconds, worker, queue.receive()[1]))
    queues.send(single)
    while queue:
        now, worker, group = heapq.heappop(running) if len(running) == workers else (submitted_at, len(running), "")
        if group:
            queue.delete(group, seconds)
        body, group = queue.receive()
        if json.loads(body)["job"] == single.id:
            return now - submitted_at
        heapq.heappush(running, (now + seconds, worker, group))
    raise AssertionError("it never started")


@pytest.mark.parametrize("workers", [40, 500])
def test_five_thousand_jobs_of_one_owner_delay_another_s_by_less_than_one_job(workers: int) -> None:
    waited = wait_of_the_last(FairQueue(), 5_000, workers=workers, seconds=60)
    assert waited <= 60  # whoever ends next makes room for it: a single job takes no more than twice its time


@pytest.mark.parametrize("workers", [40, 500])
def test_without_groups_it_waits_for_all_of_them(workers: int) -> None:
    waited = wait_of_the_last(NoGroups(), 5_000, workers=workers, seconds=60)
    assert waited >= (5_000 / workers - 1) * 60
    assert waited > 9 * wait_of_the_last(FairQueue(), 5_000, workers=workers, seconds=60)


def test_the_bound_does_not_grow_with_the_backlog() -> None:
    waits = {wait_of_the_last(FairQueue(), backlog, workers=50, seconds=60) for backlog in (100, 1_000, 10_000)}
    assert len(waits) == 1


def test_what_is_not_noisy_is_given_oldest_first() -> None:
    queue = FairQueue()
    client: Any = queue
    queues = Queues(client, dict.fromkeys(Priority, "https://sqs/jobs"), fair=True)
    jobs = [job_of(owner) for owner in ("a", "b", "a", "c")]
    for job in jobs:
        queues.send(job)
    assert [json.loads(queue.receive()[0])["job"] for _ in jobs] == [job.id for job in jobs]


def test_where_one_owner_submits_everything_no_group_is_paid_for() -> None:
    sent: list[dict[str, Any]] = []
    client: Any = SimpleNamespace(send_message=lambda **given: sent.append(given))
    Queues(client, dict.fromkeys(Priority, "https://sqs/jobs")).send(job_of("acme"))
    assert [set(each) for each in sent] == [{"QueueUrl", "MessageBody", "DelaySeconds"}]
