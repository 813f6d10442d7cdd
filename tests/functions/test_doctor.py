"""`longrun doctor`: it finds nothing wrong with a deployment as the template makes it, and everything that was broken."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.client
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from typer.testing import CliRunner

from common.items import due_shard
from longrun.cli import app
from longrun.doctor_settings import QUEUES
from longrun.doctor_work import SHARDS
from tests.conftest import RESOURCES, client
from tests.unit.scripted_service import ScriptedService, problem

STACK = "longrun-prod"
NAMES = {
    "QueueUrl": "jobs",
    "QueueUrlHigh": "jobs-high",
    "QueueUrlLow": "jobs-low",
    "WebhookQueueUrl": "webhooks",
    "DeadLetterQueueUrl": "dead",
    "WebhookDeadLetterQueueUrl": "webhooks-dead",
    "ScheduleDeadLetterQueueUrl": "schedules-dead",
}
JOB = "0123456789abcdef0123456789abcdef"

Findings = dict[str, dict[str, Any]]


class Deployed:
    """The template's table, queues and readers on moto, each call of `examined` a run of the doctor."""

    def __init__(self, service: ScriptedService) -> None:
        self.service = service
        self.outputs = {name: self._queue(name) for name in reversed(NAMES)}
        self.outputs |= {"ApiUrl": service.url, "TableName": "longrun"}
        self.stream = self._table()
        self.function = self._function()
        self.mappings = {name: self.mapping(self.arn(name)) for name in QUEUES}
        self.mappings["stream"] = self.mapping(self.stream, StartingPosition="TRIM_HORIZON")
        self._stack()
        self.sweeps = True
        service.on("GET /health", {"status": "ok"})
        service.on("GET /jobs", {"jobs": []})

    def examined(self, *options: str) -> tuple[int, Findings]:
        """The exit code, and what was found not to be well."""
        if self.sweeps:
            self.measure("AWS/Lambda", "Invocations", 1, FunctionName=self.function)
        ran = CliRunner(env={"LONGRUN_API_KEY": "k"}).invoke(app, ["doctor", "--stack", STACK, "--json", *options])
        findings = json.loads(ran.stdout)["findings"]
        return ran.exit_code, {each["what"]: each for each in findings if each["level"] != "ok"}

    def arn(self, output: str) -> str:
        """A queue's."""
        url = self.outputs[output]
        return client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]  # type: ignore[no-any-return]

    def set_queue(self, output: str, **attributes: str) -> None:
        client("sqs").set_queue_attributes(QueueUrl=self.outputs[output], Attributes=attributes)

    def mapping(self, source: str, **options: Any) -> str:
        """The id of a reader of this source."""
        options = {"FunctionResponseTypes": ["ReportBatchItemFailures"]} | options
        made = client("lambda").create_event_source_mapping(
            FunctionName=self.function, EventSourceArn=source, BatchSize=10, **options
        )
        return str(made["UUID"])

    def measure(self, namespace: str, name: str, value: float, **dimension: str) -> None:
        datum = {"MetricName": name, "Value": value, "Timestamp": datetime.now(UTC) - timedelta(minutes=1)}
        dimensions = [{"Name": key, "Value": text} for key, text in dimension.items()]
        client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[datum | {"Dimensions": dimensions}])

    def _queue(self, output: str) -> str:
        attributes = {"VisibilityTimeout": "960"}
        if dead := QUEUES.get(output):
            policy = {"deadLetterTargetArn": f"arn:aws:sqs:eu-central-1:123456789012:{STACK}-{NAMES[dead]}"}
            attributes["RedrivePolicy"] = json.dumps(policy | {"maxReceiveCount": 5})
        name = f"{STACK}-{NAMES[output]}"
        return str(client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def _table(self) -> str:
        properties = RESOURCES["Table"]["Properties"]
        names = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
        made = client("dynamodb").create_table(
            TableName="longrun",
            StreamSpecification={"StreamEnabled": True} | properties["StreamSpecification"],
            DeletionProtectionEnabled=True,
            **{name: properties[name] for name in names},
        )["TableDescription"]
        ttl = properties["TimeToLiveSpecification"]
        client("dynamodb").update_time_to_live(TableName="longrun", TimeToLiveSpecification=ttl)
        self.recover(on=True)
        return str(made["LatestStreamArn"])

    def recover(self, *, on: bool) -> None:
        wanted = {"PointInTimeRecoveryEnabled": on}
        client("dynamodb").update_continuous_backups(TableName="longrun", PointInTimeRecoverySpecification=wanted)

    def _function(self) -> str:
        role = client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", "")
        made = client("lambda").create_function(
            FunctionName="sweeper",
            Runtime="python3.13",
            Role=role,
            Handler="app.handler",
            Code={"ZipFile": code.getvalue()},
            Timeout=900,
        )
        return str(made["FunctionName"])

    def _stack(self) -> None:
        # Of what moto can make for a stack, a user is the one whose name can be chosen and nothing else needs.
        template = {
            "Parameters": {"AuthMode": {"Type": "String", "Default": "ApiKeys"}},
            "Resources": {"SweeperFunction": {"Type": "AWS::IAM::User", "Properties": {"UserName": self.function}}},
            "Outputs": {name: {"Value": value} for name, value in self.outputs.items()},
        }
        client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(template))


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    monkeypatch.setattr("typer.get_app_dir", lambda name: str(tmp_path / name))
    monkeypatch.delenv("LONGRUN_URL", raising=False)
    with mock_aws(), ScriptedService().running() as service:
        yield Deployed(service)


