"""The log of chats: what was asked, what was answered, how long it took."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from common.expressions import from_item, to_item
from common.jobs import MAX_TTL

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


class Chats:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, owner: str, session_id: str, interaction: Mapping[str, Any], *, job_id: str, at: float) -> None:
        """Logs one interaction, once for each job however often it is tried: `at` is when the job was made."""
        values = {
            "pk": f"owner#{owner}",
            "sk": f"chat#{session_id}#{round(at * 1000):013d}#{job_id}",
            "text": json.dumps(interaction, ensure_ascii=False),
            "expires_at": math.ceil(at + MAX_TTL),
        }
        self._client.put_item(TableName=self._table, Item=to_item(values))

    def list(
        self, owner: str, session_id: str, now: float, *, limit: int, after: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of a session's interactions, oldest first, and where the next page begins."""
        place = {"pk": f"owner#{owner}", "sk": f"chat#{session_id}#{after}"}
        start: dict[str, Any] = {"ExclusiveStartKey": to_item(place)} if after else {}
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="pk = :o AND begins_with(sk, :c)",
            ExpressionAttributeValues=to_item({":o": f"owner#{owner}", ":c": f"chat#{session_id}#"}),
            Limit=limit,
            **start,
        )
        rows = [from_item(item) for item in answer["Items"]]
        last = answer.get("LastEvaluatedKey")
        return (
            [json.loads(row["text"]) for row in rows if row["expires_at"] > now],
            last["sk"]["S"].removeprefix(f"chat#{session_id}#") if last else None,
        )
