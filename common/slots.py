"""Places of which there are only so many at a time, each held by a lease: a dead holder's is free again when that ends.

A pool (an owner's running jobs, a task's) has an item a slot. Taking one is a conditional write that leaves the holder's
token behind; renewing and giving back are conditional on it, so who lost a slot cannot touch the next holder's.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr

from common.errors import LeaseLost
from common.expressions import Update, from_item, to_item
from common.items import ms
from common.jobs import DAY, LEASE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: So many slots are tried on the chance that they are free before the pool is looked through.
TRIES = 2
#: A pool that was found full is believed to be so by this process, in seconds: its next messages cost nothing.
FULL_FOR = 1


@dataclass(frozen=True)
class Pool:
    """So many may be in it at a time."""

    name: str
    size: int


def owner_pool(owner: str, size: int) -> Pool:
    return Pool(f"owner#{owner}", size)


def task_pool(task: str, size: int) -> Pool:
    return Pool(f"task#{task}", size)


@dataclass(frozen=True)
class Slot:
    """One place of a pool, held under `token`."""

    pool: str
    number: int
    token: str


class Slots:
    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        pick: Callable[[int], list[int]] | None = None,
        *,
        lease: float = LEASE,
    ) -> None:
        """`pick` gives all numbers below its argument in the order in which they are to be tried."""
        self._client = client
        self._table = table
        self._pick = pick or (lambda size: random.sample(range(size), size))
        self._lease = lease
        self._full_until: dict[str, float] = {}

    def take(self, pool: Pool, token: str, now: float) -> Slot | None:
        """A slot for as long as a lease is; None if all are held. One write where there is room."""
        if now < self._full_until.get(pool.name, 0):
            return None
        order = self._pick(pool.size)
        for number in order[:TRIES]:
            if slot := self._try(pool, number, token, now):
                return slot
        held = self._held(pool, now)
        for number in order:
            if number not in held and (slot := self._try(pool, number, token, now)):
                return slot
        believed = {name: until for name, until in self._full_until.items() if until > now}
        self._full_until = believed | {pool.name: now + FULL_FOR}
        return None

    def renew(self, slot: Slot, now: float) -> None:
        """Holds it for as long again. Raises LeaseLost: it is another's."""
        update = Update().set(**self._until(now))
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(slot.pool, slot.number),
                **update.arguments(Attr("token").eq(slot.token)),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            raise LeaseLost(f"slot {slot.number} of {slot.pool}") from None

    def release(self, slot: Slot) -> None:
        """Gives it back, unless it is another's by now."""
        self._full_until.pop(slot.pool, None)
        with contextlib.suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.update_item(
                TableName=self._table,
                Key=_key(slot.pool, slot.number),
                **Update().set(lease_until=0).remove("token").arguments(Attr("token").eq(slot.token)),
            )

    def _try(self, pool: Pool, number: int, token: str, now: float) -> Slot | None:
        free = Attr("pk").not_exists() | Attr("lease_until").lte(ms(now))
        update = Update().set(token=token, **self._until(now))
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(pool.name, number),
                # A write whose answer was lost is repeated, and finds its own token.
                **update.arguments(free | Attr("token").eq(token)),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return Slot(pool.name, number, token)

    def _until(self, now: float) -> dict[str, Any]:
        return {"lease_until": ms(now + self._lease), "expires_at": math.ceil(now + DAY)}

    def _held(self, pool: Pool, now: float) -> set[int]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :p",
            ExpressionAttributeValues=to_item({":p": _key(pool.name, 0)["pk"]["S"]}),
            ConsistentRead=True,
        )
        rows = [from_item(item) for page in pages for item in page["Items"]]
        return {int(row["sk"].partition("#")[2]) for row in rows if row["lease_until"] > ms(now)}


def _key(pool: str, number: int) -> dict[str, Any]:
    return to_item({"pk": f"slots#{pool}", "sk": f"slot#{number}"})
