"""The owners' schedules: what is to be submitted, and when. Each is one item; EventBridge Scheduler knows the time.

The item says what is wanted, and EventBridge follows. Every change is written to the item first, as not settled; then
EventBridge is told; then the item is marked as settled, if it is still the version that EventBridge was told of.

| it dies | then |
|---|---|
| before the item is put | nothing was stored |
| between the item and EventBridge | it is shown as `arming`, and its next GET, list or repeated POST tells EventBridge |
| between EventBridge and the mark | the same; telling EventBridge twice is harmless, the name is the same |
| at a deletion, between the item and EventBridge | it fires into nothing: the function finds no item, makes no job, and
  deletes it from EventBridge; a paused one never fires, and stays there without effect |
| at a firing, before the job is put | Lambda invokes again |
| at a firing, after it | Lambda invokes again: the job is found, the item is told of it; an unsent message is the sweeper's |

A name in EventBridge has the item's token in it. So one that was left over from a deletion can neither stand in the way of
another made later under the same idempotency key, nor be taken for it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError

from common.errors import NotFound
from common.expressions import Update, condition, from_item, to_item
from common.items import ms
from common.jobs import DAY, Priority, derived_id
from common.making import Order
from common.usage import Budget

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: Most schedules that an owner can have, those not counted that have fired for good. Requests that come at the same
#: moment may pass it by one another: it bounds, it does not bill.
MOST = 100
#: Largest input, in bytes of UTF-8: it is kept with its schedule.
MAX_INPUT = 100_000
#: How long EventBridge tries to hand a firing over, and Lambda to have it handled, in seconds each.
PATIENCE = 3_600
#: A job of a schedule is kept at least so long after its end, in seconds: a firing that comes once more must find it.
MIN_TTL = 3 * PATIENCE
#: How long a schedule that has fired for good is kept, in seconds.
KEPT = 30 * DAY


class Kind(StrEnum):
    """Which of EventBridge's expressions says when."""

    CRON = "cron"
    RATE = "rate"
    #: Once.
    AT = "at"


class State(StrEnum):
    #: It is stored, and EventBridge may not know of it yet.
    ARMING = "arming"
    ACTIVE = "active"
    PAUSED = "paused"
    #: Once, and done.
    FIRED = "fired"
    #: Once, and its time has passed while it was paused, or without EventBridge.
    MISSED = "missed"


@dataclass(frozen=True)
class Schedule:
    """What is submitted for `owner` whenever `expression` says so. Times are seconds since 1970."""

    owner: str
    id: str
    kind: Kind
    #: What EventBridge wants between the parentheses. The time of an `at` is in UTC.
    expression: str
    timezone: str
    order: Order
    #: The request's hash: the same idempotency key with another one is refused.
    fingerprint: str
    #: Who made the item: tells a repeated write from another's, and this schedule from one before it under the same id.
    token: str
    created_at: float
    name: str | None = None
    paused: bool = False
    settled: bool = False
    #: Counts its owner's changes.
    version: int = 1
    #: The latest firing that made a job, and the job.
    last_fired_at: float | None = None
    last_job: str | None = None
    expires_at: float | None = field(default=None, compare=False)

    @property
    def moment(self) -> float | None:
        """When it fires, if that is once."""
        if self.kind is not Kind.AT:
            return None
        return datetime.fromisoformat(self.expression).replace(tzinfo=UTC).timestamp()

    def status(self, now: float) -> State:
        if self.moment is not None:
            if self.last_fired_at is not None:
                return State.FIRED
            if now > self.moment + (2 * PATIENCE if self.settled and not self.paused else 0):
                return State.MISSED
        if self.paused:  # true whether EventBridge knows or not: a firing looks here
            return State.PAUSED
        return State.ACTIVE if self.settled else State.ARMING

    def is_expired(self, now: float) -> bool:
        """TTL deletes late (days), so every read asks this."""
        return self.expires_at is not None and self.expires_at <= now

    def job_id(self, at: float) -> str:
        """The id of the one job that the firing of that time makes. No client's key has a line break, so none meets it."""
        return derived_id(self.owner, f"schedule\n{self.id}\n{ms(at)}")


