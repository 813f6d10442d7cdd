"""The API's and the worker's handlers, called with the events of `events/`."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from common.wiring import Services
from tests.aws import REGION, ROOT, client


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Api:
    """Calls the API's Lambda handler with API Gateway's events."""

    handler: Callable[[Any, Any], Any]
    headers: dict[str, str] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __call__(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        event = load_event("api")
        data = body if body is not None else None if json is None else _dumps(json)
        event["rawPath"] = path
        event["rawQueryString"] = urlencode(query)
        event["requestContext"]["http"] |= {"method": method, "path": path}
        event["headers"] = (
            {"host": event["headers"]["host"], "content-type": "application/json"} | self.headers | (headers or {})
        )
        event["headers"] = {name: value for name, value in event["headers"].items() if value is not None}
        event["body"] = None if data is None else base64.b64encode(data).decode()
        event["isBase64Encoded"] = True
        # In Lambda each function is a process of its own; here the worker's asyncio.run has taken the loop away.
        asyncio.set_event_loop(self.loop)
        answer = self.handler(event, SimpleNamespace())
        text = base64.b64decode(answer["body"]).decode() if answer.get("isBase64Encoded") else answer["body"]
        return Answer(answer["statusCode"], answer["headers"], text)

    def submit(self, task: str = "echo", input: Any = None, **options: Any) -> dict[str, Any]:
        answer = self("POST", "/jobs", json={"task": task, "input": input or {}, **options})
        assert answer.status == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self("GET", f"/jobs/{job_id}")
        assert answer.status == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def as_owner(self, services: Services, owner: str) -> Api:
        key, _ = services.keys.create(owner, "test", services.clock())
        return Api(self.handler, {"authorization": f"Bearer {key}"}, self.loop)


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def load_event(name: str) -> Any:
    return copy.deepcopy(json.loads((ROOT / "events" / f"{name}.json").read_text()))


async def anywhere(name: str, port: int) -> list[str]:
    """Names are not looked up in tests; every one leads to a public address."""
    return ["93.184.215.14"]


@dataclass
class Worker:
    """Lambda's event source mappings in small: receive, call the worker's handler, delete what did not fail."""

    handler: Callable[[Any, Any], Any]
    #: Of the normal queue, and of the other priorities'.
    queue_url: str
    other_urls: tuple[str, ...] = ()

    def receive(self, queue_url: str | None = None) -> list[dict[str, Any]]:
        url = queue_url or self.queue_url
        answer = client("sqs").receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
        source = f"arn:aws:sqs:{REGION}:123456789012:{url.rpartition('/')[2]}"
        return [as_record(message) | {"eventSourceARN": source} for message in answer.get("Messages", [])]

    def handle(self, records: list[dict[str, Any]], queue_url: str | None = None) -> list[str]:
        """Runs one invocation; returns the message ids that it reported as failed."""
        answer = self.handler({"Records": records}, SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000))
        failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        for record in records:
            if record["messageId"] not in failed:
                client("sqs").delete_message(
                    QueueUrl=queue_url or self.queue_url, ReceiptHandle=record["receiptHandle"]
                )
        return failed

    def __call__(self) -> list[str]:
        """Handles what is in the queues now, in one batch each."""
        failed = []
        for url in (self.queue_url, *self.other_urls):
            records = self.receive(url)
            failed += self.handle(records, url) if records else []
        return failed


def as_record(message: Any) -> dict[str, Any]:
    record: dict[str, Any] = load_event("worker")["Records"][0]
    return record | {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
    }
