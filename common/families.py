"""Jobs that were begun by another job's step: how many, what became of each, and when their parent has heard enough.

A child's end is written down by a marker of its own, in one transaction with the count: however often the end is seen, it
counts once. The children's ids follow from their parent and their place, so making them twice makes them once.

A job that its owner has retried is in another life, and begins children anew but for those that completed in the one before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError

from common.expressions import Update, condition, from_item, to_item
from common.items import job_key, ms
from common.jobs import MAX_LIFE, Job, Payload, Status
from common.writes import patiently

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: Most children of one step.
MAX_CHILDREN = 10_000
#: Most ends that one transaction counts.
_COUNTED = 90


@dataclass(frozen=True)
class Family:
    """The children of one step: `size` in all, `made` of them begun, `ended` of those done, `failed` of these badly.

    At most `concurrency` are begun and not ended. With `fail_fast` the first that fails is enough.
    """

    step: str
    task: str
    size: int
    concurrency: int
    fail_fast: bool
    #: How many attempts the parent had made before it was last retried by its owner.
    life: int = 0
    made: int = 0
    ended: int = 0
    failed: int = 0

    @property
    def name(self) -> str:
        return family_name(self.step, self.life)

    @property
    def is_over(self) -> bool:
        return self.ended >= self.size or (self.fail_fast and self.failed > 0)

    @property
    def room(self) -> int:
        """How many more may be begun."""
        return min(self.size, self.ended + self.concurrency) - self.made

    @property
    def wants_its_parent(self) -> bool:
        """When it is over; and when half of those that may run have ended, so that the parent begins others."""
        return self.is_over or self.room >= min(self.size - self.made, math.ceil(self.concurrency / 2)) > 0


@dataclass(frozen=True)
class Ended:
    """A child that has ended. `number` counts from 0."""

    number: int
    id: str
    status: Status
    result: Payload | None
    error: str | None


def family_name(step: str, life: int) -> str:
    return f"{life}~{step}"


def step_of(name: str) -> str:
    """The step whose family is called so."""
    return name.partition("~")[2]


def child_id(parent: Job, name: str, number: int) -> str:
    """The id of the `number`-th child of the family called `name`."""
    told = f"{parent.id} {ms(parent.created_at)} {name} {number}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]


class Families:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def begin(self, parent: Job, family: Family, now: float) -> Family:
        """The step's family; as it stands if it was begun before."""
        item = to_item(asdict(family) | {"born": ms(parent.created_at), "expires_at": math.ceil(now + MAX_LIFE)})
        # An earlier job of the same id (an idempotency key that was used again) had a family of its own.
        free = Attr("pk").not_exists() | Attr("born").ne(ms(parent.created_at))
        try:
            self._client.put_item(
                TableName=self._table, Item=item | job_key(parent.id, f"children#{family.name}"), **condition(free)
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return self.get(parent.id, family.name) or family
        return family

    def get(self, parent_id: str, name: str) -> Family | None:
        answer = self._client.get_item(
            TableName=self._table, Key=job_key(parent_id, f"children#{name}"), ConsistentRead=True
        )
        return _family(answer["Item"]) if "Item" in answer else None

    def all(self, parent: Job) -> list[Family]:
        """Of every step of the job."""
        return [_family(item) for item in self._items(parent.id, "children#", parent)]

    def note_made(self, parent: Job, family: Family, made: int) -> None:
        """So many were begun by now; less than what stands there changes nothing."""
        update = Update().set(made=made)
        when = Attr("born").eq(ms(parent.created_at)) & Attr("made").lt(made)
        self._write(job_key(parent.id, f"children#{family.name}"), update, when)

    def note_ended(self, parent_id: str, name: str, born: int, children: Sequence[Ended]) -> Family | None:
        """Counts the ends of children, each once; the family as it is then, None if there is none any more."""
        waiting = list(children)
        while waiting:
            batch = waiting[:_COUNTED]
            known = self._count(parent_id, name, born, batch)
            if known is None:
                return None
            # All of them, or those that were counted before: what is left is counted in the next turn.
            waiting = [one for one in waiting if one.number not in known]
        return self.get(parent_id, name)

    def ended(self, parent: Job, name: str) -> Iterator[Ended]:
        """Those of the family's children that have ended, in their order."""
        for item in self._items(parent.id, f"child#{name}#", parent):
            row = from_item(item)
            result = Payload(**row["result"]) if "result" in row else None
            yield Ended(row["number"], row["id"], Status(row["status"]), result, row.get("error"))

    def _count(self, parent_id: str, name: str, born: int, batch: Sequence[Ended]) -> set[int] | None:
        """The numbers of the batch that are counted now: all of it, or those that had been before. None: no family."""
        counted = Update().increase(ended=len(batch), failed=sum(one.status is not Status.COMPLETED for one in batch))
        here: Any = counted.arguments(Attr("born").eq(born)) | {
            "TableName": self._table,
            "Key": job_key(parent_id, f"children#{name}"),
        }
        free = Attr("pk").not_exists() | Attr("born").ne(born)
        marks: Any = [
            {"Put": {"TableName": self._table, "Item": _mark(parent_id, name, born, one), **condition(free)}}
            for one in batch
        ]
        try:
            patiently(lambda: self._client.transact_write_items(TransactItems=[{"Update": here}, *marks]))
        except ClientError as error:
            reasons: Any = error.response.get("CancellationReasons") or [{}]
            failed = [reason.get("Code") == "ConditionalCheckFailed" for reason in reasons]
            if not any(failed):
                raise
            return (
                None if failed[0] else {one.number for one, is_known in zip(batch, failed[1:], strict=True) if is_known}
            )
        return {one.number for one in batch}

    def _items(self, parent_id: str, prefix: str, parent: Job) -> Iterable[dict[str, Any]]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :p AND begins_with(sk, :s)",
            FilterExpression="born = :b",
            ExpressionAttributeValues=to_item({":p": f"job#{parent_id}", ":s": prefix, ":b": ms(parent.created_at)}),
            ConsistentRead=True,
        )
        for page in pages:
            yield from page["Items"]

    def _write(self, key: dict[str, Any], update: Update, when: Any) -> bool:
        try:
            self._client.update_item(TableName=self._table, Key=key, **update.arguments(when))
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _mark(parent_id: str, name: str, born: int, child: Ended) -> dict[str, Any]:
    values = {
        "number": child.number,
        "id": child.id,
        "status": child.status,
        "result": None if child.result is None else asdict(child.result),
        "error": child.error,
        "born": born,
        "expires_at": math.ceil(born / 1000 + MAX_LIFE),
    }
    return to_item(values) | job_key(parent_id, f"child#{name}#{child.number:05d}")


def _family(item: dict[str, Any]) -> Family:
    row = from_item(item)
    names = ("step", "task", "size", "concurrency", "fail_fast", "life", "made", "ended", "failed")
    return Family(**{name: row[name] for name in names})
