"""Where webhooks are kept: one item each, beside its job, with its body and every try. It lives longer than its job may.

A delivery that is not done has a `wake_at`, like an unfinished job: should its message be lost, the sweeper sends another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from boto3.dynamodb.conditions import Attr, ConditionBase

from common.expressions import Update, condition, from_item, to_item
from common.items import due_shard, job_key, ms
from common.jobs import DAY
from common.queue import MAX_DELAY, Reminder
from common.views import rfc3339
from common.webhooks import Again, Decision, Delivered, Try, try_view

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: How long a delivery is kept from its making, or from being asked for again, in seconds.
KEPT = 30 * DAY
#: How long a sent message may take to be handled before the sweeper sends another, in seconds; doubled each time…
RESEND = 120
#: …up to this.
RESEND_MAX = 3_600
#: The sweeper sends what waits for longer than a message can be delayed this much before its time, in seconds.
AHEAD = 90
#: Most tries that are kept, the latest ones.
KEPT_TRIES = 20


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True)
class Delivery:
    """One message for one receiver. Times are seconds since 1970."""

    job_id: str
    #: The message's own id, its `webhook-id`: the same for every try.
    id: str
    owner: str
    type: str
    #: Where a callback goes; None for the owner's endpoint, wherever that is when it is tried.
    url: str | None
    body: str
    created_at: float
    #: The job's birth: another job may follow it under the same idempotency key.
    born: int
    next_at: float
    expires_at: float
    state: State = State.PENDING
    #: Why it is exhausted.
    reason: str | None = None
    tries: tuple[Try, ...] = ()
    #: All tries that were ever made, and those since it was last begun.
    tried: int = 0
    round: int = 0
    #: How often the sweeper sent its message anew since the last try.
    wakes: int = 0

    def reminder(self, delay: float = 0) -> Reminder:
        """The message that has it tried `delay` seconds from now."""
        return Reminder(self.job_id, delay, self.id, self.owner)


class Deliveries:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, delivery: Delivery, now: float) -> bool:
        """Whether it is new: the same change is made into the same delivery, however often it is seen."""
        waiting = {"due": due_shard(delivery.job_id), "wake_at": ms(now + RESEND)}
        place = waiting if delivery.state is State.PENDING else _listed(delivery)
        item = _item(delivery) | to_item(place)
        try:
            self._client.put_item(TableName=self._table, Item=item, **condition(Attr("pk").not_exists()))
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def get(self, job_id: str, delivery_id: str, now: float) -> Delivery | None:
        key = job_key(job_id, f"delivery#{delivery_id}")
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        found = _delivery(answer["Item"]) if "Item" in answer else None
        return None if found is None or found.expires_at <= now else found

    def of_job(self, job_id: str, now: float) -> Iterator[Delivery]:
        """All that belong to jobs of this id, in no order."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :p AND begins_with(sk, :d)",
            ExpressionAttributeValues=to_item({":p": f"job#{job_id}", ":d": "delivery#"}),
            ConsistentRead=True,
        )
        for page in pages:
            yield from (found for found in map(_delivery, page["Items"]) if found.expires_at > now)

    def record(self, delivery: Delivery, made: Try | None, decision: Decision, now: float) -> bool:
        """Writes a try and what follows from it; False if another try was written in between."""
        after = {"tried": delivery.tried + 1, "round": delivery.round + 1} if made else {}
        update = Update().set(**after, tries=_texts(delivery, made))
        match decision:
            case Delivered():
                update.set(status=State.DELIVERED).remove("due", "wake_at", "reason")
            case Again(wait):
                # What fits a message's delay is sent by whoever tried; the sweeper is there should that message get lost.
                wake_at = now + wait + RESEND if wait <= MAX_DELAY else now + wait - AHEAD
                update.set(next_at=ms(now + wait), wake_at=ms(wake_at), wakes=0)
            case exhausted:
                update.set(status=State.EXHAUSTED, reason=exhausted.reason, **_listed(delivery))
                update.remove("due", "wake_at")
        return self._update(delivery.job_id, delivery.id, update, _untouched(delivery)) is not None

    def begin_again(self, delivery: Delivery, now: float) -> Delivery | None:
        """Has it tried from the start, with the same id; None if something else happened to it in between."""
        update = (
            Update()
            .set(status=State.PENDING, next_at=ms(now), wake_at=ms(now + RESEND), due=due_shard(delivery.job_id))
            .set(round=0, wakes=0, expires_at=math.ceil(now + KEPT))
            .remove("reason", "owner", "listed")
        )
        return self._updated(delivery.job_id, delivery.id, update, Attr("tried").eq(delivery.tried))

    def wake(self, job_id: str, delivery_id: str, wake_at: float, wakes: int, now: float) -> Delivery | None:
        """Takes an overdue one for sending again; None: it has moved since, or another sweeper took it."""
        again = now + min(RESEND * 2**wakes, RESEND_MAX)
        update = Update().set(wake_at=ms(again)).add("wakes")
        return self._updated(job_id, delivery_id, update, Attr("due").exists() & Attr("wake_at").eq(ms(wake_at)))

    def undelivered(
        self, owner: str, now: float, *, limit: int, after: str | None = None
    ) -> tuple[list[Delivery], str | None]:
        """A page of the owner's exhausted deliveries, the latest first, and where the next one begins."""
        start: dict[str, Any] = {}
        if after is not None:
            _, job_id, delivery_id = after.split("#")
            key = {"pk": f"job#{job_id}", "sk": f"delivery#{delivery_id}", "listed": after, "owner": _shelf(owner)}
            start = {"ExclusiveStartKey": to_item(key)}
        answer = self._client.query(
            TableName=self._table,
            IndexName="by_owner",
            KeyConditionExpression="#o = :o",
            ExpressionAttributeNames={"#o": "owner"},
            ExpressionAttributeValues=to_item({":o": _shelf(owner)}),
            ScanIndexForward=False,
            Limit=limit,
            **start,
        )
        places = [row["listed"]["S"].split("#")[1:] for row in answer["Items"]]
        found = [self.get(job_id, delivery_id, now) for job_id, delivery_id in places]
        last = answer.get("LastEvaluatedKey")
        # The index is a little behind: what was begun again since is not shown.
        shown = [each for each in found if each is not None and each.state is State.EXHAUSTED]
        return shown, last["listed"]["S"] if last else None

    def _updated(self, job_id: str, delivery_id: str, update: Update, when: ConditionBase) -> Delivery | None:
        item = self._update(job_id, delivery_id, update, when, returns="ALL_NEW")
        return _delivery(item) if item else None

    def _update(
        self,
        job_id: str,
        delivery_id: str,
        update: Update,
        when: ConditionBase,
        returns: Literal["ALL_NEW", "NONE"] = "NONE",
    ) -> dict[str, Any] | None:
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=job_key(job_id, f"delivery#{delivery_id}"),
                ReturnValues=returns,
                **update.arguments(Attr("pk").exists() & when),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return answer.get("Attributes", {})


