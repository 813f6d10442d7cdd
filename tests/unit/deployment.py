"""The deployments on moto that the commands for operators look at."""

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

from typer.testing import CliRunner

from longrun.cli import app
from longrun.doctor_settings import QUEUES
from tests.aws import RESOURCES, client
from tests.unit.scripted_service import ScriptedService

STACK = "longrun-prod"
#: What the template's outputs say, and how the queue of each is called here.
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
#: Those that the doctor asks after by name.
FUNCTIONS = {"SweeperFunction": "sweeper", "NotifierFunction": "notifier", "StragglersFunction": "stragglers"}


class Deployed:
    """The template's table, queues and readers on moto, each call of `examined` a run of the doctor."""

    def __init__(self, service: ScriptedService) -> None:
        self.service = service
        self.outputs = {name: self._queue(name) for name in reversed(NAMES)}
        self.outputs |= {"ApiUrl": service.url, "TableName": "longrun"}
        self.stream = self._table()
        self.function, *readers = (self._function(name) for name in FUNCTIONS.values())
        self.mappings = {name: self.mapping(self.arn(name)) for name in QUEUES}
        for name in readers:
            self.mappings[name] = self.mapping(self.stream, name, StartingPosition="TRIM_HORIZON")
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

    def mapping(self, source: str, function: str = "", **options: Any) -> str:
        """The id of a reader of this source."""
        options = {"FunctionResponseTypes": ["ReportBatchItemFailures"]} | options
        made = client("lambda").create_event_source_mapping(
            FunctionName=function or self.function, EventSourceArn=source, BatchSize=10, **options
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

    def _function(self, name: str) -> str:
        role = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", "")
        made = client("lambda").create_function(
            FunctionName=name,
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
            "Resources": {
                resource: {"Type": "AWS::IAM::User", "Properties": {"UserName": name}}
                for resource, name in FUNCTIONS.items()
            },
            "Outputs": {name: {"Value": value} for name, value in self.outputs.items()},
        }
        client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(template))
