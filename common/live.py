"""Who watches which job over a WebSocket.

    connection#{id}  connection   whose it is, the one job that it may watch (if its ticket names one), the jobs it watches
    job#{id}         live#{id}    how far this connection was told the job's log, and by whom it is told now

Both go with the connection, which the gateway ends after two hours; what is left of one that ended unnoticed, TTL takes.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr, ConditionBase
from botocore.exceptions import ClientError

from common.errors import Conflict
from common.expressions import Update, condition, from_item, to_item
from common.items import job_key, ms
from common.jobs import Job

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: API Gateway ends a connection after two hours; what belongs to it is kept a little longer. In seconds.
LIFE = 2 * 3_600 + 600
#: Most jobs that one connection may watch.
MAX_JOBS = 20
#: Most connections that may watch one job.
MAX_WATCHERS = 100


class Closed(Exception):
    """The connection has ended."""


@dataclass(frozen=True)
class Connection:
    """An open WebSocket. `only` is the one job that it may watch; None for all of the owner's."""

    id: str
    owner: str
    only: str | None = None
    jobs: frozenset[str] = frozenset()

    def may_watch(self, job: Job) -> bool:
        return job.owner == self.owner and self.only in (None, job.id)


@dataclass(frozen=True)
class Subscription:
    """One connection's place in one job's log: `sent` is the last number that it was told.

    `live`: the notifier tells it what happens. Before, whoever began it does, and the notifier leaves it alone.
    `born` is when the job was created, in milliseconds: one that took an expired one's place is another job.
    """

    job_id: str
    connection: str
    token: str
    sent: int
    born: int
    live: bool = False

    def is_of(self, job: Job) -> bool:
        return self.born == ms(job.created_at)