def delivery_view(delivery: Delivery) -> dict[str, Any]:
    """A delivery, as its owner sees it."""
    return {
        "id": delivery.id,
        "job": delivery.job_id,
        "type": delivery.type,
        "to": "endpoint" if delivery.url is None else "callback",
        "url": delivery.url,
        "status": delivery.state,
        "reason": delivery.reason,
        "created_at": rfc3339(delivery.created_at),
        "next_try_at": rfc3339(delivery.next_at) if delivery.state is State.PENDING else None,
        "tried": delivery.tried,
        "tries": [try_view(made) for made in delivery.tries],
    }


def _untouched(delivery: Delivery) -> ConditionBase:
    """Nobody tried it, or began it again, since it was read."""
    return Attr("tried").eq(delivery.tried) & Attr("status").eq(State.PENDING) & Attr("round").eq(delivery.round)


def _texts(delivery: Delivery, made: Try | None) -> str:
    tries = (*delivery.tries, *([made] if made else []))[-KEPT_TRIES:]
    return json.dumps([asdict(each) for each in tries], separators=(",", ":"))


def _shelf(owner: str) -> str:
    """The index's key of an owner's undelivered messages; no owner's name has a #."""
    return f"{owner}#undelivered"


def _listed(delivery: Delivery) -> dict[str, str]:
    place = f"{ms(delivery.created_at):013d}#{delivery.job_id}#{delivery.id}"
    return {"owner": _shelf(delivery.owner), "listed": place}


def _item(delivery: Delivery) -> dict[str, Any]:
    return to_item(
        {
            "pk": f"job#{delivery.job_id}",
            "sk": f"delivery#{delivery.id}",
            "belongs_to": delivery.owner,
            "type": delivery.type,
            "url": delivery.url,
            "body": delivery.body,
            "born": delivery.born,
            "created_at": ms(delivery.created_at),
            "next_at": ms(delivery.next_at),
            "status": delivery.state,
            "reason": delivery.reason,
            "tries": _texts(delivery, None),
            "tried": delivery.tried,
            "round": delivery.round,
            "wakes": delivery.wakes,
            "expires_at": math.ceil(delivery.expires_at),
        }
    )


def _delivery(item: dict[str, Any]) -> Delivery:
    row = from_item(item)
    return Delivery(
        job_id=row["pk"].partition("#")[2],
        id=row["sk"].partition("#")[2],
        owner=row["belongs_to"],
        type=row["type"],
        url=row.get("url"),
        body=row["body"],
        created_at=row["created_at"] / 1000,
        born=row["born"],
        next_at=row["next_at"] / 1000,
        expires_at=row["expires_at"],
        state=State(row["status"]),
        reason=row.get("reason"),
        tries=tuple(Try(**made) for made in json.loads(row["tries"])),
        tried=row["tried"],
        round=row["round"],
        wakes=row["wakes"],
    )
