"""What a job costs in AWS calls: the real handlers on moto, every call of our code counted. Counted, never timed.

usage: python -m bench.calls [--json]       exit code 1 when a budget is exceeded
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
}

import boto3
from moto import mock_aws
from rich.console import Console
from rich.table import Table
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent
#: Calls of the queue's consumer, which Lambda makes and not we.
LAMBDA_S_OWN = {"ReceiveMessage", "DeleteMessage"}


@dataclass(frozen=True)
class Row:
    """What one part of a job's life called, and the most that it may call."""

    what: str
    calls: Counter[str]
    budget: dict[str, int] | None = None

    @property
    def is_kept(self) -> bool:
        return self.budget is None or dict(self.calls) == self.budget


def main() -> int:
    rows = measure()
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({row.what: dict(row.calls) for row in rows}, indent=2) + "\n")
    else:
        show(rows)
    return 0 if all(row.is_kept for row in rows) else 1


def show(rows: list[Row]) -> None:
    operations = sorted({name for row in rows for name in row.calls})
    table = Table(title="AWS calls of our code")
    table.add_column("what")
    for name in [*operations, "in all"]:
        table.add_column(name, justify="right")
    table.add_column("budget")
    for row in rows:
        verdict = "" if row.budget is None else "kept" if row.is_kept else f"EXCEEDED: {row.budget}"
        counts = [str(row.calls[name] or "") for name in operations]
        table.add_row(row.what, *counts, str(row.calls.total()), verdict)
    Console(width=150).print(table)


def measure() -> list[Row]:
    with mock_aws():
        stack = Stack()
        key = {"authorization": f"Bearer {stack.services.keys.create('bench', 'bench', 0)[0]}"}
        stack.api("GET", "/tasks", headers=key)  # looks the key up; believed for a minute
        submission = {"task": "echo", "input": {}}
        submit = stack.count(lambda: stack.api("POST", "/jobs", submission, key))
        work = stack.count(stack.work)
        job = json.loads(submit.value["body"])["id"]
        first = stack.api("GET", f"/jobs/{job}", headers=key)
        known = key | {"if-none-match": first["headers"]["etag"]}
        polled = stack.count(lambda: stack.api("GET", f"/jobs/{job}", headers=known))
        assert polled.value["statusCode"] == 304
        assert json.loads(first["body"])["status"] == "completed"
        replay = key | {"idempotency-key": "k"}
        stack.api("POST", "/jobs", submission, replay)
        replayed = stack.count(lambda: stack.api("POST", "/jobs", submission, replay))
        return [
            Row("submission", submit.calls, {"PutItem": 1, "SendMessage": 1}),
            Row("attempt of a no-op job", work.calls, {"UpdateItem": 2}),
            Row(
                "whole no-op job, no polls",
                submit.calls + work.calls,
                {"PutItem": 1, "SendMessage": 1, "UpdateItem": 2},
            ),
            Row("poll of an unchanged job (304)", polled.calls, {"GetItem": 1}),
            Row("repeated submission, same key", replayed.calls, {"PutItem": 1}),
            Row("poll of a job that changed", stack.count(lambda: stack.api("GET", f"/jobs/{job}", headers=key)).calls),
            Row("list of jobs", stack.count(lambda: stack.api("GET", "/jobs", headers=key)).calls),
            Row("sweep with nothing overdue", stack.count(stack.sweep).calls),
        ]


@dataclass(frozen=True)
class Counted:
    value: Any
    calls: Counter[str]


class Stack:
    """The functions, as their entry points make them, over the template's table, queue and bucket."""

    def __init__(self) -> None:
        properties = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["Table"]["Properties"]
        names = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
        boto3.client("dynamodb").create_table(TableName="bench", **{name: properties[name] for name in names})
        boto3.client("s3").create_bucket(
            Bucket="bench", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        self._sqs = boto3.client("sqs")
        self._url = self._sqs.create_queue(QueueName="bench")["QueueUrl"]
        os.environ |= {"TABLE_NAME": "bench", "BUCKET_NAME": "bench", "QUEUE_URL": self._url}
        from functions.api import app as api
        from functions.sweeper import app as sweeper
        from functions.worker import app as worker

        self._functions = {"api": api, "worker": worker, "sweeper": sweeper}
        self.services = api.services if hasattr(api, "services") else api.app.state.services
        self._calls: Counter[str] = Counter()
        for services in (self.services, worker.services, sweeper.services):
            for made in (services.store._client, services.webhook_queue._client, services.blobs._client):
                made.meta.events.register("provide-client-params.*.*", self._note)

    def _note(self, model: Any, **_: Any) -> None:
        self._calls[model.name] += 1

    def count(self, what: Callable[[], Any]) -> Counted:
        self._calls.clear()
        value = what()
        return Counted(value, Counter(self._calls))

    def api(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        import asyncio

        asyncio.set_event_loop(asyncio.new_event_loop())
        event = json.loads((ROOT / "events/api.json").read_text())
        event["rawPath"] = path
        event["requestContext"]["http"] |= {"method": method, "path": path}
        event["headers"] |= headers or {}
        event["body"] = json.dumps(body) if body is not None else None
        return self._functions["api"].handler(event, SimpleNamespace())

    def work(self) -> Any:
        messages = self._sqs.receive_message(QueueUrl=self._url, MessageSystemAttributeNames=["All"])["Messages"]
        event = json.loads((ROOT / "events/worker.json").read_text())
        event["Records"] = [
            event["Records"][0] | {"body": message["Body"], "receiptHandle": message["ReceiptHandle"]}
            for message in messages
        ]
        return self._functions["worker"].handler(event, SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000))

    def sweep(self) -> Any:
        event = json.loads((ROOT / "events/sweeper.json").read_text())
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 55_000)
        return self._functions["sweeper"].handler(event, context)


if __name__ == "__main__":
    sys.exit(main())
