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
#: The functions that read the table's stream.
STREAM_READERS = {"NotifierFunction": "notifier", "StragglersFunction": "stragglers"}


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


def check_redrive(patient: Patient) -> Iterator[Finding]:
    """Where does it go what no function can handle?"""
    for output, dead in QUEUES.items():
        if dead is None:
            continue
        attributes = _attributes(patient, output)
        policy = json.loads(attributes.get("RedrivePolicy", "{}"))
        good = policy.get("deadLetterTargetArn") == _attributes(patient, dead)["QueueArn"]
        lost = "messages that cannot be handled do not go to its dead letters, and come back until they expire"
        what = f"redrive of {_name(attributes['QueueArn'])}"
        yield judged(what, good, f"after {policy.get('maxReceiveCount')} receives", lost, DEPLOY)


def check_readers(patient: Patient) -> Iterator[Finding]:
    """Does a function take from every queue, and do both take from the table's stream?"""
    deployment = patient.deployment
    arns = [_attributes(patient, output)["QueueArn"] for output in QUEUES]
    readers = {f"reader of {_name(arn)}": _mappings(patient, arn) for arn in arns}
    table = deployment.ask("dynamodb", "describe_table", TableName=deployment.output("TableName"))["Table"]
    stream = _mappings(patient, table["LatestStreamArn"]) if "LatestStreamArn" in table else []
    for resource, name in STREAM_READERS.items():
        function = deployment.resources.get(resource)
        theirs = [each for each in stream if _name(each["FunctionArn"]) == function]
        readers[f"{name}, reader of the stream"] = theirs
    for what, mappings in readers.items():
        yield from _enabled(what, mappings)
        yield from _partial(what, mappings)


def check_visibility(patient: Patient) -> Iterator[Finding]:
    """Are messages hidden for as long as a function may be at them?"""
    for output in QUEUES:
        attributes = _attributes(patient, output)
        visible = int(attributes["VisibilityTimeout"])
        for mapping in _mappings(patient, attributes["QueueArn"]):
            arn = mapping["FunctionArn"]
            limit = patient.deployment.ask("lambda", "get_function_configuration", FunctionName=arn)["Timeout"]
            twice = f"messages are hidden for {visible} s, its function may run for {limit} s: they are handled twice"
            what = f"visibility of {_name(attributes['QueueArn'])}"
            yield judged(what, visible >= limit, f"{visible} s, function {limit} s", twice, DEPLOY)


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


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _attributes(patient: Patient, output: str) -> dict[str, str]:
    url = patient.deployment.output(output)
    answer = patient.deployment.ask("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
    attributes: dict[str, str] = answer["Attributes"]
    return attributes
