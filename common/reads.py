"""Looking at the table. Decides nothing: the conditional writes of `store.py` do."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import NotFound, Unavailable
from common.events import Numbered, page_events
from common.expressions import from_item, to_item
from common.items import SHARDS, item_job, item_step, job_key, ms, place
from common.jobs import Job, Status
from common.steps import Step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: Before each try to get what the table had no time for, in seconds.
PAUSES = (0, 0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True)
class Overdue:
    """A job, or a webhook of a job, that should have moved at `wake_at`; `wakes` is how often it was woken since."""

    job_id: str
    delivery: str | None
    wake_at: float
    wakes: int


class Reads:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, job_id: str, now: float, *, consistent: bool = False) -> Job | None:
        """The job; None if there is none or it has expired. Half the price unless `consistent`."""
        answer = self._client.get_item(TableName=self._table, Key=job_key(job_id), ConsistentRead=consistent)
        job = item_job(answer["Item"]) if "Item" in answer else None
        return None if job is None or job.is_expired(now) else job

    def is_cancel_requested(self, job: Job) -> bool:
        """The cheapest look at the one flag. Raises LeaseLost when the job belongs to another attempt."""
        answer = self._client.get_item(
            TableName=self._table,
            Key=job_key(job.id),
            ProjectionExpression="#t, cancel_requested",
            ExpressionAttributeNames={"#t": "token"},
        )
        seen = from_item(answer.get("Item", {}))
        # An eventually consistent read may be older than our claim, so another token proves nothing; renewals decide.
        return seen.get("token") == job.token and bool(seen.get("cancel_requested"))

    def many(self, ids: Iterable[str], now: float) -> dict[str, Job]:
        """Those of up to a hundred jobs that there are and that have not expired, by their ids."""
        keys = [job_key(job_id) for job_id in dict.fromkeys(ids)]
        wanted: Any = {self._table: {"Keys": keys}} if keys else {}
        found: builtins.list[Job] = []
        for pause in PAUSES:
            if not wanted:
                break
            time.sleep(pause)
            answer = self._client.batch_get_item(RequestItems=wanted)
            found += map(item_job, answer["Responses"].get(self._table, []))
            wanted = answer.get("UnprocessedKeys")
        if wanted:
            raise Unavailable("The table is busy; try again.")
        return {job.id: job for job in found if not job.is_expired(now)}

    def list(
        self,
        owner: str,
        now: float,
        *,
        limit: int,
        after: str | None = None,
        status: Status | None = None,
        task: str | None = None,
    ) -> tuple[builtins.list[Job], str | None]:
        """A page of the owner's jobs, newest first, as the table has them, and where the next one begins.

        The index holds nothing of a job that changes, so that no change pays for it: the jobs are looked up.
        """
        names, values = {"#o": "owner"}, {":o": owner}
        arguments: dict[str, Any] = {}
        if task is not None:
            names["#t"], values[":t"] = "task", task
            arguments["FilterExpression"] = "#t = :t"
        if after is not None:
            job_id = after.partition("#")[2]
            arguments["ExclusiveStartKey"] = to_item({"owner": owner, "listed": after}) | job_key(job_id)
        answer = self._client.query(
            TableName=self._table,
            IndexName="by_owner",
            KeyConditionExpression="#o = :o",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=to_item(values),
            ScanIndexForward=False,
            Limit=limit,
            **arguments,
        )
        last = answer.get("LastEvaluatedKey")
        places = [item["listed"]["S"] for item in answer["Items"]]
        jobs = self.many((listed.partition("#")[2] for listed in places), now)
        # The index is a little behind: a job may be gone, or another may have its id by an idempotency key.
        standing = {place(job): job for job in jobs.values()}
        found = [standing[listed] for listed in places if listed in standing]
        shown = [job for job in found if status in (None, job.seen_status(now))]
        return shown, last["listed"]["S"] if last else None

    def overdue(self, now: float) -> Iterator[Overdue]:
        """All whose time has passed, oldest first in each shard."""
        for shard in range(SHARDS):
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName="due",
                KeyConditionExpression="due = :d AND wake_at <= :now",
                ExpressionAttributeValues=to_item({":d": f"due#{shard}", ":now": ms(now)}),
            )
            for page in pages:
                for row in map(from_item, page["Items"]):
                    _, _, delivery = row["sk"].partition("delivery#")
                    job_id = row["pk"].partition("#")[2]
                    yield Overdue(job_id, delivery or None, row["wake_at"] / 1000, row.get("wakes", 0))

    def said(self, job: Job, after: int, limit: int) -> builtins.list[Numbered]:
        """What the job's task said with numbers over `after`, up to about `limit`, as far as the job's last event."""
        found: builtins.list[Numbered] = []
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :p AND sk BETWEEN :a AND :z",
            # A job that took an expired one's place under an idempotency key must not show its pages.
            FilterExpression="born = :b",
            ExpressionAttributeValues=to_item(
                {
                    ":p": f"job#{job.id}",
                    ":a": f"events#{after + 1:08d}",
                    ":z": f"events#{job.last_event:08d}",
                    ":b": ms(job.created_at),
                }
            ),
            ConsistentRead=True,
        )
        for page in pages:
            for row in map(from_item, page["Items"]):
                found += [one for one in page_events(row["text"], row["last"]) if one.seq > after]
                if len(found) >= limit:
                    return found
        return found

    def steps(self, job: Job) -> dict[str, Step]:
        """The job's finished steps, by their keys."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :p AND begins_with(sk, :s)",
            # A job that took an expired one's place under an idempotency key has done nothing of it.
            FilterExpression="born = :b",
            ExpressionAttributeValues=to_item({":p": f"job#{job.id}", ":s": "step#", ":b": ms(job.created_at)}),
            ConsistentRead=True,
        )
        found = [item_step(item) for page in pages for item in page["Items"]]
        return {step.key: step for step in found}

    def get_text(self, job_id: str, name: str) -> str:
        answer = self._client.get_item(TableName=self._table, Key=job_key(job_id, name), ConsistentRead=True)
        if "Item" not in answer:
            raise NotFound(f"{name} of job {job_id} is not stored any more.")
        return str(answer["Item"]["text"]["S"])

    def sort_keys(self, job_id: str) -> Iterator[str]:
        """Of every item that belongs to the job."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :p",
            ExpressionAttributeValues=to_item({":p": f"job#{job_id}"}),
            ProjectionExpression="sk",
            ConsistentRead=True,
        )
        for page in pages:
            for row in page["Items"]:
                yield row["sk"]["S"]
