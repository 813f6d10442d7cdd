"""What the template and the code must agree on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from common.deliveries import RESEND
from common.fetching import Limits
from common.jobs import DAY, LEASE, MAX_LIFE
from common.payloads import ITEM
from common.schedules import MAX_INPUT
from functions.api.jobs import MAX_WAIT
from functions.worker.supervision import Pace, Span
from tests.aws import RESOURCES, ROOT

FUNCTIONS = {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == "AWS::Serverless::Function"}
WORKER = FUNCTIONS["WorkerFunction"]
#: The queues of jobs, and the worker's mapping of each.
QUEUES = {"Queue": "Jobs", "HighQueue": "HighJobs", "LowQueue": "LowJobs"}


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """What each role may do, with the role's name."""
    for name, role in RESOURCES.items():
        if role["Type"] == "AWS::IAM::Role":
            for policy in role["Properties"]["Policies"]:
                for statement in policy.get("Fn::If", [None, policy])[1]["PolicyDocument"]["Statement"]:
                    yield name, statement


def test_every_function_of_the_tree_is_deployed_and_no_other() -> None:
    deployed = {properties["CodeUri"] for properties in FUNCTIONS.values()}
    assert deployed == {f"functions/{app.parent.name}" for app in ROOT.glob("functions/*/app.py")}
    for properties in FUNCTIONS.values():
        assert properties["Handler"] == properties["CodeUri"].replace("/", ".") + ".app.handler"


def test_a_job_is_put_down_before_its_function_ends() -> None:
    limit = WORKER["Timeout"]
    assert limit <= 900
    span = Span.of(0, limit)
    assert limit - span.stop_at >= Pace().grace + 10
    assert span.pause_at < span.stop_at


def test_a_message_is_hidden_for_as_long_as_its_function_may_run() -> None:
    assert RESOURCES["Queue"]["Properties"]["VisibilityTimeout"] >= WORKER["Timeout"]
    dead = RESOURCES["DeadLetterQueue"]["Properties"]["VisibilityTimeout"]
    assert dead >= FUNCTIONS["DeadLettersFunction"]["Timeout"]


def test_a_poll_may_wait_as_long_as_the_api_says() -> None:
    gateway = RESOURCES["HttpApiIntegration"]["Properties"]["TimeoutInMillis"] / 1000
    assert MAX_WAIT + 5 <= FUNCTIONS["ApiFunction"]["Timeout"] <= gateway


def test_leases_are_renewed_before_they_end() -> None:
    pace = Pace()
    assert pace == Pace.of(LEASE)
    assert 2 * pace.renewal + pace.contact < LEASE
    assert pace.contact < 5  # so soon is a wish to cancel noticed


def test_throttled_invocations_do_not_bury_jobs() -> None:
    assert RESOURCES["Queue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"] >= 5
    for event in QUEUES.values():
        assert "MaximumConcurrency" in WORKER["Events"][event]["Properties"]["ScalingConfig"]


def test_the_queues_of_all_priorities_are_alike() -> None:
    normal = RESOURCES["Queue"]["Properties"]
    for queue, event in QUEUES.items():
        assert RESOURCES[queue]["Properties"] | {"QueueName": normal["QueueName"]} == normal
        mapping = WORKER["Events"][event]["Properties"]
        assert mapping["Queue"] == {"Fn::GetAtt": [queue, "Arn"]}
        assert mapping | {"Queue": 0, "ScalingConfig": 0} == {
            **WORKER["Events"]["Jobs"]["Properties"],
            "Queue": 0,
            "ScalingConfig": 0,
        }


def test_whoever_sends_jobs_messages_may_send_to_every_priority() -> None:
    arns = [{"Fn::GetAtt": [queue, "Arn"]} for queue in QUEUES]
    for _, statement in statements():
        named = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        if arns[0] in named:
            assert all(arn in named for arn in arns), statement


@pytest.mark.parametrize(
    ("function", "event"),
    [
        *(("WorkerFunction", event) for event in QUEUES.values()),
        ("DeadLettersFunction", "DeadLetters"),
        ("WebhooksFunction", "Webhooks"),
        ("NotifierFunction", "Changes"),
    ],
)
def test_messages_of_a_batch_fail_on_their_own(function: str, event: str) -> None:
    mapping = FUNCTIONS[function]["Events"][event]["Properties"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_a_webhook_s_message_is_hidden_for_as_long_as_its_try_may_take() -> None:
    function = FUNCTIONS["WebhooksFunction"]["Timeout"]
    # A batch's tries are side by side; the table has its share before and after.
    assert 3 * Limits().seconds < function
    assert 2 * function <= RESOURCES["WebhookQueue"]["Properties"]["VisibilityTimeout"]
    assert RESOURCES["WebhookQueue"]["Properties"]["VisibilityTimeout"] <= RESEND


def test_loopback_is_a_laptop_s_affair() -> None:
    assert "LOOPBACK" not in (ROOT / "template.yaml").read_text().upper()


def test_the_bucket_keeps_what_belongs_to_a_job_for_its_life() -> None:
    rules = {rule.get("Prefix"): rule for rule in RESOURCES["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]}
    assert rules["jobs/"]["ExpirationInDays"] * DAY >= MAX_LIFE
    assert rules["uploads/"]["ExpirationInDays"] == 1
    assert "documents/" not in rules  # an owner's documents stay until they are deleted


def test_no_change_of_a_job_is_paid_for_in_the_index_of_lists() -> None:
    indexes = RESOURCES["Table"]["Properties"]["GlobalSecondaryIndexes"]
    held = {index["IndexName"]: set(index["Projection"]["NonKeyAttributes"]) for index in indexes}
    assert held == {"by_owner": {"task"}, "due": {"wakes"}}


def test_rights_are_single_actions_on_single_things() -> None:
    for role, statement in statements():
        assert statement["Effect"] == "Allow", role
        assert "*" not in str(statement["Action"]), role
        assert statement["Resource"] != "*", role


def test_every_function_has_a_role_of_its_own() -> None:
    roles = [properties["Role"]["Fn::GetAtt"][0] for properties in FUNCTIONS.values()]
    assert sorted(roles) == sorted({name for name, _ in statements()} - {"ScheduleRole"})


def test_what_is_kept_survives_the_stack() -> None:
    for name in ("Table", "Bucket"):
        kept: dict[str, Any] = RESOURCES[name]
        assert kept["DeletionPolicy"] == kept["UpdateReplacePolicy"] == "Retain"


def test_a_schedule_s_input_is_never_too_large_for_the_table() -> None:
    """The function that makes the schedules' jobs may not write to the bucket."""
    assert MAX_INPUT <= ITEM
    assert not [statement for role, statement in statements() if role == "ScheduledRole" and "s3:" in str(statement)]
