"""The only code that knows the queues.

A message names a job, or a webhook of a job. A job's message also says whose job it is and what it runs, so that limits
can be looked at before the job is touched, and how often it was sent back for want of a place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.jobs import Job, Priority, is_id
from common.telemetry import logger

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
    """A received message. `receives` is 1 the first time; `delivery` is the webhook that it is about, if it is.

    `owner` and `task` are None in a message that was made by hand. `queue` is the name of the queue that it came from.
    """

    job_id: str
    receipt: str
    receives: int
    delivery: str | None = None
    owner: str | None = None
    task: str | None = None
    bounces: int = 0
    queue: str = ""

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Message:
        """From a record of Lambda's SQS event. Raises NotAMessage."""
        try:
            body = json.loads(record["body"])
            job_id, bounces = body["job"], body.get("bounces", 0)
            said: dict[str, Any] = {name: body.get(name) for name in ("delivery", "owner", "task")}
        except (ValueError, TypeError, KeyError, AttributeError):
            job_id, bounces, said = None, 0, {}
        are_texts = all(isinstance(one, str | None) for one in said.values())
        if not isinstance(job_id, str) or not is_id(job_id) or not isinstance(bounces, int) or not are_texts:
            raise NotAMessage(f"Message {record.get('messageId')} names no job.")
        receives = record.get("attributes", {}).get("ApproximateReceiveCount", "1")
        queue = record.get("eventSourceARN", "").rpartition(":")[2]
        return cls(job_id, record["receiptHandle"], int(receives), **said, bounces=bounces, queue=queue)


@dataclass(frozen=True)
class Reminder:
    """A message to be sent: look at this job, or at this webhook of it, `delay` seconds from now (900 at most).

    `owner` is whose message it is: in a fair queue one owner's backlog does not hold up another's.
    """

    job_id: str
    delay: float = 0
    delivery: str | None = None
    owner: str | None = None
    task: str | None = None
    bounces: int = 0

    @classmethod
    def of(cls, job: Job, delay: float = 0) -> Reminder:
        """To be sent to the queue of the job's priority: see Queues."""
        return cls(job.id, delay, owner=job.owner, task=job.task)

    def entry(self, *, fair: bool) -> dict[str, Any]:
        about: dict[str, Any] = {"job": self.job_id} | ({"delivery": self.delivery} if self.delivery else {})
        if self.task:  # a webhook's message needs none of this
            about |= {"owner": self.owner, "task": self.task}
        if self.bounces:
            about |= {"bounces": self.bounces}
        group = {"MessageGroupId": self.owner} if fair and self.owner else {}
        return {"MessageBody": json.dumps(about), "DelaySeconds": _whole(self.delay, MAX_DELAY), **group}


class Queue:
    def __init__(self, client: SQSClient, url: str, *, fair: bool = False) -> None:
        """`fair`: messages say whose they are, which SQS bills, and gives each owner its turn for."""
        self._client = client
        self._url = url
        self._fair = fair

    def remind(self, reminder: Reminder) -> None:
        """Sends one message."""
        self._client.send_message(QueueUrl=self._url, **reminder.entry(fair=self._fair))

    def nudge(self, reminder: Reminder) -> None:
        """Sends a message of what is safe in the table: if it is refused, the sweeper sends another when it is overdue."""
        try:
            self.remind(reminder)
        except Exception as error:  # noqa: BLE001
            logger.warning(
                "message not sent",
                job_id=reminder.job_id,
                owner=reminder.owner,
                delivery=reminder.delivery,
                error=type(error).__name__,
            )

    def send_all(self, reminders: Iterable[Reminder]) -> int:
        """Sends them ten a call; returns how many the queue refused."""
        refused = 0
        waiting = list(reminders)
        for batch in (waiting[start : start + BATCH] for start in range(0, len(waiting), BATCH)):
            entries: Any = [{"Id": str(n), **reminder.entry(fair=self._fair)} for n, reminder in enumerate(batch)]
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


class Queues:
    """The queues of jobs, one a priority: here alone is decided which is whose.

    Each has workers of its own, so a backlog of one priority does not hold up another.
    """

    def __init__(self, client: SQSClient, urls: Mapping[Priority, str], *, fair: bool = False) -> None:
        """A priority without a URL has no queue of its own: its jobs are normal ones."""
        given = {priority: url for priority, url in urls.items() if url}
        self._by_priority = {
            priority: Queue(client, given.get(priority, urls[Priority.NORMAL]), fair=fair) for priority in Priority
        }
        self._by_name = {url.rpartition("/")[2]: self._by_priority[priority] for priority, url in given.items()}

    def of(self, priority: Priority) -> Queue:
        return self._by_priority[priority]

    def send(self, job: Job, delay: float = 0) -> None:
        """Sends the job's message, to be looked at `delay` seconds from now (900 at most)."""
        self.of(job.priority).remind(Reminder.of(job, delay))

    def nudge(self, job: Job, delay: float = 0) -> None:
        """The same for a job that the sweeper finds anyhow: see Queue.nudge."""
        self.of(job.priority).nudge(Reminder.of(job, delay))

    def send_back(self, message: Message, owner: str, task: str, delay: float) -> None:
        """Sends the message anew, to where it came from: other than one that is hidden, it uses up no receives."""
        self._origin(message).remind(
            Reminder(message.job_id, delay, owner=owner, task=task, bounces=message.bounces + 1)
        )

    def hide(self, message: Message, seconds: float) -> None:
        """See Queue.hide. A receipt is good for the queue that gave it alone."""
        self._origin(message).hide(message, seconds)

    def delete(self, message: Message) -> None:
        self._origin(message).delete(message)

    def _origin(self, message: Message) -> Queue:
        return self._by_name.get(message.queue, self.of(Priority.NORMAL))


def _whole(seconds: float, most: int) -> int:
    return min(max(0, math.ceil(seconds)), most)
