"""The only code that knows the queue. A message carries a job's id and nothing else."""

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
    """A received message. `receives` is 1 the first time."""

    job_id: str
    receipt: str
    receives: int

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Message:
        """From a record of Lambda's SQS event. Raises NotAMessage."""
        try:
            job_id = json.loads(record["body"])["job"]
        except (ValueError, TypeError, KeyError):
            job_id = None
        if not isinstance(job_id, str) or not is_id(job_id):
            raise NotAMessage(f"Message {record.get('messageId')} names no job.")
        receives = record.get("attributes", {}).get("ApproximateReceiveCount", "1")
        return cls(job_id=job_id, receipt=record["receiptHandle"], receives=int(receives))


class Queue:
    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, job_id: str, delay: float = 0) -> None:
        """A message that says: look at this job, `delay` seconds from now (900 at most)."""
        self._client.send_message(QueueUrl=self._url, MessageBody=_body(job_id), DelaySeconds=_whole(delay, MAX_DELAY))

    def send_all(self, jobs: Iterable[tuple[str, float]]) -> int:
        """Sends (job id, delay) pairs, ten a call; returns how many the queue refused."""
        refused = 0
        waiting = list(jobs)
        for batch in (waiting[start : start + BATCH] for start in range(0, len(waiting), BATCH)):
            answer = self._client.send_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(n), "MessageBody": _body(job_id), "DelaySeconds": _whole(delay, MAX_DELAY)}
                    for n, (job_id, delay) in enumerate(batch)
                ],
            )
            refused += len(answer.get("Failed", []))
        return refused

    def hide(self, message: Message, seconds: float) -> None:
        """Shows the message again `seconds` from now: later for a worker that lives, sooner for one that gave up."""
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=_whole(seconds, MAX_VISIBILITY)
        )

    def delete(self, message: Message) -> None:
        """Acknowledges the message now, not when its whole batch is done."""
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt)


def _body(job_id: str) -> str:
    return json.dumps({"job": job_id})


def _whole(seconds: float, most: int) -> int:
    return min(max(0, math.ceil(seconds)), most)
