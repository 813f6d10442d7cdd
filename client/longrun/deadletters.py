"""A deployment's dead letters: what they are, and their way back to where they came from."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from longrun.deployment import AwsProblem, Deployment

#: Seconds for which a message that is looked at is hidden from others; what dies meanwhile lets go of it then.
HIDDEN = 60
#: Most messages that SQS hands out at a time.
BATCH = 10


class Kind(StrEnum):
    """Whose dead letters."""

    JOBS = "jobs"
    WEBHOOKS = "webhooks"
    SCHEDULES = "schedules"


#: The stack's output that says where they are.
OUTPUTS = {
    Kind.JOBS: "DeadLetterQueueUrl",
    Kind.WEBHOOKS: "WebhookDeadLetterQueueUrl",
    Kind.SCHEDULES: "ScheduleDeadLetterQueueUrl",
}
#: The queues that each kind's messages come from; what does not say from which comes from the first.
SOURCES = {
    Kind.JOBS: ("QueueUrl", "QueueUrlHigh", "QueueUrlLow"),
    Kind.WEBHOOKS: ("WebhookQueueUrl",),
    Kind.SCHEDULES: (),
}
#: What is lost with a message of each kind.
LOSSES = {
    Kind.JOBS: "Their jobs are still in the table: those that have not ended get another message from the sweeper.",
    Kind.WEBHOOKS: "Webhooks that are written down are sent anyway, but places in the table's stream say which were "
    "not even written down: those are lost, and nobody is told of these jobs' ends.",
    Kind.SCHEDULES: "Each is a firing whose job was not made, and never will be.",
}


@dataclass(frozen=True)
class Depth:
    """How many messages lie in a queue. `age` is the oldest one's in seconds, None if nobody knows."""

    queue: Kind
    visible: int
    hidden: int
    age: float | None


@dataclass(frozen=True)
class Letter:
    """A message that nobody could handle. `age` is in seconds since it was sent, `job` an id, if it names one.

    `receipt` lets whoever received it delete it; `source` is the ARN of the queue that it came from, if that is known.
    """

    queue: Kind
    id: str
    receives: int
    age: float
    job: str | None
    body: str
    receipt: str
    source: str | None = None
    group: str | None = None

    @classmethod
    def of(cls, queue: Kind, message: dict[str, Any], now: float) -> "Letter":
        """A letter as SQS hands it out."""
        attributes = message.get("Attributes", {})
        return cls(
            queue,
            message["MessageId"],
            int(attributes.get("ApproximateReceiveCount", 1)),
            max(0.0, now - int(attributes.get("SentTimestamp", now * 1000)) / 1000),
            _job_of(message["Body"]),
            message["Body"],
            message["ReceiptHandle"],
            attributes.get("DeadLetterQueueSourceArn"),
            attributes.get("MessageGroupId"),
        )


@dataclass(frozen=True)
class Redriven:
    """What came of handing dead letters back: those of `left` are still there, each with why."""

    queue: Kind
    moved: int
    left: tuple[tuple[str, str], ...] = ()