def test_a_deployment_as_the_template_makes_it_is_well(deployed: Deployed) -> None:
    assert deployed.examined() == (0, {})


def ttl_off(deployed: Deployed) -> None:
    off = {"Enabled": False, "AttributeName": "expires_at"}
    client("dynamodb").update_time_to_live(TableName="longrun", TimeToLiveSpecification=off)


def stream_off(deployed: Deployed) -> None:
    client("dynamodb").update_table(TableName="longrun", StreamSpecification={"StreamEnabled": False})


def reader_off(deployed: Deployed) -> None:
    client("lambda").update_event_source_mapping(UUID=deployed.mappings["QueueUrlHigh"], Enabled=False)


def reader_gone(deployed: Deployed) -> None:
    client("lambda").delete_event_source_mapping(UUID=deployed.mappings["stream"])


def whole_batches(deployed: Deployed) -> None:
    client("lambda").update_event_source_mapping(UUID=deployed.mappings["WebhookQueueUrl"], FunctionResponseTypes=[])


def short_visibility(deployed: Deployed) -> None:
    deployed.set_queue("QueueUrl", VisibilityTimeout="30")


def wrong_redrive(deployed: Deployed) -> None:
    policy = {"deadLetterTargetArn": deployed.arn("ScheduleDeadLetterQueueUrl"), "maxReceiveCount": 5}
    deployed.set_queue("QueueUrlLow", RedrivePolicy=json.dumps(policy))


def dead_letter(deployed: Deployed) -> None:
    client("sqs").send_message(QueueUrl=deployed.outputs["ScheduleDeadLetterQueueUrl"], MessageBody="{}")


def stuck_job(deployed: Deployed) -> None:
    late = str(int((time.time() - 600) * 1000))
    item = {"pk": {"S": f"job#{JOB}"}, "sk": {"S": "job"}, "due": {"S": due_shard(JOB)}, "wake_at": {"N": late}}
    client("dynamodb").put_item(TableName="longrun", Item=item)


def alarm_on(deployed: Deployed) -> None:
    name = f"{STACK}-api-errors"
    client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/ApiGateway",
        MetricName="5xx",
        Statistic="Sum",
        Period=300,
        EvaluationPeriods=1,
        Threshold=5,
        ComparisonOperator="GreaterThanThreshold",
    )
    client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")


def api_down(deployed: Deployed) -> None:
    deployed.service.on("GET /health", problem(404))


