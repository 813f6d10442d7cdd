"""`make permissions`: each right of each role is taken away once, and what needs it must fail.

A right that is not missed has no place in the template, or among those that only AWS asks for (`FOR_AWS`).
"""

from __future__ import annotations

import fnmatch
import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dev import MARK
from dev.aliases import publish
from dev.decisions import Decision, read
from dev.emulator import Emulator
from tests.e2e.deployment import Deployment, deploy, role_of
from tests.e2e.exercises import EXERCISES, somebody

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)

#: What the emulator does not ask for, since it does by itself what AWS's services do in the role's name. (For the same reason
#: the two roles that are EventBridge's alone, to call the scheduled function and the sweeper, are not among those here.)
FOR_AWS = {
    "logs:CreateLogStream": "Lambda writes the function's log",
    "logs:PutLogEvents": "Lambda writes the function's log",
    "sqs:ReceiveMessage": "Lambda polls the function's queue",
    "sqs:GetQueueAttributes": "Lambda polls the function's queue",
    "dynamodb:DescribeStream": "Lambda reads the table's stream",
    "dynamodb:GetRecords": "Lambda reads the table's stream",
    "dynamodb:GetShardIterator": "Lambda reads the table's stream",
    "dynamodb:ListStreams": "Lambda reads the table's stream",
    "iam:PassRole": "a schedule is made with the role that it calls its function by",
    "bedrock:InvokeModel": "the tests have no model",
    "bedrock:InvokeModelWithResponseStream": "the tests have no model",
}
#: The same, where it is this role's alone: the emulator asks others for it.
FOR_AWS_BY_STATEMENT = {
    ("Notifier", "DeadLetters"): "Lambda puts down what it could not hand over",
    ("Scheduled", "DeadLetters"): "Lambda puts down what it could not hand over",
    ("DeadLetters", "Receive"): "Lambda deletes what was handled",
    ("Webhooks", "Receive"): "Lambda deletes what was handled",
}

#: Seconds after which an exercise has failed that has not ended, besides twice the time that it takes with all rights.
GRACE = 6

#: What a line has that tells of something wrong; and those that belong to the exercises.
TROUBLE = ('"WARNING"', '"ERROR"', '"CRITICAL"', "Traceback")
EXPECTED = ("job dead-lettered", "webhooks recovered", "fired into nothing")


@dataclass(frozen=True)
class Right:
    """One action of one statement of a role's."""

    function: str
    role: str
    sid: str
    action: str
    resources: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.function}.{self.sid}: {self.action}"

    @property
    def reason(self) -> str | None:
        """Why it is there though the emulator never asks for it."""
        return FOR_AWS.get(self.action) or FOR_AWS_BY_STATEMENT.get((self.function, self.sid))

    def covers(self, decision: Decision) -> bool:
        # On AWS the right to send a message is the right to send ten; the emulator has a name of its own for that.
        action = decision.action.removesuffix("Batch")
        return (decision.role, action) == (self.role, self.action) and any(
            fnmatch.fnmatchcase(decision.resource, pattern) for pattern in self.resources
        )


@dataclass
class Watch:
    """The lines that functions have logged of what went wrong, and what their roles were asked for."""

    decisions: Path
    troubles: list[str] = field(default_factory=list)

    def on_line(self, text: str) -> None:
        if (
            text.startswith(MARK)
            and any(sign in text for sign in TROUBLE)
            and not any(each in text for each in EXPECTED)
        ):
            self.troubles.append(text.split(MARK, 2)[2])

    def since(self, start: int) -> list[Decision]:
        return read(self.decisions)[start:]

    def now(self) -> int:
        return len(read(self.decisions))


