"""`longrun config` and `longrun dlq`, on moto's CloudFormation, SQS, DynamoDB and Lambda."""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import botocore.client
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from longrun import config
from longrun.cli import app
from longrun.cli_ops_dlq import age_text
from tests.aws import REGION, client
from tests.unit.deployment import JOB, NAMES
from tests.unit.scripted_service import ScriptedService

NOTHING = {"Nothing": {"Type": "AWS::CloudFormation::WaitConditionHandle"}}
PLACE_IN_STREAM = {"DDBStreamBatchInfo": {"shardId": "s", "startSequenceNumber": "1"}}
FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:scheduled"

Cli = Callable[..., Result]
Calls = list[tuple[str, dict[str, Any]]]

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def stack(service: ScriptedService) -> Iterator[dict[str, str]]:
    """A stack `longrun-dev` whose API is the scripted service; its outputs."""
    with mock_aws():
        outputs = {output: client("sqs").create_queue(QueueName=name)["QueueUrl"] for output, name in NAMES.items()}
        outputs |= {"ApiUrl": service.url, "TableName": "longrun", "ScheduledFunctionArn": FUNCTION}
        template = {"Resources": NOTHING, "Outputs": {name: {"Value": value} for name, value in outputs.items()}}
        client("cloudformation").create_stack(StackName="longrun-dev", TemplateBody=json.dumps(template))
        client("dynamodb").create_table(
            TableName="longrun",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield outputs


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Every AWS call and its arguments. Lambda's are not made: moto would need Docker."""
    seen: Calls = []
    call = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def noted(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        seen.append((operation, arguments))
        return {"StatusCode": 202} if operation == "Invoke" else call(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", noted)
    return seen


@pytest.fixture
def cli() -> Cli:
    return lambda *arguments, **options: CliRunner().invoke(app, list(arguments), **options)


def put(url: str, body: Any) -> None:
    client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body))


def bodies(url: str) -> list[Any]:
    """What lies in a queue; it stays hidden."""
    messages = client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in messages]


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_chosen_deployment_is_used_from_then_on(stack: dict[str, str], service: ScriptedService, cli: Cli) -> None:
    service.on("GET /health", {"status": "ok"})
    assert cli("config", "use", "--stack", "longrun-dev", "--region", REGION).exit_code == 0
    assert cli("health").exit_code == 0
    assert len(service.asked("GET /health")) == 1
    assert config.path().stat().st_mode & 0o777 == 0o600
    chosen = document(cli("config", "show", "--json"))["chosen"]
    assert chosen == {"stack": "longrun-dev", "region": REGION, "profile": None, "outputs": stack}
    assert stack["QueueUrl"] in cli("config", "show").output


