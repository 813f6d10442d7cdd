"""The functions, as their entry points make them, over the template's table, queues and bucket on moto.

Every AWS call of theirs is counted, with what DynamoDB would bill for it, and what they write to the log.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "POWERTOOLS_SERVICE_NAME": "longrun-prod",
    # Lambda sets it, and each line of the log has it.
    "_X_AMZN_TRACE_ID": "Root=1-67a1b2c3-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0",
    # The receiver of webhooks is on this machine.
    "LONGRUN_LOOPBACK": "allow",
}

import boto3
import botocore.client
from samtranslator.yaml_helper import yaml_parse

from bench.units import Index, table_units

ROOT = Path(__file__).parent.parent
RESOURCES: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
#: Calls of the queue's consumer, which Lambda makes and not we.
LAMBDA_S_OWN = {"ReceiveMessage", "DeleteMessage"}
#: What CloudWatch adds to each line, in bytes.
LINE = 26
#: Endings are what the stream's filter lets through of a job that nobody watches.
ENDINGS = {"completed", "failed", "cancelled"}


@dataclass(frozen=True)
class Counted:
    """What was called, what DynamoDB bills for it, and the log's lines. `value` is what the function answered."""

    value: Any
    calls: Counter[str]
    write_units: int
    read_units: float
    log: str

    @property
    def log_bytes(self) -> int:
        return sum(len(line.encode()) + LINE for line in self.log.splitlines())


@dataclass
class Tally:
    """The calls so far. `doubled` are the items that transactions wrote, `refused` the writes that changed nothing."""

    calls: Counter[str] = field(default_factory=Counter)
    read_units: float = 0
    refused: int = 0
    doubled: set[str] = field(default_factory=set)

    def note(self, operation: str, arguments: dict[str, Any], *, is_refused: bool) -> None:
        if operation in LAMBDA_S_OWN:
            return
        self.calls[operation] += 1
        if operation in ("GetItem", "Query"):
            # Items and pages of a no-op job are smaller than a unit, 4 KB.
            self.read_units += 1 if arguments.get("ConsistentRead") else 0.5
        for wanted in arguments.get("RequestItems", {}).values():
            self.read_units += 0.5 * len(wanted["Keys"])
        if is_refused and operation in ("PutItem", "UpdateItem", "DeleteItem"):
            self.refused += 1
        for write in arguments.get("TransactItems", ()):
            ((kind, what),) = write.items()
            self.doubled.add(place(what.get("Item", what.get("Key"))))
            self.refused += 2 * (kind == "ConditionCheck")


