"""The doctor's checks of what was set: the table, and what calls the functions."""

import json
from collections.abc import Iterator
from typing import Any

from longrun.doctor import Finding, Level, Patient, judged

DEPLOY = (
    "somebody changed it by hand: deploy the template again (`aws cloudformation detect-stack-drift` shows all of it)"
)
#: Outputs that name the queues which functions take messages from, and those of their dead letters.
QUEUES = {
    "QueueUrl": "DeadLetterQueueUrl",
    "QueueUrlHigh": "DeadLetterQueueUrl",
    "QueueUrlLow": "DeadLetterQueueUrl",
    "WebhookQueueUrl": "WebhookDeadLetterQueueUrl",
    "DeadLetterQueueUrl": None,
}


def check_table(patient: Patient) -> Iterator[Finding]:
    """Does it keep, forget and tell what it should?"""
    deployment = patient.deployment
    name = deployment.output("TableName")
    table = deployment.ask("dynamodb", "describe_table", TableName=name)["Table"]
    stream = table.get("StreamSpecification", {})
    tells = bool(stream.get("StreamEnabled")) and stream.get("StreamViewType") == "NEW_AND_OLD_IMAGES"
    silent = "without its stream (NEW_AND_OLD_IMAGES) nobody is told of ends: no webhooks, no live events, no children"
    yield judged("stream", tells, "on", silent, DEPLOY)
    do = "deploy with DeletionProtection=On"
    unsafe = "one call would delete it with all jobs"
    yield judged(
        "deletion protection", bool(table.get("DeletionProtectionEnabled")), "on", unsafe, do, level=Level.WARNING
    )


def check_expiry(patient: Patient) -> Iterator[Finding]:
    """Are finished jobs forgotten?"""
    name = patient.deployment.output("TableName")
    ttl = patient.deployment.ask("dynamodb", "describe_time_to_live", TableName=name)["TimeToLiveDescription"]
    good = ttl["TimeToLiveStatus"] in ("ENABLED", "ENABLING") and ttl.get("AttributeName") == "expires_at"
    yield judged("expiry", good, "by expires_at", "TTL is not on for expires_at: the table grows for ever", DEPLOY)


def check_backup(patient: Patient) -> Iterator[Finding]:
    """Can the table be put back?"""
    name = patient.deployment.output("TableName")
    answer = patient.deployment.ask("dynamodb", "describe_continuous_backups", TableName=name)
    recovery = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    good = recovery.get("PointInTimeRecoveryStatus") == "ENABLED"
    yield judged("point-in-time recovery", good, "on", "off: what is deleted by mistake is gone", DEPLOY)


def check_queues(patient: Patient) -> Iterator[Finding]:
    """Do functions take from every queue, and where does it go what none can handle?"""
    for output, dead in QUEUES.items():
        attributes = _attributes(patient, output)
        name = attributes["QueueArn"].rpartition(":")[2]
        if dead is not None:
            policy = json.loads(attributes.get("RedrivePolicy", "{}"))
            good = policy.get("deadLetterTargetArn") == _attributes(patient, dead)["QueueArn"]
            lost = "messages that cannot be handled do not go to its dead letters, and come back until they expire"
            yield judged(f"redrive of {name}", good, f"after {policy.get('maxReceiveCount')} receives", lost, DEPLOY)
        yield from _taken(patient, name, attributes)


def check_stream_reader(patient: Patient) -> Iterator[Finding]:
    """Does the notifier read the table's stream?"""
    name = patient.deployment.output("TableName")
    arn = patient.deployment.ask("dynamodb", "describe_table", TableName=name)["Table"].get("LatestStreamArn")
    mappings = [] if arn is None else _mappings(patient, arn)
    yield from _enabled("stream's reader", mappings)
    yield from _partial("stream's reader", mappings)


def _taken(patient: Patient, name: str, attributes: dict[str, str]) -> Iterator[Finding]:
    what = f"reader of {name}"
    mappings = _mappings(patient, attributes["QueueArn"])
    yield from _enabled(what, mappings)
    yield from _partial(what, mappings)
    visible = int(attributes["VisibilityTimeout"])
    for mapping in mappings:
        function = patient.deployment.ask("lambda", "get_function_configuration", FunctionName=mapping["FunctionArn"])
        limit = function["Timeout"]
        good = visible >= limit
        twice = f"messages are hidden for {visible} s, its function may run for {limit} s: they would be handled twice"
        yield judged(f"visibility of {name}", good, f"{visible} s, function {limit} s", twice, DEPLOY)


def _enabled(what: str, mappings: list[dict[str, Any]]) -> Iterator[Finding]:
    states = ", ".join(each["State"] for each in mappings) or "missing"
    good = bool(mappings) and all(each["State"] in ("Enabled", "Enabling", "Updating") for each in mappings)
    do = (
        f"enable it: `aws lambda update-event-source-mapping --enabled --uuid {mappings[0]['UUID']}`"
        if mappings
        else DEPLOY
    )
    yield judged(what, good, states, f"it is {states}: nothing is taken from there", do)


def _partial(what: str, mappings: list[dict[str, Any]]) -> Iterator[Finding]:
    for mapping in mappings:
        good = "ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", ())
        whole = "without ReportBatchItemFailures, what failed is deleted as if it were done"
        yield judged(f"failures of {what}", good, "reported one by one", whole, DEPLOY)


def _mappings(patient: Patient, arn: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = patient.deployment.ask("lambda", "list_event_source_mappings", EventSourceArn=arn)[
        "EventSourceMappings"
    ]
    return found


def _attributes(patient: Patient, output: str) -> dict[str, str]:
    url = patient.deployment.output(output)
    answer = patient.deployment.ask("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
    attributes: dict[str, str] = answer["Attributes"]
    return attributes