def api_broken(deployed: Deployed) -> None:
    deployed.service.on("GET /jobs", problem(400))


@pytest.mark.parametrize(
    ("broken", "what", "says", "do"),
    [
        (ttl_off, "expiry", "grows for ever", "deploy the template"),
        (lambda deployed: deployed.recover(on=False), "point-in-time recovery", "off", "deploy the template"),
        (stream_off, "stream", "nobody is told", "deploy the template"),
        (reader_off, f"reader of {STACK}-jobs-high", "Disabled", "update-event-source-mapping --enabled"),
        (reader_gone, "reader of the stream", "missing", "deploy the template"),
        (whole_batches, f"failures of reader of {STACK}-webhooks", "ReportBatchItemFailures", "deploy the template"),
        (short_visibility, f"visibility of {STACK}-jobs", "30 s", "deploy the template"),
        (wrong_redrive, f"redrive of {STACK}-jobs-low", "come back", "deploy the template"),
        (dead_letter, f"{STACK}-schedules-dead", "1 dead letters", "dlq show --queue schedules"),
        (stuck_job, "stuck jobs", JOB, "runbook.md#sweeper"),
        (alarm_on, "alarms", f"{STACK}-api-errors is on", "runbook.md#api-errors"),
        (api_down, "api", "404", "runbook.md#api-errors"),
        (api_broken, "key", "400", "runbook.md#api-errors"),
    ],
)
def test_what_was_broken_is_found(
    deployed: Deployed, broken: Callable[[Deployed], None], what: str, says: str, do: str
) -> None:
    broken(deployed)
    code, found = deployed.examined()
    assert code == 2
    assert found[what]["level"] == "failure"
    assert says in found[what]["says"]
    assert do in found[what]["do"]


def test_a_sweeper_that_does_not_run_is_found(deployed: Deployed) -> None:
    deployed.sweeps = False
    code, found = deployed.examined()
    assert code == 2
    assert "did not run" in found["sweeper"]["says"]


def test_an_old_backlog_is_a_warning(deployed: Deployed) -> None:
    deployed.measure("AWS/SQS", "ApproximateAgeOfOldestMessage", 4000, QueueName=f"{STACK}-jobs")
    code, found = deployed.examined()
    assert code == 1
    assert "4000 s" in found[f"{STACK}-jobs"]["says"]
    assert "runbook.md#jobs-age" in found[f"{STACK}-jobs"]["do"]


def test_a_key_that_is_not_known_is_no_failure_of_the_deployment(deployed: Deployed) -> None:
    deployed.service.on("GET /jobs", problem(401))
    code, found = deployed.examined()
    assert (code, found["key"]["checked"]) == (1, False)
    assert "make key" in found["key"]["do"]


def test_a_right_that_the_caller_lacks_is_named_and_the_rest_is_checked(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def denied(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation in ("DescribeTimeToLive", "ListEventSourceMappings"):
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, operation)
        return call(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", denied)
    dead_letter(deployed)
    code, found = deployed.examined()
    assert code == 2
    assert found.keys() == {"expiry", "readers", "visibility", f"{STACK}-schedules-dead"}
    assert found["expiry"]["says"] == "not checked: needs dynamodb:DescribeTimeToLive"
    assert found["readers"]["says"] == "not checked: needs lambda:ListEventSourceMappings"
    assert (found["expiry"]["level"], found["expiry"]["checked"]) == ("warning", False)


def test_for_people_the_worst_comes_first(deployed: Deployed) -> None:
    dead_letter(deployed)
    ran = CliRunner(env={"LONGRUN_API_KEY": "k"}).invoke(app, ["doctor", "--stack", STACK])
    first = ran.stdout.splitlines()[1]
    assert first.startswith("failure")
    assert "longrun dlq" in first


def test_every_partition_of_unfinished_items_is_looked_at() -> None:
    partitions = {due_shard(f"{number:08x}") for number in range(64)}
    assert partitions == {f"due#{shard}" for shard in range(SHARDS)}
