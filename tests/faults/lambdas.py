"""Lambda as far as it matters here: sandboxes that are kept warm, time limits, and the event source mappings.

The rules are the service's own: see "How Lambda handles errors for Amazon SQS event sources" in its developer guide.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.aws import REGION
from tests.faults import table
from tests.faults.cloud import Cloud
from tests.faults.interpreter import Event
from tests.faults.queues import QueueModel, Stored
from tests.faults.virtual import Process, Thread, World
from tests.handlers import load_event
from tests.streams import matches

Handler = Callable[[Any, Any], Any]

#: So many times in a chain may a message lead to another, before Lambda takes it for an endless loop.
GENERATIONS = 16


class InvocationFailed(Exception):
    """The sandbox died, ran out of time, or the handler raised."""


@dataclass(frozen=True)
class Context:
    """What a handler is told of its invocation."""

    world: World
    deadline: float
    aws_request_id: str = "request"
    function_name: str = "function"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - self.world.now) * 1000))


@dataclass
class Function:
    """`make` gives the handler of a new sandbox; `properties` are the template's."""

    cloud: Cloud
    name: str
    make: Callable[[Process], Handler]
    properties: Mapping[str, Any]
    invocations: int = 0
    _idle: list[tuple[Process, Handler]] = field(default_factory=list)
    _count: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def seconds(self) -> float:
        """The time limit."""
        return float(self.properties["Timeout"])

    @property
    def may_recur(self) -> bool:
        """Whether Lambda lets its messages come back to it again and again."""
        return self.properties.get("RecursiveLoop") == "Allow"

    def invoke(self, event: Any, generation: int = 0) -> Any:
        """Waits for what the handler returns. Raises InvocationFailed. A frozen sandbox goes on when it is thawed."""
        world = self.cloud.world
        process, handler = self._sandbox()
        process.generation = generation
        self.invocations += 1
        over, returned = Event(world), list[Any]()

        def work() -> None:
            try:
                returned.append(handler(event, Context(world, world.now + self.seconds)))
            except Exception as error:  # noqa: BLE001
                self.cloud.note(f"raised {type(error).__name__}")
            over.set()

        process.on_death.append(over.set)
        world.spawn(process, work)
        over.wait(self.seconds)
        process.on_death.remove(over.set)
        if not over.is_set() and process.frozen_until <= world.now:
            process.kill()
        if process.is_dead or not over.is_set():
            raise InvocationFailed(self.name)
        self._idle.append((process, handler))
        if not returned:
            raise InvocationFailed(self.name)
        return returned[0]

    def _sandbox(self) -> tuple[Process, Handler]:
        if self._idle:
            return self._idle.pop()
        world, most = self.cloud.world, self.cloud.rates.skew
        process = Process(f"{self.name}-{next(self._count)}", world, world.random.uniform(-most, most), is_lambda=True)
        return process, self.make(process)


def failed_items(answer: Any, ids: Sequence[str]) -> set[str]:
    """Which of a batch a function reports as failed, by ReportBatchItemFailures: an answer that names anything else than items
    of the batch fails all of them, one that names nothing none."""
    if not isinstance(answer, Mapping):
        return set()
    failures = answer.get("batchItemFailures") or []
    named = [failure.get("itemIdentifier") if isinstance(failure, Mapping) else None for failure in failures]
    return set(ids) if any(name not in ids for name in named) else {str(name) for name in named}