class DeadLetters:
    """One of a deployment's queues of dead letters. Every call raises AwsProblem."""

    def __init__(self, deployment: Deployment, kind: Kind, clock: Callable[[], float] = time.time) -> None:
        self.kind = kind
        self._deployment, self._clock = deployment, clock
        self._url = deployment.output(OUTPUTS[kind])
        self._deleted: set[str] = set()

    def depth(self) -> Depth:
        """How many there are now."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = self._ask("get_queue_attributes", AttributeNames=names)["Attributes"]
        visible, hidden = (int(counts[name]) for name in names)
        return Depth(self.kind, visible, hidden, self._oldest(visible))

    def look(self, limit: int) -> list[Letter]:
        """Up to `limit` of them, which stay where they are. (SQS counts this as a receive.)"""
        seen: dict[str, Letter] = {}
        with self._batches() as batches:
            for batch in batches:
                seen |= {letter.id: letter for letter in batch}
                if len(seen) >= limit:
                    break
        return list(seen.values())[:limit]

    def redrive(self) -> Redriven:
        """Hand all back, one by one. What is interrupted has lost nothing: one may be in both places, which does no harm."""
        moved, left = 0, {}
        with self._batches() as batches:
            for letter in (letter for batch in batches for letter in batch):
                if reason := self._why_not(letter):
                    left[letter.id] = reason
                    continue
                self._hand_back(letter)
                self._delete(letter)
                moved += 1
        return Redriven(self.kind, moved, tuple(left.items()))

    def purge(self) -> None:
        """Delete all."""
        self._ask("purge_queue")

    def purge_one(self, message_id: str) -> bool:
        """Delete one; False if it is not there."""
        with self._batches() as batches:
            for letter in (letter for batch in batches for letter in batch):
                if letter.id == message_id:
                    self._delete(letter)
                    return True
        return False

    def status_of(self, job: str) -> str | None:
        """The status of a letter's job; None for one that is not in the table any more."""
        key = {"pk": {"S": f"job#{job}"}, "sk": {"S": "job"}}
        table = self._deployment.output("TableName")
        found = self._deployment.ask("dynamodb", "get_item", TableName=table, Key=key)
        status: str | None = found.get("Item", {}).get("status", {}).get("S")
        return status

    @contextmanager
    def _batches(self) -> Iterator[Iterator[list[Letter]]]:
        """All letters, each once, hidden from others meanwhile; those that are still there are shown again at the end."""
        received: dict[str, Letter] = {}

        def batches() -> Iterator[list[Letter]]:
            while messages := self._receive():
                batch = [Letter.of(self.kind, message, self._clock()) for message in messages]
                new = [letter for letter in batch if letter.id not in received]
                received.update((letter.id, letter) for letter in batch)
                if not new:
                    return  # their time was up, and they were seen before
                yield new

        try:
            yield batches()
        finally:
            for letter in (letter for letter in received.values() if letter.id not in self._deleted):
                with suppress(AwsProblem):  # it is shown anyway when its time is up
                    self._ask("change_message_visibility", ReceiptHandle=letter.receipt, VisibilityTimeout=0)

    def _receive(self) -> list[dict[str, Any]]:
        answer = self._ask(
            "receive_message",
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=HIDDEN,
            # Other than 0, it asks all of the queue's servers.
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _why_not(self, letter: Letter) -> str | None:
        """Why a letter is not to be handed back, if so."""
        if self.kind is Kind.WEBHOOKS and "DDBStreamBatchInfo" in _parsed(letter.body):
            return "a place in the table's stream, not a message; see docs/runbook.md#webhook-dead-letters"
        if self.kind is Kind.SCHEDULES and not _firing(letter.body):
            return "not a firing"
        return None

    def _hand_back(self, letter: Letter) -> None:
        if self.kind is Kind.SCHEDULES:
            function, event = self._deployment.output("ScheduledFunctionArn"), _firing(letter.body)
            self._deployment.ask(
                "lambda", "invoke", FunctionName=function, InvocationType="Event", Payload=json.dumps(event).encode()
            )
            return
        group = {"MessageGroupId": letter.group} if letter.group else {}
        self._deployment.ask("sqs", "send_message", QueueUrl=self._source(letter), MessageBody=letter.body, **group)

    def _source(self, letter: Letter) -> str:
        urls = [self._deployment.output(name) for name in SOURCES[self.kind]]
        name = (letter.source or "").rpartition(":")[2]
        return next((url for url in urls if url.rpartition("/")[2] == name), urls[0])

    def _delete(self, letter: Letter) -> None:
        self._ask("delete_message", ReceiptHandle=letter.receipt)
        self._deleted.add(letter.id)

    def _oldest(self, visible: int) -> float | None:
        """From a sample: SQS itself tells it to CloudWatch only, minutes later."""
        return max((letter.age for letter in self.look(BATCH)), default=None) if visible else None

    def _ask(self, operation: str, **arguments: Any) -> Any:
        return self._deployment.ask("sqs", operation, QueueUrl=self._url, **arguments)


def _parsed(body: str) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(body)
        if isinstance(found, dict):
            return found
    return {}


def _job_of(body: str) -> str | None:
    job = _parsed(body).get("job")
    return job if isinstance(job, str) else None


def _firing(body: str) -> Any:
    """The event that the scheduled function is to have: EventBridge leaves it as it was, Lambda wraps it."""
    event = _parsed(body)
    return event.get("requestPayload", event)
