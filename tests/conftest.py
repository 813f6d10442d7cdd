"""The real code on moto: handlers are called with the events of `events/`, on the template's own table, queues and bucket."""

from __future__ import annotations

import asyncio
import base64
import copy
import importlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import boto3
import botocore.client
import moto.kms.models
import pytest
from moto import mock_aws
from samtranslator.yaml_helper import yaml_parse

from common.jobs import Job, Payload, Status, new_id
from common.settings import AuthMode, Settings
from common.wiring import Services
from common.wiring import services as wire

ROOT = Path(__file__).parent.parent
REGION = "eu-central-1"
RESOURCES: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]

#: Before any client is made: moto must never be passed by, and no real credentials found.
os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "POWERTOOLS_LOG_LEVEL": "INFO",
}
os.environ.pop("AWS_ENDPOINT_URL", None)


#: Of a symmetric key moto makes a pair of RSA's all the same, and never uses it: a fourth of what most tests would take.
moto.kms.models.generate_private_key = cache(moto.kms.models.generate_private_key)  # type: ignore[attr-defined]

#: Made once: reading the models of the services anew for each test would take most of its time.
SESSION = boto3.session.Session()


@cache
def client(service: str) -> Any:
    return SESSION.client(service)  # type: ignore[call-overload]


class Clock:
    """Time that moves when a test says so, in seconds since 1970."""

    def __init__(self) -> None:
        self.now = 1_795_341_600.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def deployed() -> Iterator[Settings]:
    """The template's table, queues and bucket on moto."""
    with mock_aws():
        yield Settings(
            _table(),
            _queue("longrun"),
            _bucket(),
            queue_url_high=_queue("longrun-high"),
            queue_url_low=_queue("longrun-low"),
            webhook_queue_url=client("sqs").create_queue(QueueName="longrun-webhooks")["QueueUrl"],
            secrets_key=client("kms").create_key()["KeyMetadata"]["Arn"],
            api_url="https://api.example.com",
            fair_queues=True,
        )


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The template's table, queues and bucket on moto."""
    lock, call = threading.RLock(), botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def one_at_a_time(self: Any, *arguments: Any) -> Any:
        with lock:  # moto checks a condition and writes without one: two threads could both win
            return call(self, *arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", one_at_a_time)
    with deployed() as settings:
        yield settings


def _table() -> str:
    names = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    properties = RESOURCES["Table"]["Properties"]
    client("dynamodb").create_table(
        TableName="longrun",
        StreamSpecification={"StreamEnabled": True} | properties["StreamSpecification"],
        **{name: properties[name] for name in names},
    )
    return "longrun"


def _queue(name: str) -> str:
    """One of the queues of jobs, all of them like the template's own."""
    sqs = client("sqs")
    dead = sqs.create_queue(QueueName="longrun-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    properties = RESOURCES["Queue"]["Properties"]
    redrive = {"deadLetterTargetArn": arn, "maxReceiveCount": properties["RedrivePolicy"]["maxReceiveCount"]}
    attributes = {"VisibilityTimeout": str(properties["VisibilityTimeout"]), "RedrivePolicy": json.dumps(redrive)}
    return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def _bucket() -> str:
    client("s3").create_bucket(Bucket="longrun", CreateBucketConfiguration={"LocationConstraint": REGION})
    return "longrun"


@pytest.fixture
def services(aws: Settings, clock: Clock) -> Services:
    return wire(aws, session=SESSION, clock=clock)


@pytest.fixture
def make_job(services: Services, clock: Clock) -> Callable[..., Job]:
    """Puts a job straight into the table."""

    def make(**changes: Any) -> Job:
        values: dict[str, Any] = {
            "id": new_id(),
            "owner": "acme",
            "task": "echo",
            "status": Status.PENDING,
            "input": Payload(size=2, inline="{}"),
            "created_at": clock(),
            "updated_at": clock(),
            "max_attempts": 3,
            "timeout_seconds": 300,
            "ttl_seconds": 86_400,
            "fingerprint": "",
            "token": new_id(),
            "run_at": 0,
            "wake_at": clock() + 60,
        }
        job, is_new = services.store.put(Job(**(values | changes)), clock())
        assert is_new
        return job

    return make


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


@pytest.fixture
def anybody(services: Services) -> Api:
    """The API with no key."""
    from mangum import Mangum

    from functions.api.application import create_app

    return Api(Mangum(create_app(services, resolve=anywhere), lifespan="off"))


@pytest.fixture
def api(anybody: Api, services: Services) -> Api:
    """The API, called by the owner acme."""
    return anybody.as_owner(services, "acme")


@pytest.fixture
def open_api(services: Services) -> Api:
    """The API of a laptop, where no key is needed."""
    from dataclasses import replace

    from mangum import Mangum

    from functions.api.application import create_app

    settings = replace(services.settings, auth_mode=AuthMode.OPEN)
    return Api(Mangum(create_app(replace(services, settings=settings), resolve=anywhere), lifespan="off"))


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


@pytest.fixture
def make_worker(services: Services) -> Callable[..., Worker]:
    def make(**options: Any) -> Worker:
        import tasks  # noqa: F401
        from common.tasks import REGISTRY
        from functions.worker.batches import make_handler
        from functions.worker.runner import Runner

        used = options.pop("services", services)
        registry = options.pop("registry", REGISTRY)
        settings = used.settings
        handler = make_handler(used, Runner(used, registry, **options))
        return Worker(handler, settings.queue_url, (settings.queue_url_high, settings.queue_url_low))

    return make


@pytest.fixture
def worker(make_worker: Callable[..., Worker]) -> Worker:
    return make_worker()


@pytest.fixture
def entry_point(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A function's real `app` module, made anew from the environment, as Lambda does at a cold start."""
    variables = {
        "TABLE_NAME": aws.table_name,
        "QUEUE_URL": aws.queue_url,
        "QUEUE_URL_HIGH": aws.queue_url_high,
        "QUEUE_URL_LOW": aws.queue_url_low,
        "BUCKET_NAME": aws.bucket_name,
        "WEBHOOK_QUEUE_URL": aws.webhook_queue_url,
        "SECRETS_KEY": aws.secrets_key,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def load(function: str) -> Any:
        module = importlib.import_module(f"functions.{function}.app")
        return importlib.reload(module)

    return load


@pytest.fixture
def enlist(services: Services) -> Callable[[], int]:
    """One run of the stragglers' function over what is new in the stream; returns how many jobs the sweeper knows since."""
    from functions.stragglers.enlisting import enlist as run
    from tests.streams import Stream

    stream = Stream(services, "StragglersFunction")
    return lambda: run(services, stream.records())[0]


@pytest.fixture
def sweep(services: Services, enlist: Callable[[], int]) -> Callable[[], int]:
    """One run of the sweeper, to which all is known that began before; returns how many messages it sent."""
    from functions.sweeper.sweep import sweep as run

    def swept() -> int:
        enlist()
        return run(services, has_time=lambda: True)

    return swept


@pytest.fixture
def calls(services: Services) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every AWS call of our code from now on: (operation, parameters)."""
    seen: list[tuple[str, dict[str, Any]]] = []

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        seen.append((model.name, params))

    events = [
        made.meta.events for made in (services.store._client, services.webhook_queue._client, services.blobs._client)
    ]
    for emitter in events:
        emitter.register("provide-client-params.*.*", note)
    yield seen
    for emitter in events:
        emitter.unregister("provide-client-params.*.*", note)


def message_count(services: Services) -> int:
    """Messages that wait in the queue and could be received now."""
    answer = client("sqs").get_queue_attributes(
        QueueUrl=services.settings.queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])