@dataclass
class QueueMapping:
    """From a queue to a function: batches side by side, at most `concurrency` of them."""

    cloud: Cloud
    queue: QueueModel
    function: Function
    concurrency: int
    event: str
    running: int = 0

    def start(self) -> Thread:
        world = self.cloud.world
        thread = world.spawn(Process(f"mapping of {self.queue.name}", world), self._poll)
        self.queue.poller = thread
        return thread

    def _poll(self) -> None:
        world = self.cloud.world
        while True:
            batch = self.queue.receive(world.random.randint(1, 10)) if self.running < self.concurrency else []
            if not batch:
                world.park(self.queue.next_visible if self.running < self.concurrency else None)
            elif not self.cloud.strikes("uninvoked"):
                self.running += 1
                world.spawn(world.current.process, lambda batch=batch: self._hand_over(batch))  # type: ignore[misc]

    def _hand_over(self, batch: Sequence[Stored]) -> None:
        batch = [message for message in batch if not self._loops(message)]
        records = [self._record(message) for message in batch]
        receipts = {record["messageId"]: record["receiptHandle"] for record in records}
        try:
            generation = max((message.generation for message in batch), default=0)
            failed = failed_items(self.function.invoke({"Records": records}, generation), list(receipts))
        except InvocationFailed:
            failed = set(receipts)
        if self.cloud.strikes("unanswered"):
            failed = set(receipts)
        for name, receipt in receipts.items():
            if name not in failed:
                self.queue.delete(receipt)
        self.running -= 1
        self.cloud.world.wake(self.queue.poller)  # type: ignore[arg-type]

    def _loops(self, message: Stored) -> bool:
        """Lambda's rule against endless loops: such a message goes to the dead letters."""
        if message.generation < GENERATIONS or self.function.may_recur:
            return False
        self.queue.give_up(message)
        return True

    def _record(self, message: Stored) -> dict[str, Any]:
        record: dict[str, Any] = copy.deepcopy(_example(self.event))
        return record | {
            "messageId": message.id,
            "receiptHandle": message.receipts[-1],
            "body": message.body,
            "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:{self.queue.name}",
            "attributes": {
                "ApproximateReceiveCount": str(message.receives),
                "SentTimestamp": str(int(message.sent_at * 1000)),
                "SenderId": "AROA",
                "ApproximateFirstReceiveTimestamp": str(int(message.first_received_at * 1000)),
            },
        }


@dataclass
class StreamMapping:
    """From the table's stream to a function: in order, and what fails is shown again, with all that follows it.

    With a `window`, in seconds, a batch is gathered for so long.
    """

    cloud: Cloud
    function: Function
    filters: Sequence[Mapping[str, Any]]
    most: int
    window: float = 0
    read: int = 0
    is_busy: bool = False
    waiting: list[dict[str, Any]] = field(default_factory=list)

    def start(self) -> None:
        world = self.cloud.world
        process = Process(f"{self.function.name}'s mapping of the stream", world)
        self.cloud.on_write.append(partial(world.wake, world.spawn(process, self._poll)))

    @property
    def is_idle(self) -> bool:
        return not self.is_busy and not self.waiting and not table.stream_from(self.read)

    def _poll(self) -> None:
        world, size, pause = self.cloud.world, self.most, 1.0
        while True:
            self._take()
            # What is written while this thread does not wait is seen by the next look.
            batch = self.waiting[: min(size, world.random.randint(1, self.most))]
            if not batch:
                world.park(None)
                world.sleep(world.random.uniform(0, 1) + self.window)
                continue
            self.is_busy = True
            numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
            try:
                failed = failed_items(self.function.invoke({"Records": batch}), numbers)
            except InvocationFailed:
                failed = set(numbers)
                size = max(1, len(batch) // 2)  # BisectBatchOnFunctionError
            if self.cloud.strikes("unanswered"):
                failed = set(numbers)
            done = min((numbers.index(number) for number in failed), default=len(batch))
            del self.waiting[:done]
            self.is_busy = False
            size, pause = (self.most, 1.0) if done else (size, min(60, pause * 2))
            if failed:
                world.sleep(pause)

    def _take(self) -> None:
        for seen in table.stream_from(self.read):
            self.read += 1
            seen["dynamodb"].pop("ApproximateCreationDateTime", None)
            record = _example("notifier") | seen
            if any(matches(pattern, record) for pattern in self.filters):
                self.waiting.append(record)


def _example(name: str) -> dict[str, Any]:
    if name not in _EXAMPLES:
        _EXAMPLES[name] = load_event(name)["Records"][0]
    return _EXAMPLES[name]


_EXAMPLES: dict[str, dict[str, Any]] = {}


def http_event(method: str, path: str, headers: Mapping[str, str], body: Any, query: str) -> dict[str, Any]:
    event: dict[str, Any] = load_event("api")
    event["rawPath"], event["rawQueryString"] = path, query
    event["requestContext"]["http"] |= {"method": method, "path": path}
    event["headers"] = {"host": event["headers"]["host"], "content-type": "application/json", **headers}
    event["body"], event["isBase64Encoded"] = None if body is None else json.dumps(body), False
    return event
