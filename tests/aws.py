"""The cloud as the tests have it: the template's own table, queues and bucket on moto, and a clock that they control."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import moto.kms.models
from moto import mock_aws
from samtranslator.yaml_helper import yaml_parse

from common.settings import Settings
from common.wiring import Services

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


def message_count(services: Services) -> int:
    """Messages that wait in the queue and could be received now."""
    answer = client("sqs").get_queue_attributes(
        QueueUrl=services.settings.queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])
