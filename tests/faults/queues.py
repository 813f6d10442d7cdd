"""SQS as far as it matters here, on the virtual clock: delays, visibility, receives, dead letters; it may deliver twice.

Moto's own queues know real time only.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.virtual import Thread, World


@dataclass(eq=False)
class Stored:
    id: str
    body: str
    sent_at: float
    visible_at: float
    receives: int = 0
    #: The receipts of all its receives: the latest is good for hiding it, any for deleting it.
    receipts: list[str] = field(default_factory=list)
    first_received_at: float = 0
    generation: int = 0


class QueueModel:
    def __init__(self, world: World, url: str, visibility: float, receives: int = 0, dead: QueueModel | None = None):
        self.world = world
        self.name = url.rpartition("/")[2]
        self.visibility, self._receives, self._dead = visibility, receives, dead
        self.messages: list[Stored] = []
        self.sent = 0
        #: How likely a message is given twice; 0 where only what fails is to be seen.
        self.twice = 0.0
        #: Lambda's poller: it is told when there may be something to receive.
        self.poller: Thread | None = None
        self._count = itertools.count(1)
        self._receipts: dict[str, Stored] = {}

    def send(self, body: str, delay: float = 0) -> str:
        now = self.world.now
        generation = self.world.current.process.generation + 1
        message = Stored(f"{self.name}-{next(self._count)}", body, now, now + delay, generation=generation)
        self.messages.append(message)
        self.sent += 1
        self._poke()
        return message.id

    def receive(self, most: int = 10) -> list[Stored]:
        """What Lambda's poller takes, in any order. A message that was received too often goes to the dead letters."""
        now, taken = self.world.now, list[Stored]()
        visible = [each for each in self.messages if each.visible_at <= now]
        self.world.random.shuffle(visible)
        for message in visible:
            if len(taken) == most:
                break
            if self._dead is not None and message.receives >= self._receives:
                self.give_up(message)
                continue
            message.receives += 1
            message.first_received_at = message.first_received_at or now
            receipt = f"{message.id}/{message.receives}"
            message.receipts.append(receipt)
            self._receipts[receipt] = message
            is_double = self.world.random.random() < self.twice
            message.visible_at = now + (self.world.random.uniform(0, 2) if is_double else self.visibility)
            taken.append(message)
        return taken

    def give_up(self, message: Stored) -> None:
        self.messages.remove(message)
        if self._dead is not None:
            self._dead.take_over(message)

    def take_over(self, message: Stored) -> None:
        """A dead letter keeps its id and when it was sent."""
        message.visible_at, message.receives = self.world.now, 0
        self.messages.append(message)
        self._poke()

    def hide(self, receipt: str, seconds: float) -> bool:
        message = self._receipts.get(receipt)
        if message is None or message not in self.messages or message.receipts[-1] != receipt:
            return False
        message.visible_at = self.world.now + seconds
        self._poke()
        return True

    def delete(self, receipt: str) -> None:
        message = self._receipts.get(receipt)
        if message in self.messages:
            self.messages.remove(message)

    def _poke(self) -> None:
        if self.poller is not None:
            self.world.wake(self.poller)

    @property
    def next_visible(self) -> float:
        return min((each.visible_at for each in self.messages), default=float("inf"))


def answer(queues: Mapping[str, QueueModel], operation: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The queue's answer to a call, as boto3 shows it; an error has its code under `Error`."""
    queue = queues[given["QueueUrl"]]
    match operation:
        case "SendMessage":
            return {"MessageId": queue.send(given["MessageBody"], given.get("DelaySeconds", 0))}
        case "SendMessageBatch":
            sent = [
                {"Id": one["Id"], "MessageId": queue.send(one["MessageBody"], one.get("DelaySeconds", 0))}
                for one in given["Entries"]
            ]
            return {"Successful": sent}
        case "ChangeMessageVisibility":
            if queue.hide(given["ReceiptHandle"], given["VisibilityTimeout"]):
                return {}
            return {"Error": {"Code": "InvalidParameterValue", "Message": "The message is not in flight."}}
        case "DeleteMessage":
            queue.delete(given["ReceiptHandle"])
            return {}
    raise NotImplementedError(operation)
