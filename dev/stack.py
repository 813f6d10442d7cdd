"""`template.yaml` on the emulator: packed, then created or updated through CloudFormation."""

import json
import os
from collections.abc import Mapping
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from dev.aliases import follow_latest
from dev.emulator import REGION, ROOT_KEY, ROOT_SECRET, Emulator, until
from dev.live import correct_addresses, live_url
from dev.package import ROOT, digest

TEMPLATE = ROOT / "template.yaml"
NAME = "longrun"
CODE_BUCKET = "longrun-code"
TEMPLATE_KEY = "template.json"

#: Where pages that may upload and download by pre-signed link are served.
CONSOLES = ["http://localhost:*", "http://127.0.0.1:*"]


#: Receivers of webhooks, and pages for the agents, may be on this machine; the template never says so.
LOOPBACK = {"LONGRUN_LOOPBACK": "allow"}

#: What the API is told of schedules, and the outputs that say it.
SCHEDULES = {
    "SCHEDULE_GROUP": "ScheduleGroup",
    "SCHEDULE_TARGET": "ScheduledFunctionArn",
    "SCHEDULE_ROLE": "ScheduleRoleArn",
    "SCHEDULE_DEAD_LETTERS": "ScheduleDeadLetterQueueArn",
}


class StackFailed(Exception):
    """CloudFormation could not create or update the stack."""


