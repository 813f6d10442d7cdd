"""A look at moto's table past boto3, for those who check: it costs no call and changes no schedule."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.serialize import JSONSerializer
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table
from moto.s3.models import s3_backends

from common.expressions import from_item
from tests.aws import REGION

NAME = "longrun"
Row = dict[str, Any]
Key = tuple[str, str]


class Transaction:
    """What moto must copy before a transaction, which it may have to undo: whole tables, if nobody told it."""

    touched: frozenset[str] = frozenset()


def table() -> Table:
    return dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables[NAME]


def rows() -> Iterator[tuple[Key, dict[str, Any]]]:
    """All items, as the table has them."""
    for pk, items in table().items.items():
        for sk, item in items.items():
            yield (pk.value, sk.value), item.to_json()["Attributes"]


def row(key: Key) -> Row | None:
    """One item's values; None if there is no such item."""
    raw = raw_row(key)
    return None if raw is None else from_item(raw)


def raw_row(key: Key) -> dict[str, Any] | None:
    for pk, items in table().items.items():
        if pk.value == key[0]:
            return next((item.to_json()["Attributes"] for sk, item in items.items() if sk.value == key[1]), None)
    return None


def stream_from(number: int) -> list[dict[str, Any]]:
    """The stream's records after the first `number`."""
    shard = table().stream_shard
    return [] if shard is None else [record.to_json() for record in shard.items[number:]]


def written(operation: str, given: dict[str, Any]) -> list[Key]:
    """The keys of the items that a call writes."""
    match operation:
        case "PutItem":
            return [_key(given["Item"])]
        case "UpdateItem" | "DeleteItem":
            return [_key(given["Key"])]
        case "TransactWriteItems":
            parts = [next(iter(one.values())) for one in given["TransactItems"]]
            return [_key(part.get("Item") or part["Key"]) for part in parts]
    return []


def blob(key: str) -> bytes:
    """An object of the bucket."""
    found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[NAME].keys[key]
    return bytes(found.value)


def quicken() -> None:
    """Has moto copy only the partitions that a transaction writes, and answer in JSON without a look at each value's type.

    Else it copies everything there is for each transaction, and most of its time goes into the types.
    """

    def copied(self: Table, memo: dict[int, Any]) -> Table:
        new = copy.copy(self)
        new.items = copy.copy(self.items)
        for pk in [pk for pk in self.items if pk.value in Transaction.touched]:
            new.items[pk] = copy.deepcopy(self.items[pk], memo)
        if self.stream_shard is not None:
            new.stream_shard = copy.copy(self.stream_shard)
            new.stream_shard.items = list(self.stream_shard.items)
            new.stream_shard.table = new
        return new

    typed = JSONSerializer._serialize_result

    def serialized(self: JSONSerializer, answer: Any, result: Any) -> Any:
        if self.service_model.service_name != "dynamodb" or not isinstance(result, dict):
            return typed(self, answer, result)
        return self._serialized_result_to_response(answer, result, None, result)

    Table.__deepcopy__ = copied  # type: ignore[attr-defined]
    JSONSerializer._serialize_result = serialized  # type: ignore[method-assign,assignment]


def _key(item: dict[str, Any]) -> Key:
    return str(item["pk"]["S"]), str(item["sk"]["S"])


def content(job_id: str, payload: Row) -> Any:
    """Of an input or a result, past all faults."""
    if payload.get("inline") is not None:
        return json.loads(payload["inline"])
    if payload.get("item") is not None:
        return json.loads((row((f"job#{job_id}", payload["item"])) or {"text": "null"})["text"])
    return json.loads(blob(payload["blob"]))
