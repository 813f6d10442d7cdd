"""The documents that an owner stored for tasks to read. The bytes are in the bucket; the catalogue is in the table."""

from __future__ import annotations

import builtins
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from common.blobs import Blobs
from common.errors import NotFound
from common.expressions import from_item, to_item
from common.jobs import MAX_PAYLOAD

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CONTENT_TYPES = ("text/plain", "text/markdown", "text/html", "application/pdf")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Entry:
    """What the catalogue says of a document. `content_type` may carry a charset; times are seconds since 1970."""

    id: str
    content_type: str
    bytes: int
    updated_at: float


@dataclass(frozen=True)
class Document:
    """A document as it was stored."""

    id: str
    content_type: str
    data: bytes


def is_document_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


class Documents:
    """Writes the bytes first and lists them after: what is listed can be read. A write that died is repeated as it was."""

    def __init__(self, client: DynamoDBClient, table: str, blobs: Blobs) -> None:
        self._client = client
        self._table = table
        self._blobs = blobs

    def put(self, owner: str, document: Document, now: float) -> Entry:
        entry = Entry(document.id, document.content_type, len(document.data), round(now, 3))
        self._blobs.put(_blob(owner, document.id), document.data, document.content_type)
        values = asdict(entry) | {"updated_at": round(now * 1000)}
        self._client.put_item(TableName=self._table, Item=to_item(values) | _key(owner, document.id))
        return entry

    def get(self, owner: str, document_id: str) -> Document:
        """The document with its bytes. Raises NotFound."""
        entry = self.entry(owner, document_id)
        return Document(entry.id, entry.content_type, self._blobs.get(_blob(owner, document_id), MAX_PAYLOAD))

    def entry(self, owner: str, document_id: str) -> Entry:
        """What is known of a document, without its bytes. Raises NotFound."""
        if is_document_id(document_id):
            answer = self._client.get_item(TableName=self._table, Key=_key(owner, document_id), ConsistentRead=True)
            if "Item" in answer:
                return _entry(answer["Item"])
        raise NotFound(f"No document {document_id}." if is_document_id(document_id) else "No such document.")

    def list(self, owner: str, *, limit: int, after: str | None = None) -> tuple[list[Entry], str | None]:
        """A page of the owner's documents by id, and the id after which the next page begins."""
        start: dict[str, Any] = {"ExclusiveStartKey": _key(owner, after)} if after else {}
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="pk = :o AND begins_with(sk, :d)",
            ExpressionAttributeValues=to_item({":o": f"owner#{owner}", ":d": "document#"}),
            Limit=limit,
            **start,
        )
        last = answer.get("LastEvaluatedKey")
        return [_entry(item) for item in answer["Items"]], last["sk"]["S"].partition("#")[2] if last else None

    def ids(self, owner: str) -> builtins.list[str]:
        """Of all documents of the owner."""
        found, after = [], None
        while True:
            entries, after = self.list(owner, limit=1_000, after=after)
            found += [entry.id for entry in entries]
            if after is None:
                return found

    def delete(self, owner: str, document_id: str) -> None:
        """Forgets a document. Raises NotFound."""
        self.entry(owner, document_id)
        self._blobs.delete(_blob(owner, document_id))
        self._client.delete_item(TableName=self._table, Key=_key(owner, document_id))


def _blob(owner: str, document_id: str) -> str:
    return f"documents/{owner}/{document_id}"


def _key(owner: str, document_id: str) -> dict[str, Any]:
    return to_item({"pk": f"owner#{owner}", "sk": f"document#{document_id}"})


def _entry(item: dict[str, Any]) -> Entry:
    row = from_item(item)
    return Entry(row["id"], row["content_type"], row["bytes"], row["updated_at"] / 1000)
