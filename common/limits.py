"""What an owner may have: how many jobs at a time, how many submissions a minute. Limits of 0 are none.

A deployment has its limits for everybody, and, where it looks for them, an owner's own in an item of the table.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from common.errors import QuotaExceeded
from common.expressions import from_item, to_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: How long an owner's limits are believed without looking again, in seconds.
CACHE_LIFE = 60
#: Most owners whose limits one process remembers, and most of whose minutes are full.
_CACHE_SIZE = 10_000
#: Seconds of the span in which submissions are counted.
MINUTE = 60
#: Submissions a minute that one counter takes, and most counters of an owner: an item takes 1,000 writes a second.
PER_COUNTER, MAX_COUNTERS = 600, 32
#: A minute's counters are kept for so long after it, in seconds.
KEPT = 3_600

SUBMISSIONS = "submissions_per_minute"


@dataclass(frozen=True)
class OwnerLimits:
    """`running` jobs at a time, submissions `per_minute`; 0 for any number."""

    running: int = 0
    per_minute: int = 0


@dataclass(frozen=True)
class Counted:
    """Where a submission was counted; None if nobody counts."""

    key: dict[str, Any] | None = None


class Limits:
    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        defaults: OwnerLimits,
        *,
        overrides: bool,
        pick: Callable[[int], list[int]] | None = None,
    ) -> None:
        """Without `overrides` nobody's own limits are looked up. `pick`: see Slots."""
        self._client = client
        self._table = table
        self._defaults = defaults
        self._overrides = overrides
        self._pick = pick or (lambda size: random.sample(range(size), size))
        self._cache: dict[str, tuple[OwnerLimits, float]] = {}
        self._full: dict[str, int] = {}

    @property
    def may_limit_running(self) -> bool:
        """Whether there can be an owner whose running jobs are limited."""
        return self._overrides or self._defaults.running > 0

    def of(self, owner: str, now: float) -> OwnerLimits:
        """Asks the table once a minute for each owner, and never where owners have no limits of their own."""
        if not self._overrides:
            return self._defaults
        found, until = self._cache.get(owner, (self._defaults, 0.0))
        if now >= until:
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            found = self.read(owner) or self._defaults
            self._cache[owner] = (found, now + CACHE_LIFE)
        return found

    def read(self, owner: str) -> OwnerLimits | None:
        """The owner's own limits, as they stand; what it has none of is the deployment's. None if it has none at all."""
        answer = self._client.get_item(TableName=self._table, Key=_key(owner))
        if "Item" not in answer:
            return None
        row = from_item(answer["Item"])
        return OwnerLimits(**{name: row.get(name, default) for name, default in asdict(self._defaults).items()})

    def write(self, owner: str, *, running: int | None, per_minute: int | None) -> None:
        """Gives the owner limits of its own; None is the deployment's. It takes CACHE_LIFE until all know."""
        values = {"running": running, "per_minute": per_minute}
        self._client.put_item(TableName=self._table, Item=_key(owner) | to_item(values))

    def forget(self, owner: str) -> None:
        """The deployment's limits are the owner's again."""
        self._client.delete_item(TableName=self._table, Key=_key(owner))

    # -------------------------------------------------------------- submissions a minute

    def count(self, owner: str, now: float) -> Counted:
        """Counts one submission. Raises QuotaExceeded, and counts nothing, if the minute has had as many as it may.

        One write for an owner that is limited, until the minute is full; none for any other.
        """
        limit = self.of(owner, now).per_minute
        if limit <= 0:
            return Counted()
        minute = math.floor(now / MINUTE)
        if self._full.get(owner) != minute:
            counters = min(MAX_COUNTERS, math.ceil(limit / PER_COUNTER))
            for number in self._pick(counters):
                # The counters' shares are the limit together: what is over, the first of them have.
                share = limit // counters + (number < limit % counters)
                if (key := self._add(owner, minute, number, share)) is not None:
                    return Counted(key)
            if len(self._full) >= _CACHE_SIZE:
                self._full.clear()
            self._full[owner] = minute
        raise QuotaExceeded(
            f"This owner may submit {limit} jobs a minute, and has; the next minute begins soon.",
            quota=SUBMISSIONS,
            limit=limit,
            retry_after=max(1, math.ceil((minute + 1) * MINUTE - now)),
        )

    def give_back(self, owner: str, counted: Counted) -> None:
        """It was no submission: the job was there before."""
        if counted.key is not None:
            self._full.pop(owner, None)
            self._write(counted.key, -1)

    def _add(self, owner: str, minute: int, number: int, share: int) -> dict[str, Any] | None:
        """The key of the counter that took one more; None if it has its share."""
        key = to_item({"pk": f"quota#{owner}#{number}", "sk": f"minute#{minute}"})
        try:
            self._write(key, 1, expires_at=(minute + 1) * MINUTE + KEPT, share=share)
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return key

    def _write(self, key: dict[str, Any], step: int, **bounds: int) -> None:
        values = {":one": step}
        arguments: dict[str, Any] = {"UpdateExpression": "ADD #c :one"}
        if bounds:
            values |= {":e": bounds["expires_at"], ":s": bounds["share"]}
            arguments["UpdateExpression"] += " SET expires_at = :e"
            arguments["ConditionExpression"] = "attribute_not_exists(#c) OR #c < :s"
        self._client.update_item(
            TableName=self._table,
            Key=key,
            ExpressionAttributeNames={"#c": "submissions"},
            ExpressionAttributeValues=to_item(values),
            **arguments,
        )


def _key(owner: str) -> dict[str, Any]:
    return to_item({"pk": f"owner#{owner}", "sk": "limits"})