class Subscriptions:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    # -------------------------------------------------------------- connections

    def connect(self, connection: Connection, now: float) -> None:
        values: dict[str, Any] = {
            "connection_owner": connection.owner,
            "only": connection.only,
            "jobs": {},
            "expires_at": math.ceil(now + LIFE),
        }
        self._client.put_item(TableName=self._table, Item=to_item(values) | _connection_key(connection.id))

    def connection(self, connection_id: str) -> Connection:
        """Raises Closed."""
        key = _connection_key(connection_id)
        # Its first message may come before a cheap read knows of it.
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        if "Item" not in answer:
            raise Closed(connection_id)
        row = from_item(answer["Item"])
        return Connection(connection_id, row["connection_owner"], row.get("only"), frozenset(row["jobs"]))

    def disconnect(self, connection_id: str) -> None:
        """Forgets a connection that has ended, and its subscriptions. Twice is harmless."""
        answer = self._client.delete_item(
            TableName=self._table, Key=_connection_key(connection_id), ReturnValues="ALL_OLD"
        )
        for job_id in from_item(answer.get("Attributes", {})).get("jobs", {}):
            self._client.delete_item(TableName=self._table, Key=_key(job_id, connection_id))

    # -------------------------------------------------------------- one subscription, from its beginning to its end

    def begin(self, connection: Connection, job: Job, sent: int, now: float) -> Subscription:
        """A new one, not live yet; it takes the place of one of the same connection to the same job.

        Raises Conflict when there are too many, Closed.
        """
        if job.id not in connection.jobs:
            self._enter(connection.id, job, now)
        new = Subscription(job.id, connection.id, secrets.token_hex(8), sent, ms(job.created_at))
        values = {
            "token": new.token,
            "sent": new.sent,
            "born": new.born,
            "live": new.live,
            "expires_at": math.ceil(now + LIFE),
        }
        self._client.put_item(TableName=self._table, Item=to_item(values) | _key(job.id, connection.id))
        return new

    def find(self, connection: Connection, job: Job) -> Subscription | None:
        if job.id not in connection.jobs:
            return None
        answer = self._client.get_item(TableName=self._table, Key=_key(job.id, connection.id), ConsistentRead=True)
        return _subscription(answer["Item"]) if "Item" in answer else None

    def go_live(self, subscription: Subscription, sent: int) -> Subscription | None:
        """From now on it is the notifier's to tell. None: it was ended, or another has taken its place."""
        live = replace(subscription, sent=sent, live=True)
        return live if self._update(subscription, Update().set(sent=sent, live=True)) else None

    def move(self, subscription: Subscription, sent: int) -> Subscription | None:
        """It was told as far as `sent`. None: it was ended, another has taken its place, or moved it."""
        moved = replace(subscription, sent=sent)
        update = Update().set(sent=sent)
        there = Attr("sent").is_in([subscription.sent, sent])  # or there already: a repeat of this very write
        return moved if self._update(subscription, update, there) else None

    def end(self, subscription: Subscription) -> None:
        """Unless another has taken its place."""
        key = _key(subscription.job_id, subscription.connection)
        same = Attr("pk").not_exists() | Attr("token").eq(subscription.token)
        if _held(lambda: self._client.delete_item(TableName=self._table, Key=key, **condition(same))):
            self._leave(subscription.connection, subscription.job_id)

    def cancel(self, connection_id: str, job_id: str) -> None:
        """Ends whatever subscription there is."""
        self._client.delete_item(TableName=self._table, Key=_key(job_id, connection_id))
        self._leave(connection_id, job_id)

    # -------------------------------------------------------------- a job's

    def live(self, job: Job) -> Sequence[Subscription]:
        """Those that are the notifier's to tell."""
        pages = self._client.get_paginator("query").paginate(
            **self._of(job.id),
            # One that went live before this very change of the job must be found.
            ConsistentRead=True,
        )
        found = [_subscription(item) for page in pages for item in page["Items"]]
        return [one for one in found if one.live and one.is_of(job)]

    def _count(self, job_id: str, now: float) -> int:
        answer = self._client.query(
            **self._of(job_id, {":now": math.floor(now)}),
            FilterExpression="expires_at > :now",  # TTL deletes late
            Select="COUNT",
        )
        return answer["Count"]

    def _of(self, job_id: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :p AND begins_with(sk, :l)",
            "ExpressionAttributeValues": to_item({":p": f"job#{job_id}", ":l": "live#", **(values or {})}),
        }

    # -------------------------------------------------------------- what the connection's item knows of it

    def _enter(self, connection_id: str, job: Job, now: float) -> None:
        if self._count(job.id, now) >= MAX_WATCHERS:
            raise Conflict(f"{MAX_WATCHERS} connections watch this job already; more cannot.")
        fits = Attr("jobs").size().lt(MAX_JOBS) | Attr(f"jobs.{job.id}").exists()
        arguments = Update().put_in("jobs", job.id, True).arguments(Attr("pk").exists() & fits)
        key = _connection_key(connection_id)
        if not _held(lambda: self._client.update_item(TableName=self._table, Key=key, **arguments)):
            self.connection(connection_id)  # raises Closed if that is why
            raise Conflict(f"A connection can watch {MAX_JOBS} jobs; unsubscribe from one, or connect once more.")

    def _leave(self, connection_id: str, job_id: str) -> None:
        _held(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_connection_key(connection_id),
                UpdateExpression="REMOVE jobs.#j",
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeNames={"#j": job_id},
            )
        )

    def _update(self, subscription: Subscription, update: Update, when: ConditionBase | None = None) -> bool:
        same: ConditionBase = Attr("token").eq(subscription.token)
        arguments = update.arguments(same & when if when is not None else same)
        key = _key(subscription.job_id, subscription.connection)
        return _held(lambda: self._client.update_item(TableName=self._table, Key=key, **arguments))


def _held(write: Callable[[], Any]) -> bool:
    """Whether the write's condition held."""
    try:
        write()
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


def _subscription(item: dict[str, Any]) -> Subscription:
    row = from_item(item)
    return Subscription(
        job_id=row["pk"].partition("#")[2],
        connection=row["sk"].partition("#")[2],
        token=row["token"],
        sent=row["sent"],
        born=row["born"],
        live=row["live"],
    )


def _key(job_id: str, connection_id: str) -> dict[str, Any]:
    return job_key(job_id, f"live#{connection_id}")


def _connection_key(connection_id: str) -> dict[str, Any]:
    return to_item({"pk": f"connection#{connection_id}", "sk": "connection"})