class Schedules:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, schedule: Schedule, now: float) -> tuple[Schedule, bool]:
        """Puts a new one, or finds the one that its idempotency key made before: (schedule, whether it is new)."""
        free = Attr("pk").not_exists() | Attr("expires_at").lte(math.floor(now))
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_item(schedule),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **condition(free),
            )
        except ClientError as error:
            item: Any = error.response.get("Item")
            if not item:
                raise
            standing = _schedule(item)
            return standing, standing.token == schedule.token
        return schedule, True

    def get(self, owner: str, schedule_id: str, now: float) -> Schedule | None:
        answer = self._client.get_item(TableName=self._table, Key=_key(owner, schedule_id), ConsistentRead=True)
        found = _schedule(answer["Item"]) if "Item" in answer else None
        return None if found is None or found.is_expired(now) else found

    def list(
        self, owner: str, now: float, *, limit: int, after: str | None = None
    ) -> tuple[list[Schedule], str | None]:
        """A page of the owner's schedules by id (fewer than `limit` if they are large), and where the next one begins."""
        start: dict[str, Any] = {"ExclusiveStartKey": _key(owner, after)} if after else {}
        answer = self._client.query(TableName=self._table, Limit=limit, ConsistentRead=True, **_of(owner), **start)
        found = [_schedule(item) for item in answer["Items"]]
        last = answer.get("LastEvaluatedKey")
        return [each for each in found if not each.is_expired(now)], _id(last) if last else None

    def count(self, owner: str) -> int:
        """How many can still fire."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            Select="COUNT",
            ConsistentRead=True,
            FilterExpression="attribute_not_exists(expires_at)",
            **_of(owner),
        )
        return sum(page["Count"] for page in pages)

    def pause(self, schedule: Schedule, *, paused: bool) -> Schedule:
        """The next version, of which EventBridge is still to be told. Raises NotFound."""
        update = Update().set(paused=paused, settled=False).add("version")
        changed = self._update(schedule, update, Attr("token").eq(schedule.token))
        if changed is None:
            raise NotFound("No such schedule.")
        return changed

    def settle(self, schedule: Schedule) -> Schedule | None:
        """Notes that EventBridge knows this version; None if it is not the one that stands there any more."""
        same = Attr("token").eq(schedule.token) & Attr("version").eq(schedule.version)
        return self._update(schedule, Update().set(settled=True), same)

    def note(self, schedule: Schedule, at: float, job_id: str, now: float) -> None:
        """Writes down the latest firing; an older one that comes late changes nothing."""
        update = Update().set(last_fired_at=ms(at), last_job=job_id)
        if schedule.kind is Kind.AT:
            update.set(expires_at=math.ceil(now + KEPT))
        later = Attr("last_fired_at").not_exists() | Attr("last_fired_at").lt(ms(at))
        self._update(schedule, update, Attr("token").eq(schedule.token) & later)

    def remove(self, owner: str, schedule_id: str, token: str | None = None) -> Schedule | None:
        """Forgets it: from now on it makes no jobs. None if there is none (or, with `token`, not that one)."""
        given = condition(Attr("token").eq(token)) if token else {}
        try:
            answer = self._client.delete_item(
                TableName=self._table, Key=_key(owner, schedule_id), ReturnValues="ALL_OLD", **given
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return _schedule(answer["Attributes"]) if answer.get("Attributes") else None

    def _update(self, schedule: Schedule, update: Update, when: Any) -> Schedule | None:
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=_key(schedule.owner, schedule.id),
                ReturnValues="ALL_NEW",
                **update.arguments(when),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return _schedule(answer["Attributes"])


_TIMES = ("created_at", "last_fired_at")


def _item(schedule: Schedule) -> dict[str, Any]:
    values = asdict(schedule)
    owner, schedule_id = values.pop("owner"), values.pop("id")
    times = {name: ms(values[name]) for name in _TIMES if values[name] is not None}
    return to_item(values | times) | _key(owner, schedule_id)


def _schedule(item: dict[str, Any]) -> Schedule:
    row = from_item(item)
    owner, schedule_id = row.pop("pk").partition("#")[2], row.pop("sk").partition("#")[2]
    order = row.pop("order")
    made = order | {"budget": Budget(**order.get("budget", {})), "priority": Priority(order["priority"])}
    times = {name: row[name] / 1000 for name in _TIMES if name in row}
    return Schedule(owner, schedule_id, Kind(row.pop("kind")), order=Order(**made), **(row | times))


def _of(owner: str) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "pk = :o AND begins_with(sk, :s)",
        "ExpressionAttributeValues": to_item({":o": f"owner#{owner}", ":s": "schedule#"}),
    }


def _key(owner: str, schedule_id: str) -> dict[str, Any]:
    return to_item({"pk": f"owner#{owner}", "sk": f"schedule#{schedule_id}"})


def _id(key: dict[str, Any]) -> str:
    return str(key["sk"]["S"]).partition("#")[2]