def test_the_environment_and_the_option_win_over_the_choice(
    stack: dict[str, str], service: ScriptedService, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.choose(config.Place("longrun-dev", outputs={"ApiUrl": "http://127.0.0.1:1"}))
    service.on("GET /health", {"status": "ok"})
    assert cli("health", "--url", service.url).exit_code == 0
    monkeypatch.setenv("LONGRUN_URL", service.url)
    assert cli("health").exit_code == 0
    assert len(service.asked("GET /health")) == 2


def test_a_choice_that_cannot_be_read_is_told_and_mended(stack: dict[str, str], cli: Cli) -> None:
    config.path().parent.mkdir(parents=True)
    config.path().write_text('{"stack"')
    failed = cli("health")
    assert failed.exit_code == 2
    assert "longrun config use" in failed.output
    assert cli("config", "use", "--stack", "longrun-dev").exit_code == 0
    assert config.chosen() is not None


def test_what_is_wrong_with_aws_is_explained(stack: dict[str, str], cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = cli("config", "use", "--stack", "no-such-stack")
    assert (unknown.exit_code, "no-such-stack" in unknown.output) == (5, True)
    unnamed = cli("dlq", "list")
    assert (unnamed.exit_code, "longrun config use" in unnamed.output) == (2, True)
    client("cloudformation").create_stack(StackName="other", TemplateBody=json.dumps({"Resources": NOTHING}))
    other = cli("config", "use", "--stack", "other")
    assert (other.exit_code, "ApiUrl" in other.output) == (5, True)
    assert config.chosen() is None
    monkeypatch.setitem(sys.modules, "boto3", None)
    without = cli("config", "use", "--stack", "longrun-dev")
    assert (without.exit_code, "longrun[aws]" in without.output) == (5, True)


def test_dead_letters_are_counted_and_shown_and_stay(stack: dict[str, str], cli: Cli) -> None:
    put(stack["DeadLetterQueueUrl"], {"job": JOB, "owner": "acme"})
    put(stack["WebhookDeadLetterQueueUrl"], PLACE_IN_STREAM)
    item = {"pk": {"S": f"job#{JOB}"}, "sk": {"S": "job"}, "status": {"S": "running"}}
    client("dynamodb").put_item(TableName="longrun", Item=item)
    for _ in range(2):  # the second time, they are there again
        counts = document(cli("dlq", "list", "--stack", "longrun-dev", "--json"))["queues"]
        assert [(each["queue"], each["visible"]) for each in counts] == [("jobs", 1), ("webhooks", 1), ("schedules", 0)]
    shown = document(cli("dlq", "show", "--stack", "longrun-dev", "--json"))["messages"]
    assert [(each["queue"], each["job"], each["status"]) for each in shown] == [
        ("jobs", JOB, "running"),
        ("webhooks", None, None),
    ]
    assert all("body" not in each and each["age"] >= 0 for each in shown)
    with_body = cli("dlq", "show", "--stack", "longrun-dev", "--queue", "jobs", "--body")
    assert "acme" in with_body.output
    assert "running" in with_body.output
    assert len(bodies(stack["DeadLetterQueueUrl"])) == 1


def test_dead_letters_go_back_to_the_queue_that_they_came_from(
    stack: dict[str, str], cli: Cli, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]
    sources = {"high": "jobs-high", "low": "jobs-low"}

    def with_source(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        """SQS says where a dead letter came from; moto does not."""
        answer = call(self, operation, arguments)
        for message in answer.get("Messages", ()):
            if queue := sources.get(json.loads(message["Body"]).get("job")):
                attributes = message.setdefault("Attributes", {})
                attributes["DeadLetterQueueSourceArn"] = f"arn:aws:sqs:{REGION}:123456789012:{queue}"
                attributes["MessageGroupId"] = "acme"
        return answer

    for job in ("high", "low", "of no known queue"):
        put(stack["DeadLetterQueueUrl"], {"job": job})
    calls.clear()
    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", with_source)
    done = document(cli("dlq", "redrive", "--stack", "longrun-dev", "--yes", "--json"))["redriven"]
    assert done == [{"queue": "jobs", "moved": 3, "left": []}]
    handed_back = [arguments for operation, arguments in calls if operation == "SendMessage"]
    assert [each.get("MessageGroupId") for each in handed_back] == ["acme", "acme", None]
    found = {
        name: [each["job"] for each in bodies(stack[name])] for name in ("QueueUrl", "QueueUrlHigh", "QueueUrlLow")
    }
    assert found == {"QueueUrl": ["of no known queue"], "QueueUrlHigh": ["high"], "QueueUrlLow": ["low"]}
    assert bodies(stack["DeadLetterQueueUrl"]) == []


def test_a_place_in_the_stream_stays_where_it_is(stack: dict[str, str], cli: Cli) -> None:
    put(stack["WebhookDeadLetterQueueUrl"], PLACE_IN_STREAM)
    put(stack["WebhookDeadLetterQueueUrl"], {"job": JOB, "delivery": "d1"})
    done = cli("dlq", "redrive", "--stack", "longrun-dev", "--queue", "webhooks", input="y\n")
    assert done.exit_code == 0
    assert "webhooks: 1 handed back" in done.output
    assert "table's stream" in done.output
    assert bodies(stack["WebhookQueueUrl"]) == [{"job": JOB, "delivery": "d1"}]
    assert bodies(stack["WebhookDeadLetterQueueUrl"]) == [PLACE_IN_STREAM]


def test_firings_are_handed_to_their_function_again(stack: dict[str, str], cli: Cli, calls: Calls) -> None:
    firing = {"owner": "acme", "schedule": JOB, "token": "t", "at": "2026-11-22T10:05:00Z"}
    put(stack["ScheduleDeadLetterQueueUrl"], firing)  # as EventBridge leaves it
    put(stack["ScheduleDeadLetterQueueUrl"], {"requestContext": {}, "requestPayload": firing})  # as Lambda does
    put(stack["ScheduleDeadLetterQueueUrl"], "nonsense")
    done = document(cli("dlq", "redrive", "--stack", "longrun-dev", "--yes", "--json"))["redriven"]
    assert [(each["queue"], each["moved"], len(each["left"])) for each in done] == [("schedules", 2, 1)]
    invoked = [arguments for operation, arguments in calls if operation == "Invoke"]
    assert [json.loads(each["Payload"]) for each in invoked] == [firing, firing]
    assert {(each["FunctionName"], each["InvocationType"]) for each in invoked} == {(FUNCTION, "Event")}
    assert bodies(stack["ScheduleDeadLetterQueueUrl"]) == ["nonsense"]


def test_a_redrive_that_dies_loses_nothing(stack: dict[str, str], cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    put(stack["DeadLetterQueueUrl"], {"job": JOB})
    call = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def dies(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "DeleteMessage":
            raise KeyboardInterrupt
        return call(self, operation, arguments)

    with monkeypatch.context() as dying:
        dying.setattr(botocore.client.BaseClient, "_make_api_call", dies)
        assert cli("dlq", "redrive", "--stack", "longrun-dev", "--yes").exit_code != 0
    assert bodies(stack["DeadLetterQueueUrl"]) == bodies(stack["QueueUrl"]) == [{"job": JOB}]


def test_purging_says_what_is_lost_and_asks(stack: dict[str, str], cli: Cli) -> None:
    arguments = ("dlq", "purge", "--queue", "schedules", "--stack", "longrun-dev")
    put(stack["ScheduleDeadLetterQueueUrl"], {"owner": "acme"})
    refused = cli(*arguments, input="n\n")
    assert refused.exit_code == 1
    assert "a firing whose job was not made" in refused.output
    assert cli(*arguments, "--json").exit_code == 2  # nobody to ask
    assert document(cli(*arguments, "--yes", "--json")) == {"queue": "schedules", "deleted": 1}
    assert bodies(stack["ScheduleDeadLetterQueueUrl"]) == []


def test_one_dead_letter_can_be_deleted(stack: dict[str, str], cli: Cli) -> None:
    for job in ("a", "b"):
        put(stack["DeadLetterQueueUrl"], {"job": job})
    shown = document(cli("dlq", "show", "--stack", "longrun-dev", "--json"))["messages"]
    bad = next(each["id"] for each in shown if each["job"] == "a")
    arguments = ("dlq", "purge", "--queue", "jobs", "--stack", "longrun-dev", "--yes", "--json", "--message")
    assert document(cli(*arguments, bad))["deleted"] == 1
    assert document(cli(*arguments, bad))["deleted"] == 0
    assert bodies(stack["DeadLetterQueueUrl"]) == [{"job": "b"}]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0, "0 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (864_000, "10 d")]
)
def test_ages_are_short(seconds: float | None, text: str) -> None:
    assert age_text(seconds) == text
