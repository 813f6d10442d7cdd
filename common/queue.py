"""The only code that knows the queues. A message names a job, or a webhook of a job, and carries nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.jobs import is_id

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: Longest delay of an SQS message, in seconds.
MAX_DELAY = 900
#: Longest that SQS hides a received message, in seconds from its receipt.
MAX_VISIBILITY = 43_200
#: Most entries of one batch call.
BATCH = 10


class NotAMessage(Exception):
    """A body that is not ours: it ends in the dead letters, where its text can be looked at."""


@dataclass(frozen=True)
class Message:
    """A received message. `receives` is 1 the first time; `delivery` is the webhook that it is about, if it is."""

    job_id: str
    receipt: str
    receives: int
    delivery: str | None = None

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Message:
        """From a record of Lambda's SQS event. Raises NotAMessage."""
        try:
            body = json.loads(record["body"])
            job_id, delivery = body["job"], body.get("delivery")
        except (ValueError, TypeError, KeyError, AttributeError):
            job_id = delivery = None
        if not isinstance(job_id, str) or not is_id(job_id) or not isinstance(delivery, str | None):
            raise NotAMessage(f"Message {record.get('messageId')} names no job.")
        receives = record.get("attributes", {}).get("ApproximateReceiveCount", "1")
        return cls(job_id, record["receiptHandle"], int(receives), delivery)


@dataclass(frozen=True)
class Reminder:
    """A message to be sent: look at this job, or at this webhook of it, `delay` seconds from now (900 at most).

    `owner` makes the queue fair: one owner's backlog does not hold up another's messages.
    """

    job_id: str
    delay: float = 0
    delivery: str | None = None
    owner: str | None = None

    def entry(self) -> dict[str, Any]:
        about = {"job": self.job_id} | ({"delivery": self.delivery} if self.delivery else {})
        group = {"MessageGroupId": self.owner} if self.owner else {}
        return {"MessageBody": json.dumps(about), "DelaySeconds": _whole(self.delay, MAX_DELAY), **group}


class Queue:
    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, job_id: str, delay: float = 0, *, delivery: str | None = None, owner: str | None = None) -> None:
        """Sends one message, see Reminder."""
        self._client.send_message(QueueUrl=self._url, **Reminder(job_id, delay, delivery, owner).entry())

    def send_all(self, reminders: Iterable[Reminder]) -> int:
        """Sends them ten a call; returns how many the queue refused."""
        refused = 0
        waiting = list(reminders)
        for batch in (waiting[start : start + BATCH] for start in range(0, len(waiting), BATCH)):
            entries: Any = [{"Id": str(n), **reminder.entry()} for n, reminder in enumerate(batch)]
            refused += len(self._client.send_message_batch(QueueUrl=self._url, Entries=entries).get("Failed", []))
        return refused

    def hide(self, message: Message, seconds: float) -> None:
        """Shows the message again `seconds` from now: later for a worker that lives, sooner for one that gave up."""
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=_whole(seconds, MAX_VISIBILITY)
        )

    def delete(self, message: Message) -> None:
        """Acknowledges the message now, not when its whole batch is done."""
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt)


def _whole(seconds: float, most: int) -> int:
    return min(max(0, math.ceil(seconds)), most)
