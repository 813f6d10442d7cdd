"""What the end-to-end tests run against: the real template, built, and deployed as to AWS."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from common.keys import Keys
from dev.aliases import publish
from dev.emulator import REGION, ROOT_KEY, ROOT_SECRET, Emulator
from dev.live import correct_addresses, live_url

ROOT = Path(__file__).parents[2]
BUILD = ROOT / ".aws-sam" / "e2e"
STACK = "longrun-e2e"
ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"

#: The functions' runtime, whose interpreter both building and running them takes.
RUNTIME = "python3.13"

#: All that Lambda's Python carries besides the standard library.
LAMBDA_CARRIES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")

#: Seconds that the build may take, with all packages to be downloaded, and the deployment.
BUILD_LIMIT, DEPLOY_LIMIT = 600, 120


@dataclass(frozen=True)
class Deployment:
    """The deployed stack: its outputs, and the functions' names by what the template calls them."""

    emulator: Emulator
    outputs: dict[str, str]
    functions: dict[str, str]

    @property
    def url(self) -> str:
        return f"{self.emulator.url}/_aws/execute-api/{self.outputs['ApiId']}"

    @property
    def live_url(self) -> str:
        """Where WebSockets connect."""
        return live_url(self.emulator, self.outputs)

    def key(self, owner: str) -> str:
        """A new API key."""
        table = self.emulator.client("dynamodb")
        return Keys(table, self.outputs["TableName"]).create(owner, "end-to-end", time.time())[0]

    def http(self, owner: str) -> httpx.Client:
        """Calls the API with a key of this owner's."""
        headers = {"Authorization": f"Bearer {self.key(owner)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)


def build() -> Path:
    """`sam build` for this machine's own processor. The built template's path."""
    sam("build", BUILD_LIMIT, "--build-dir", BUILD / "build", "--cache-dir", BUILD / "cache", *parameters())
    return BUILD / "build" / "template.yaml"


def deploy(template: Path, emulator: Emulator) -> Deployment:
    """`sam deploy`, as `make deploy` does it, but to the emulator."""
    options = ("--resolve-s3", "--s3-prefix", STACK, "--no-confirm-changeset", "--no-progressbar", "--region", REGION)
    sam(
        *("deploy", DEPLOY_LIMIT, "--template-file", template, "--stack-name", STACK, "--capabilities"),
        *("CAPABILITY_IAM", *options, *parameters()),
        AWS_ENDPOINT_URL=emulator.url,
        AWS_ACCESS_KEY_ID=ROOT_KEY,
        AWS_SECRET_ACCESS_KEY=ROOT_SECRET,
    )
    cloudformation = emulator.client("cloudformation")
    stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    resources = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
    deployment = Deployment(
        emulator,
        outputs={output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]},
        functions={
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for each in resources
            if each["ResourceType"] == "AWS::Lambda::Function"
        },
    )
    correct_addresses(emulator, deployment.outputs, deployment.functions.values())
    publish(emulator, deployment.functions.values())
    correct_concurrency(emulator)
    allow_batches(deployment)
    allow_groups(deployment)
    # It refuses what comes without TLS, and the emulator has none.
    emulator.client("s3").delete_bucket_policy(Bucket=deployment.outputs["BucketName"])
    return deployment


def correct_concurrency(emulator: Emulator) -> None:
    """The emulator takes a parameter of type Number for a text, and its poller trips over it."""
    functions = emulator.client("lambda")
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        if limit := mapping.get("ScalingConfig", {}).get("MaximumConcurrency"):
            scaling = {"MaximumConcurrency": int(limit)}
            functions.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig=scaling)


def allow_batches(deployment: Deployment) -> None:
    """On AWS the right to send a message is the right to send ten; the emulator asks for one of its own."""
    rewrite(deployment, '"Action": "sqs:SendMessage"', '"Action": ["sqs:SendMessage", "sqs:SendMessageBatch"]')
    rewrite(deployment, '["sqs:SendMessage", "sqs:Change', '["sqs:SendMessage", "sqs:SendMessageBatch", "sqs:Change')


def allow_groups(deployment: Deployment) -> None:
    """The right to a group's schedules; the emulator asks for one to the default group's, whichever is meant.

    Only what the template allows in its group is allowed there, and to the functions that it allows it.
    """
    rewrite(deployment, f":schedule/{deployment.outputs['ScheduleGroup']}/", ":schedule/default/")


def rewrite(deployment: Deployment, old: str, new: str) -> None:
    """The policies of the functions' roles with one text for another."""
    iam = deployment.emulator.client("iam")
    for role in {role_of(deployment, function) for function in deployment.functions}:
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            text = json.dumps(iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"])
            if old in text:
                iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=text.replace(old, new))


def role_of(deployment: Deployment, function: str) -> str:
    name = deployment.functions[function]
    role: str = deployment.emulator.client("lambda").get_function_configuration(FunctionName=name)["Role"]
    return role.rpartition("/")[2]


def parameters() -> tuple[str, ...]:
    # The emulator has no metrics to watch.
    return (
        "--parameter-overrides",
        f"Architecture={ARCHITECTURE}",
        "Model=extractive",
        "OwnerOverrides=On",
        "FairQueues=On",
        "Alarms=Off",
    )


def sam(command: str, limit: float, *arguments: object, **variables: str) -> str:
    """Run the SAM CLI, and return what it said; that is in the error if it fails."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        [bin_folder / "sam", command, *map(str, arguments)],
        cwd=ROOT,
        env={**own, "PATH": f"{bin_folder}:{own['PATH']}", "SAM_CLI_TELEMETRY": "0", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, f"sam {command} failed:\n{done.stdout}"
    return done.stdout


def runtime() -> str | None:
    """The path of an interpreter of Lambda's version, if this machine has one that runs."""
    path = shutil.which(RUNTIME, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    runs = path and subprocess.run([path, "-c", ""], capture_output=True, timeout=30, check=False).returncode == 0
    return path if runs else None


def lambda_python(home: Path) -> str:
    """An interpreter as in Lambda: it has boto3, and nothing else that is installed here."""
    python = runtime()
    assert python is not None
    subprocess.run([python, "-m", "venv", "--without-pip", home], check=True, timeout=60)
    packages = home / "lib" / RUNTIME / "site-packages"
    for name in LAMBDA_CARRIES:
        source = package_path(name)
        (packages / source.name).symlink_to(source)
    return str(home / "bin" / "python")


def package_path(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin


def wait_for_end(http: httpx.Client, job_id: str, *, seconds: float) -> dict[str, Any]:
    """The job, once it has ended; `AssertionError` shows it as it is if that takes longer."""
    deadline = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = http.get(f"/jobs/{job_id}", params={"wait": 10}).raise_for_status().json()
        if job["status"] in ("completed", "failed", "cancelled"):
            return job
        assert time.monotonic() < deadline, f"not ended within {seconds:g} s: {job}"
        time.sleep(0.2)
