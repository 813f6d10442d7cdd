"""The table's stream on moto, as Lambda hands it to a function: what is new, past the template's filters."""

from __future__ import annotations

import json
from typing import Any

from common.wiring import Services
from tests.aws import REGION, RESOURCES, SESSION
from tests.handlers import load_event


def filters(function: str) -> list[Any]:
    """The patterns that the template gives the function's mapping from the stream."""
    mapping = RESOURCES[function]["Properties"]["Events"]["Changes"]["Properties"]
    return [json.loads(each["Pattern"]) for each in mapping["FilterCriteria"]["Filters"]]


class Stream:
    def __init__(self, services: Services, function: str) -> None:
        """`function` is its name in the template."""
        self._filters = filters(function)
        self._streams = SESSION.client(
            "dynamodbstreams", endpoint_url=f"https://streams.dynamodb.{REGION}.amazonaws.com"
        )
        self._arn = self._streams.list_streams(TableName=services.settings.table_name)["Streams"][0]["StreamArn"]
        shards = self._streams.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        self._shard: str = shards[0]["ShardId"]
        self._seen = ""

    def records(self) -> list[dict[str, Any]]:
        """What is new and let through."""
        # A new iterator each time: moto's own shows what a failed transaction had undone, and nothing after that.
        where = {"ShardIteratorType": "TRIM_HORIZON"}
        if self._seen:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": self._seen}
        iterator = self._streams.get_shard_iterator(StreamArn=self._arn, ShardId=self._shard, **where)["ShardIterator"]
        found: list[dict[str, Any]] = []
        while records := (answer := self._streams.get_records(ShardIterator=iterator, Limit=1000))["Records"]:
            iterator, self._seen = answer["NextShardIterator"], records[-1]["dynamodb"]["SequenceNumber"]
            for record in records:
                record["dynamodb"].pop("ApproximateCreationDateTime")
                found.append(load_event("notifier")["Records"][0] | record)
        return [record for record in found if any(matches(each, record) for each in self._filters)]


def matches(pattern: Any, value: Any) -> bool:
    """Lambda's event filters, as far as the template uses them."""
    if isinstance(pattern, dict):
        inside = value if isinstance(value, dict) else {}
        return all(matches(inner, inside.get(name)) for name, inner in pattern.items())
    return any((value is not None) is rule["exists"] if isinstance(rule, dict) else rule == value for rule in pattern)