@pytest.fixture(scope="module")
def drilled(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was built, with a task more."""
    folder = tmp_path_factory.mktemp("drilled") / "build"
    shutil.copytree(built.parent, folder)
    shutil.copy(Path(__file__).with_name("drill.py"), folder / "TasksLayer" / "python" / "tasks")
    return folder / built.name


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    return Watch(tmp_path_factory.mktemp("permissions") / "decisions.jsonl")


@pytest.fixture(scope="module")
def exercised(drilled: Path, watch: Watch, python: str) -> Iterator[Deployment]:
    emulator = Emulator(watch.decisions.parent, roles=True, python=python, on_line=watch.on_line)
    try:
        emulator.start()
        emulator.wait_until_ready()
        deployment = deploy(drilled, emulator)
        allow_receivers_here(deployment)
        yield deployment
    finally:
        emulator.stop()


def allow_receivers_here(deployment: Deployment) -> None:
    client = deployment.emulator.client("lambda")
    for function in (deployment.functions["ApiFunction"], deployment.functions["WebhooksFunction"]):
        variables = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        variables["LONGRUN_LOOPBACK"] = "allow"
        client.update_function_configuration(FunctionName=function, Environment={"Variables": variables})
    publish(deployment.emulator, deployment.functions.values())


@pytest.mark.timeout(1800)
def test_every_right_is_missed_when_it_is_gone(exercised: Deployment, watch: Watch) -> None:
    everything = rights(exercised)
    asked, taken = ask_for_all(exercised, watch, everything)
    needed = [right for right in everything if right.reason is None]
    assert {right.action for right in everything} >= set(FOR_AWS)  # no excuse is left over
    unasked = [str(right) for right in needed if not asked[right]]
    missed = {
        right
        for right in needed
        if is_missed(exercised, watch, right, {name: taken[name] for name in asked[right][:4]})
    }
    unmissed = [str(right) for right in needed if asked[right] and right not in missed]
    log.info("%d rights, %d of them asked for by AWS alone", len(everything), len(everything) - len(needed))
    assert (unasked, unmissed) == ([], [])


def rights(deployment: Deployment) -> list[Right]:
    """As deployed, with resources in full."""
    iam, found = deployment.emulator.client("iam"), []
    for logical in deployment.functions:
        role = role_of(deployment, logical)
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            for statement in document["Statement"]:
                if sid := statement.get("Sid"):
                    found += [
                        Right(logical.removesuffix("Function"), role, sid, action, tuple(listed(statement["Resource"])))
                        for action in listed(statement["Action"])
                        if not action.endswith("Batch")  # the emulator's own: see allow_batches
                    ]
    return found


def ask_for_all(
    deployment: Deployment, watch: Watch, everything: list[Right]
) -> tuple[dict[Right, list[str]], dict[str, float]]:
    """Which exercises ask for each right, the quickest first, and how many seconds each took.

    Each must succeed, and nothing be complained of.
    """
    asked: dict[Right, list[str]] = {right: [] for right in everything}
    taken: dict[str, float] = {}
    for name in EXERCISES:
        start, began = watch.now(), time.monotonic()
        watch.troubles.clear()
        problem = run(deployment, name)
        taken[name] = time.monotonic() - began
        log.info("%-50s %5.1f s", name, taken[name])
        assert problem is None, f"{name}: {problem!r}; {watch.troubles}"
        time.sleep(1)  # what functions do after it
        for right in everything:
            if any(right.covers(decision) for decision in watch.since(start)):
                asked[right].append(name)
    for names in asked.values():
        names.sort(key=lambda name: taken[name])
    return asked, taken


def is_missed(deployment: Deployment, watch: Watch, right: Right, taken: dict[str, float]) -> bool:
    """Whether one of these fails without the right, or a function complains: and it was this right that was denied."""
    with removed(deployment, right):
        for name, seconds in [*taken.items()] * 2:  # a machine that is busy makes other things fail, too
            start = watch.now()
            watch.troubles.clear()
            ended = threading.Event()
            problems: list[BaseException | None] = []

            def attempt(name: str = name, problems: list[Any] = problems, ended: threading.Event = ended) -> None:
                problems.append(run(deployment, name))
                ended.set()

            threading.Thread(target=attempt, daemon=True).start()
            deadline = time.monotonic() + GRACE + 2 * seconds
            while not ended.wait(0.2) and time.monotonic() < deadline:
                if denied(watch, right, start) and watch.troubles:
                    break
            wrong = bool(watch.troubles) or not problems or problems[0] is not None
            if wrong and denied(watch, right, start):
                log.info("%-45s is missed by %s", right, name)
                return True
    log.warning("%s is not missed by any of %s", right, list(taken))
    return False


def denied(watch: Watch, right: Right, start: int) -> bool:
    return any(right.covers(decision) and not decision.allowed for decision in watch.since(start))


def run(deployment: Deployment, name: str) -> BaseException | None:
    try:
        with somebody(deployment) as owner:
            EXERCISES[name](owner)
    except Exception as error:  # noqa: BLE001
        return error
    return None


@contextmanager
def removed(deployment: Deployment, right: Right) -> Iterator[None]:
    """The role's policies without it, for a while."""
    iam = deployment.emulator.client("iam")
    before = {
        policy: iam.get_role_policy(RoleName=right.role, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=right.role)["PolicyNames"]
    }
    try:
        for policy, document in before.items():
            if left := [one for statement in document["Statement"] if (one := without(statement, right))]:
                put(iam, right.role, policy, {**document, "Statement": left})
            else:
                iam.delete_role_policy(RoleName=right.role, PolicyName=policy)
        yield
    finally:
        for policy, document in before.items():
            put(iam, right.role, policy, document)


def put(iam: Any, role: str, policy: str, document: Any) -> None:
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))


def without(statement: dict[str, Any], right: Right) -> dict[str, Any] | None:
    if statement.get("Sid", right.sid) != right.sid:
        return statement
    left = [action for action in listed(statement["Action"]) if action.removesuffix("Batch") != right.action]
    return {**statement, "Action": left} if left else None


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
