"""API keys: random, shown once, kept only as hashes."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.expressions import from_item, to_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: How long a key that was found good is believed without looking again, in seconds: so long can a revoked one work.
CACHE_LIFE = 60
#: Most keys that one process remembers.
_CACHE_SIZE = 10_000

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_KEY = re.compile(r"lr_[A-Za-z0-9_-]{43}")


class NotAnOwner(ValueError):
    """An owner's name is 1 to 64 letters, digits and _ . -, beginning with a letter or digit."""


@dataclass(frozen=True)
class KeyInfo:
    """What can be shown of a key. `id` is how it is revoked; it tells nothing about the key itself."""

    id: str
    owner: str
    name: str
    created_at: float


class Keys:
    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table
        self._cache: dict[str, tuple[str, float]] = {}

    def create(self, owner: str, name: str, now: float) -> tuple[str, KeyInfo]:
        """A new key for an owner; this is the only time that it can be seen. Raises NotAnOwner."""
        check_owner(owner)
        key = f"lr_{secrets.token_urlsafe(32)}"
        info = KeyInfo(id=_hash(key)[:12], owner=owner, name=name, created_at=now)
        values = {
            "key_owner": owner,
            "name": name,
            "key_id": info.id,
            "created_at": round(now * 1000),
            "hash": _hash(key),
        }
        self._client.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": self._table, "Item": to_item(values) | place}}
                for place in (_by_hash(_hash(key)), _by_owner(owner, info.id))
            ]
        )
        return key, info

    def owner_of(self, key: str, now: float) -> str | None:
        """Whose key this is; None for one that was never made or was revoked. Asks the table once a minute."""
        if not _KEY.fullmatch(key):
            return None
        digest = _hash(key)
        owner, until = self._cache.get(digest, ("", 0.0))
        if now < until:
            return owner
        answer = self._client.get_item(TableName=self._table, Key=_by_hash(digest))
        if "Item" not in answer:
            self._cache.pop(digest, None)
            return None
        if len(self._cache) >= _CACHE_SIZE:
            self._cache.clear()
        owner = str(from_item(answer["Item"])["key_owner"])
        self._cache[digest] = (owner, now + CACHE_LIFE)
        return owner

    def list(self, owner: str) -> list[KeyInfo]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :o AND begins_with(sk, :k)",
            ExpressionAttributeValues=to_item({":o": f"owner#{owner}", ":k": "key#"}),
        )
        rows = [from_item(item) for page in pages for item in page["Items"]]
        return [KeyInfo(row["key_id"], owner, row["name"], row["created_at"] / 1000) for row in rows]

    def revoke(self, owner: str, key_id: str) -> bool:
        """Ends a key; False if the owner has none of that id. It may work for up to CACHE_LIFE more."""
        answer = self._client.get_item(TableName=self._table, Key=_by_owner(owner, key_id), ConsistentRead=True)
        if "Item" not in answer:
            return False
        digest = from_item(answer["Item"])["hash"]
        self._client.transact_write_items(
            TransactItems=[
                {"Delete": {"TableName": self._table, "Key": place}}
                for place in (_by_hash(digest), _by_owner(owner, key_id))
            ]
        )
        return True


def check_owner(owner: str) -> None:
    """Raises NotAnOwner. An owner's name is also the group of its messages: SQS takes more than we do."""
    if not _OWNER.fullmatch(owner):
        raise NotAnOwner(f"{owner!r}: {NotAnOwner.__doc__}")


def _hash(key: str) -> str:
    # A key holds 256 random bits, so a plain hash cannot be guessed back; a slow one would only slow every request.
    return hashlib.sha256(key.encode()).hexdigest()


def _by_hash(digest: str) -> dict[str, Any]:
    return to_item({"pk": f"key#{digest}", "sk": "key"})


def _by_owner(owner: str, key_id: str) -> dict[str, Any]:
    return to_item({"pk": f"owner#{owner}", "sk": f"key#{key_id}"})
