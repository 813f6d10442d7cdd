"""`longrun doctor`: it finds nothing wrong with a deployment as the template makes it, and everything that was broken."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import botocore.client
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from typer.testing import CliRunner

from common.items import due_shard
from longrun.cli import app
from longrun.doctor_work import SHARDS
from tests.aws import client
from tests.unit.deployment import JOB, STACK, Deployed
from tests.unit.scripted_service import ScriptedService, problem


@pytest.fixture
def deployed(home: None, service: ScriptedService) -> Iterator[Deployed]:
    with mock_aws():
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
    client("lambda").delete_event_source_mapping(UUID=deployed.mappings["notifier"])


def other_reader_off(deployed: Deployed) -> None:
    client("lambda").update_event_source_mapping(UUID=deployed.mappings["stragglers"], Enabled=False)


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
        (reader_gone, "notifier, reader of the stream", "missing", "deploy the template"),
        (other_reader_off, "stragglers, reader of the stream", "Disabled", "update-event-source-mapping --enabled"),
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
