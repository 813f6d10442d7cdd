"""`make destroy` after a deployment that was used: without a word about the data they stay, else nothing is left at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.destroy import destroy
from dev.emulator import Emulator
from tests.e2e.deployment import STACK, deploy, wait_for_end

#: What a deployment consists of: service, the call that lists it, where the list is, and what names each.
LISTS = [
    ("apigatewayv2", "get_apis", "Items", "ApiId"),
    ("cloudformation", "list_stacks", "StackSummaries", "StackName"),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ("dynamodb", "list_tables", "TableNames", None),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
    ("lambda", "list_functions", "Functions", "FunctionName"),
    ("lambda", "list_layers", "Layers", "LayerName"),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("s3", "list_buckets", "Buckets", "Name"),
    ("scheduler", "list_schedule_groups", "ScheduleGroups", "Name"),
    ("scheduler", "list_schedules", "Schedules", "Name"),
    ("sns", "list_topics", "Topics", "TopicArn"),
    ("sqs", "list_queues", "QueueUrls", None),
]


@pytest.fixture
def emulator(python: str, tmp_path: Path) -> Iterator[Emulator]:
    emulator = Emulator(tmp_path, python=python)
    try:
        emulator.start()
        emulator.wait_until_ready()
        yield emulator
    finally:
        emulator.stop()


def test_a_deployment_is_deleted_with_all_that_it_has_made(
    built: Path, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(emulator)
    deployment = deploy(built, emulator)
    with deployment.http("acme") as http:
        job = http.post("/jobs", json={"task": "echo", "input": {"text": "x" * 200_000}}).raise_for_status().json()
        assert wait_for_end(http, job["id"], seconds=60)["status"] == "completed"
        schedule = {"task": "echo", "input": {}, "rate": "1 day", "name": "daily"}
        assert http.post("/schedules", json=schedule).status_code == 201
    kept = {deployment.outputs[name] for name in ("TableName", "BucketName", "SecretsKeyArn")}

    while_deployed = everything(emulator)
    assert destroy(emulator.client, STACK, "") == 2
    assert everything(emulator) == while_deployed
    said = capsys.readouterr().out
    assert all(name.rpartition("/")[2] in said for name in kept)

    assert destroy(emulator.client, STACK, "delete") == 0
    left = everything(emulator) - before
    assert {each for each in left if not is_sam_s_own(each)} == set()
    assert code(emulator) == []
    assert destroy(emulator.client, STACK, "delete") == 1


def everything(emulator: Emulator) -> set[tuple[str, str]]:
    """What there is, by service and name; of keys, those that are not on their way out."""
    found = set()
    for service, call, place, name in LISTS:
        for each in getattr(emulator.client(service), call)().get(place, []):
            if each is not None and not (place == "StackSummaries" and each["StackStatus"] == "DELETE_COMPLETE"):
                found.add((service, each[name] if name else each))
    kms = emulator.client("kms")
    for key in kms.list_keys()["Keys"]:
        if kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] != "PendingDeletion":
            found.add(("kms", key["KeyId"]))
    return found


def is_sam_s_own(thing: tuple[str, str]) -> bool:
    """The bucket that all of SAM's stacks in an account share."""
    return thing[1].startswith("aws-sam-cli-managed-default")


def code(emulator: Emulator) -> list[Any]:
    """What is left in that bucket."""
    s3 = emulator.client("s3")
    buckets = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    return [found for name in buckets for found in s3.list_objects_v2(Bucket=name).get("Contents", [])]
