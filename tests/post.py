"""The way of a webhook on one controlled clock: stream, notifier, the webhooks' queue and function, sweeper.

The queue's delays are the clock's: messages are taken where our code gives them to boto3, so nothing has to be slept for.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from common.deliveries import Delivery
from common.wiring import Services
from functions.notifier.records import notify
from functions.sweeper.sweep import sweep
from functions.webhooks.delivering import Courier
from tests.aws import Clock, client
from tests.handlers import load_event
from tests.streams import Stream


class Post:
    """`lose` decides of each message for the webhooks' function whether it gets lost."""

    def __init__(self, services: Services, clock: Clock, courier: Callable[[], Courier]) -> None:
        self.services = services
        self.clock = clock
        self.courier = courier
        self.lose: Callable[[dict[str, Any]], bool] = lambda message: False
        self.failed: list[Any] = []
        self._waiting: list[tuple[float, int, str]] = []
        self._order, self._sent = itertools.count(), itertools.count(1)
        self._next_sweep = clock() + 60
        self._stream = Stream(services, "NotifierFunction")

    def records(self) -> list[dict[str, Any]]:
        """What the stream has that is new and that the template's filters let through, as Lambda hands it over."""
        return self._stream.records()

    def notify(self) -> dict[str, Any]:
        """One run of the notifier over everything new."""
        return notify(self.services, self.records())

    def deliver(self) -> int:
        """Every message that is due now, ten an invocation, as the event source mapping does; how many there were."""
        count = 0
        while batch := self._due():
            count += len(batch)
            records = [message_record(body, number) for number, body in enumerate(batch)]
            asyncio.run(self._handle(records))
        return count

    def run(self, seconds: float) -> None:
        """Lets time pass, from one thing that happens to the next."""
        until = self.clock() + seconds
        self.notify()
        self.deliver()
        while (moment := self._next_moment()) <= until:
            self.clock.now = max(self.clock.now, moment)
            if self.clock() >= self._next_sweep:
                self._next_sweep += (self.clock() - self._next_sweep) // 60 * 60 + 60
                sweep(self.services, has_time=lambda: True)
            self.deliver()
        self.clock.now = until

    def delivery(self, job_id: str) -> Delivery:
        """The only one of the job."""
        found = list(self.services.deliveries.of_job(job_id, self.clock()))
        assert len(found) == 1
        return found[0]

    async def _handle(self, records: list[dict[str, Any]]) -> None:
        from common.queue import Message

        courier = self.courier()
        outcomes = await asyncio.gather(
            *(courier.handle(Message.from_record(record)) for record in records), return_exceptions=True
        )
        self.failed += [outcome for outcome in outcomes if outcome is not None]

    def _due(self) -> list[str]:
        batch: list[str] = []
        while self._waiting and self._waiting[0][0] <= self.clock() and len(batch) < 10:
            batch.append(heapq.heappop(self._waiting)[2])
        return batch

    def _next_moment(self) -> float:
        if self._waiting:
            return min(self._waiting[0][0], self._next_sweep)
        # Nothing happens before something is overdue: the minutes until then are passed over.
        first = min(self._wakes(), default=float("inf"))
        if first == float("inf"):
            return first
        self._next_sweep += max(0, first - self._next_sweep) // 60 * 60
        return self._next_sweep

    def _wakes(self) -> Iterator[float]:
        table = self.services.store._client
        for shard in range(4):
            page = table.query(
                TableName=self.services.settings.table_name,
                IndexName="due",
                KeyConditionExpression="due = :d",
                ExpressionAttributeValues={":d": {"S": f"due#{shard}"}},
                Limit=1,
            )
            for item in page["Items"]:
                yield int(item["wake_at"]["N"]) / 1000

    def take(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        """Notes what is sent to the webhooks' queue."""
        queue = self.services.settings.webhook_queue_url
        if params.get("QueueUrl") != queue or not model.name.startswith("SendMessage"):
            return
        if next(self._sent) % 50 == 0:  # moto looks through all messages at each send
            client("sqs").delete_queue(QueueUrl=queue)
            client("sqs").create_queue(QueueName=queue.rpartition("/")[2])
        entries = params["Entries"] if model.name == "SendMessageBatch" else [params]
        for entry in entries:
            if not self.lose(json.loads(entry["MessageBody"])):
                moment = self.clock() + entry.get("DelaySeconds", 0)
                heapq.heappush(self._waiting, (moment, next(self._order), entry["MessageBody"]))


@contextmanager
def post_office(services: Services, clock: Clock, courier: Callable[[], Courier]) -> Iterator[Post]:
    post = Post(services, clock, courier)
    emitter = services.webhook_queue._client.meta.events
    emitter.register("provide-client-params.sqs.*", post.take)
    try:
        yield post
    finally:
        emitter.unregister("provide-client-params.sqs.*", post.take)


def message_record(body: str, number: int = 0) -> dict[str, Any]:
    record: dict[str, Any] = load_event("webhooks")["Records"][0]
    return record | {"messageId": str(number), "body": body}
