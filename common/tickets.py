"""Tickets: for a while they open the reading of events where no key can be sent. Random, kept only as hashes."""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.expressions import from_item, to_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: How long a ticket can open anything, in seconds. A page that watches for longer asks its own backend for another.
MIN_LIFE, MAX_LIFE = 60, 3_600

_TICKET = re.compile(r"lt_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Ticket:
    """What a ticket opens: the events of one job, or of all that the owner has."""

    owner: str
    job_id: str | None = None

    def opens(self, job_id: str) -> bool:
        return self.job_id in (None, job_id)


class Tickets:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def create(self, owner: str, job_id: str | None, seconds: int, now: float) -> tuple[str, float]:
        """A new ticket and when it ends; this is the only time that it can be seen."""
        ticket = f"lt_{secrets.token_urlsafe(32)}"
        expires_at = math.ceil(now + seconds)
        values = {"ticket_owner": owner, "ticket_job": job_id, "expires_at": expires_at}
        self._client.put_item(TableName=self._table, Item=to_item(values) | _by_hash(ticket))
        return ticket, float(expires_at)

    def find(self, ticket: str, now: float) -> Ticket | None:
        """What the ticket opens; None for one that was never made or has ended."""
        if not _TICKET.fullmatch(ticket):
            return None
        # It is used the moment that it is made, which a cheap read may not know of yet.
        answer = self._client.get_item(TableName=self._table, Key=_by_hash(ticket), ConsistentRead=True)
        row = from_item(answer.get("Item", {}))
        if row.get("expires_at", 0) <= now:
            return None
        return Ticket(row["ticket_owner"], row.get("ticket_job"))


def _by_hash(ticket: str) -> dict[str, Any]:
    # It holds 256 random bits, so a plain hash cannot be guessed back.
    return to_item({"pk": f"ticket#{hashlib.sha256(ticket.encode()).hexdigest()}", "sk": "ticket"})