class Stack:
    def __init__(self) -> None:
        properties = RESOURCES["Table"]["Properties"]
        names = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
        stream = {"StreamEnabled": True} | properties["StreamSpecification"]
        boto3.client("dynamodb").create_table(
            TableName="bench", StreamSpecification=stream, **{name: properties[name] for name in names}
        )
        self._indexes = [Index.of(each) for each in properties["GlobalSecondaryIndexes"]]
        boto3.client("s3").create_bucket(
            Bucket="bench", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        self._sqs = boto3.client("sqs")
        self._jobs, self._webhooks = (
            self._sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("jobs", "webhooks")
        )
        os.environ |= {
            "TABLE_NAME": "bench",
            "BUCKET_NAME": "bench",
            "QUEUE_URL": self._jobs,
            "WEBHOOK_QUEUE_URL": self._webhooks,
            "SECRETS_KEY": boto3.client("kms").create_key()["KeyMetadata"]["Arn"],
        }
        self._log = StringIO()
        with written_to(self._log):  # the functions' loggers keep the stdout that they find
            from functions.api import app as api
            from functions.notifier import app as notifier
            from functions.stragglers import app as stragglers
            from functions.sweeper import app as sweeper
            from functions.webhooks import app as webhooks
            from functions.worker import app as worker

        self._functions: dict[str, Any] = {
            "api": api,
            "worker": worker,
            "sweeper": sweeper,
            "stragglers": stragglers,
            "notifier": notifier,
            "webhooks": webhooks,
        }
        self.services: Any = api.app.state.services
        self._streams = boto3.client(
            "dynamodbstreams", endpoint_url="https://streams.dynamodb.eu-central-1.amazonaws.com"
        )
        self._arn = self._streams.list_streams(TableName="bench")["Streams"][0]["StreamArn"]
        self._shard = self._streams.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"][0]["ShardId"]
        self._read = 0
        self.records: list[dict[str, Any]] = []

    def count(self, what: Callable[[], Any]) -> Counted:
        """Does it, and says what that took. What it wrote is in `records` then, as the stream has it."""
        self._new_records()
        tally, log = Tally(), self._log
        log.seek(0)
        log.truncate()
        with counting(tally):
            value = what()
        self.records = self._new_records()
        units = tally.refused + sum(self._units(record["dynamodb"], tally.doubled) for record in self.records)
        return Counted(value, tally.calls, units, tally.read_units, log.getvalue())

    def api(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        asyncio.set_event_loop(asyncio.new_event_loop())
        event = load_event("api")
        event["rawPath"] = path
        event["requestContext"]["http"] |= {"method": method, "path": path}
        event["headers"] |= headers or {}
        event["body"] = json.dumps(body) if body is not None else None
        return self._invoke("api", event, SimpleNamespace())

    def work(self) -> Any:
        return self._handle("worker", self._jobs)

    def forget_messages(self) -> None:
        """What is done with a job by hand is not to be done by the worker, too."""
        self._sqs.purge_queue(QueueUrl=self._jobs)

    def notify(self) -> Any:
        """Runs the notifier over what was written last, as far as the stream's filter lets it through."""
        told = [record for record in self.records if is_ending(record)]
        event = {"Records": [load_event("notifier")["Records"][0] | record for record in told]}
        return self._invoke("notifier", event, SimpleNamespace())

    def enlist(self, records: list[dict[str, Any]]) -> Any:
        """Runs the stragglers' function over a minute's records."""
        shown = [load_event("stragglers")["Records"][0] | record for record in records]
        return self._invoke("stragglers", {"Records": shown}, SimpleNamespace())

    def deliver(self) -> Any:
        return self._handle("webhooks", self._webhooks)

    def sweep(self) -> Any:
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 55_000)
        return self._invoke("sweeper", load_event("sweeper"), context)

    def _handle(self, function: str, queue: str) -> Any:
        messages = self._sqs.receive_message(QueueUrl=queue, MessageSystemAttributeNames=["All"])["Messages"]
        event = load_event(function)
        event["Records"] = [
            event["Records"][0] | {"body": message["Body"], "receiptHandle": message["ReceiptHandle"]}
            for message in messages
        ]
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)
        answer = self._invoke(function, event, context)
        for message in messages:
            self._sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return answer

    def _invoke(self, function: str, event: dict[str, Any], context: Any) -> Any:
        with written_to(self._log):
            return self._functions[function].handler(event, context)

    def _new_records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        where = {"StreamArn": self._arn, "ShardId": self._shard, "ShardIteratorType": "TRIM_HORIZON"}
        iterator = self._streams.get_shard_iterator(**where)["ShardIterator"]
        while records := (answer := self._streams.get_records(ShardIterator=iterator))["Records"]:
            iterator = answer["NextShardIterator"]
            found += records
        new, self._read = found[self._read :], len(found)
        for record in new:
            record["dynamodb"].pop("ApproximateCreationDateTime", None)
        return new

    def _units(self, change: dict[str, Any], doubled: set[str]) -> int:
        old, new = change.get("OldImage"), change.get("NewImage")
        ours = table_units(old, new) * (2 if place(change["Keys"]) in doubled else 1)
        return ours + sum(index.units(old, new) for index in self._indexes)


@contextmanager
def counting(tally: Tally) -> Iterator[None]:
    """Notes every call of every client meanwhile."""
    client: Any = botocore.client.BaseClient
    call = client._make_api_call

    def noted(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        try:
            answer = call(self, operation, arguments)
        except Exception:
            tally.note(operation, arguments, is_refused=True)
            raise
        tally.note(operation, arguments, is_refused=False)
        return answer

    client._make_api_call = noted
    try:
        yield
    finally:
        client._make_api_call = call


@contextmanager
def written_to(log: Any) -> Iterator[None]:
    """What is printed meanwhile goes to the log: metrics are."""
    sys.stdout, before = log, sys.stdout
    try:
        yield
    finally:
        sys.stdout = before


def is_ending(record: dict[str, Any]) -> bool:
    image = record["dynamodb"].get("NewImage", {})
    is_job = record["eventName"] == "MODIFY" and image.get("sk", {}).get("S") == "job"
    return is_job and image["status"]["S"] in ENDINGS


def place(key: dict[str, Any]) -> str:
    return f"{key['pk']['S']} {key['sk']['S']}"


def load_event(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event