class Stack:
    """The stack on one emulator. `outputs` are the template's, known once it is deployed."""

    def __init__(self, emulator: Emulator, outputs: dict[str, str] | None = None) -> None:
        self.emulator = emulator
        self.outputs = outputs or {}

    def deploy(self, package: bytes) -> None:
        """Create the stack, or update the one that is there."""
        key = f"{digest(package)}.zip"
        s3, cloudformation = self.emulator.client("s3"), self.emulator.client("cloudformation")
        s3.create_bucket(Bucket=CODE_BUCKET)
        s3.put_object(Bucket=CODE_BUCKET, Key=key, Body=package)
        # From the bucket: it is longer than what a call may carry.
        s3.put_object(Bucket=CODE_BUCKET, Key=TEMPLATE_KEY, Body=json.dumps(local_template(TEMPLATE.read_text(), key)))
        change = cloudformation.update_stack if self.outputs else cloudformation.create_stack
        change(
            StackName=NAME,
            TemplateURL=f"{self.emulator.url}/{CODE_BUCKET}/{TEMPLATE_KEY}",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in local_parameters().items()],
        )
        stack = until(lambda: settled(cloudformation), seconds=60, what="The stack's deployment")
        if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise StackFailed(f"{stack['StackStatus']}: {'; '.join(reasons(cloudformation))}")
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self._apply_what_the_emulator_left_out()

    def update_code(self, package: bytes) -> None:
        """Give every function new code. Their processes end; a job that one of them ran is delivered again."""
        functions = self.emulator.client("lambda")
        for name in self.functions():
            functions.update_function_code(FunctionName=name, ZipFile=package)

    def functions(self) -> list[str]:
        resources = self.emulator.client("cloudformation").describe_stack_resources(StackName=NAME)["StackResources"]
        return [each["PhysicalResourceId"] for each in resources if each["ResourceType"] == "AWS::Lambda::Function"]

    def settings(self) -> dict[str, str]:
        """The environment that the API needs to run against this stack, outside of Lambda."""
        return {
            "TABLE_NAME": self.outputs["TableName"],
            "QUEUE_URL": self.outputs["QueueUrl"],
            "QUEUE_URL_HIGH": self.outputs["QueueUrlHigh"],
            "QUEUE_URL_LOW": self.outputs["QueueUrlLow"],
            "OWNER_OVERRIDES": self.outputs["OwnerOverrides"],
            "BUCKET_NAME": self.outputs["BucketName"],
            "WEBHOOK_QUEUE_URL": self.outputs["WebhookQueueUrl"],
            "SECRETS_KEY": self.outputs["SecretsKeyArn"],
            **{name: self.outputs[output] for name, output in SCHEDULES.items()},
            "AUTH_MODE": "Open",
            **LOOPBACK,
            "LIVE_URL": live_url(self.emulator, self.outputs) if "LiveApiId" in self.outputs else "",
            "LONGRUN_STREAMS": "1",
            "POWERTOOLS_SERVICE_NAME": "longrun",
            "AWS_ENDPOINT_URL": self.emulator.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
        }

    def _apply_what_the_emulator_left_out(self) -> None:
        correct_addresses(self.emulator, self.outputs, self.functions())
        follow_latest(self.emulator, self.functions())
        expiry = {"AttributeName": "expires_at", "Enabled": True}
        table = {"TableName": self.outputs["TableName"]}
        dynamodb = self.emulator.client("dynamodb")
        if dynamodb.describe_time_to_live(**table)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
            dynamodb.update_time_to_live(**table, TimeToLiveSpecification=expiry)
        rule = {"AllowedOrigins": CONSOLES, "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["*"]}
        self.emulator.client("s3").put_bucket_cors(
            Bucket=self.outputs["BucketName"], CORSConfiguration={"CORSRules": [rule]}
        )


def local_parameters(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """No key is needed, and no model, unless LONGRUN_MODEL names one: then it and its key are the shell's.

    Owners may have limits of their own: see `make limits`.
    """
    model = environ.get("LONGRUN_MODEL") or "extractive"
    key = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}.get(model.partition(":")[0], "")
    return {
        "AuthMode": "Open",
        "OwnerOverrides": "On",
        # The emulator has no metrics to watch.
        "Alarms": "Off",
        "Model": model,
        "ModelUrl": environ.get("LONGRUN_MODEL_URL", ""),
        "ModelKey": environ.get(key, ""),
        "PublicUrl": environ.get("LONGRUN_PUBLIC_URL", "http://localhost:8000"),
    }


def local_template(text: str, key: str) -> dict[str, Any]:
    """The template with all functions' code in one archive and no layers: nothing has to be built first."""
    template: dict[str, Any] = yaml_parse(text)
    resources = template["Resources"]
    template["Globals"]["Function"].pop("Layers", None)
    template["Globals"]["Function"]["Environment"]["Variables"] |= LOOPBACK
    for name in [name for name, each in resources.items() if each["Type"] == "AWS::Serverless::LayerVersion"]:
        del resources[name]
    for resource in resources.values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"].pop("Layers", None)
            resource["Properties"]["CodeUri"] = {"Bucket": CODE_BUCKET, "Key": key}
    return with_numbers(template, numbers_of(template))  # type: ignore[no-any-return]


def numbers_of(template: dict[str, Any]) -> dict[str, int]:
    parameters = template.get("Parameters", {})
    return {name: int(each["Default"]) for name, each in parameters.items() if each["Type"] == "Number"}


def with_numbers(value: Any, numbers: dict[str, int]) -> Any:
    """The same with each `Ref` to a number replaced by it: the emulator passes it on as a text, and trips over that."""
    if isinstance(value, dict):
        if list(value) == ["Ref"] and value["Ref"] in numbers:
            return numbers[value["Ref"]]
        return {name: with_numbers(each, numbers) for name, each in value.items()}
    return [with_numbers(each, numbers) for each in value] if isinstance(value, list) else value


def settled(cloudformation: Any) -> dict[str, Any] | None:
    """The stack, once nothing of it is in progress any more."""
    stack: dict[str, Any] = cloudformation.describe_stacks(StackName=NAME)["Stacks"][0]
    return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack


def reasons(cloudformation: Any) -> list[str]:
    """What failed in the last deployment, and why."""
    events = cloudformation.describe_stack_events(StackName=NAME)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}" for event in failed]
