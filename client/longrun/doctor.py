"""What may be wrong with a deployment: its checks, one after the other, and what to do about what each finds."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from longrun.client import Client
from longrun.deployment import AwsProblem, Deployment, NotPermitted
from longrun.errors import LongrunError, Unauthorized


class Level(IntEnum):
    """How bad it is; the worst of all findings is the command's exit code."""

    OK = 0
    WARNING = 1
    FAILURE = 2


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `do` says what to do next; `checked` is False if it could not be looked at."""

    what: str
    level: Level
    says: str
    do: str = ""
    checked: bool = True


@dataclass(frozen=True)
class Patient:
    """What is looked at, by whom, and at which time (a clock in seconds since 1970)."""

    deployment: Deployment
    client: Client
    clock: Callable[[], float] = time.time


Check = Callable[[Patient], Iterator[Finding]]


def examine(patient: Patient, checks: Iterable[tuple[str, Check]]) -> Iterator[Finding]:
    """What each check finds; one that its caller may not make says which right it lacks."""
    for name, check in checks:
        try:
            yield from check(patient)
        except NotPermitted as error:
            yield Finding(name, Level.WARNING, f"not checked: needs {error.action}", _ask_for(error), checked=False)
        except AwsProblem as error:
            yield Finding(name, Level.WARNING, f"not checked: {error}", checked=False)


def judged(what: str, good: bool, says: str, otherwise: str, do: str, level: Level = Level.FAILURE) -> Finding:
    """A finding that is fine if `good`, and `otherwise` as bad as `level`, with what to do."""
    return Finding(what, Level.OK, says) if good else Finding(what, level, otherwise, do)


def check_stack(patient: Patient) -> Iterator[Finding]:
    """Did the last deployment succeed, and who may call?"""
    stack = patient.deployment.described
    status = stack["StackStatus"]
    good = status.endswith("_COMPLETE") and "ROLLBACK" not in status
    do = "see what failed with `aws cloudformation describe-stack-events`, and deploy again"
    level = Level.WARNING if status.endswith("_IN_PROGRESS") else Level.FAILURE
    yield judged("stack", good, status, f"its last deployment is {status}", do, level)
    parameters = {each["ParameterKey"]: each.get("ParameterValue", "") for each in stack.get("Parameters", ())}
    mode = parameters.get("AuthMode", "")
    do = "deploy with AuthMode=ApiKeys (or Jwt), and make keys with `make key`"
    yield judged("callers", mode in ("ApiKeys", "Jwt"), mode, f"AuthMode is {mode or 'unknown'}: anybody may call", do)


def check_api(patient: Patient) -> Iterator[Finding]:
    """Does it answer, and does it know our key?"""
    client = patient.client
    try:
        client.health()
        yield Finding("api", Level.OK, f"{client.url} answers")
    except LongrunError as error:
        yield Finding(
            "api", Level.FAILURE, str(error), "see docs/runbook.md#api-errors; the API function's log says why"
        )
        return
    try:
        client.list(limit=1)
        yield Finding("key", Level.OK, "your key is known")
    except Unauthorized:
        do = "set LONGRUN_API_KEY to a key of this deployment (`make key OWNER=… STACK=…` makes one)"
        yield Finding(
            "key", Level.WARNING, "your key is missing or not known: no call with one was tried", do, checked=False
        )
    except LongrunError as error:
        yield Finding(
            "key", Level.FAILURE, str(error), "see docs/runbook.md#api-errors; the API function's log says why"
        )


def check_alarms(patient: Patient) -> Iterator[Finding]:
    """What does CloudWatch cry about?"""
    prefix = f"{patient.deployment.place.stack}-"
    answer = patient.deployment.ask("cloudwatch", "describe_alarms", AlarmNamePrefix=prefix, StateValue="ALARM")
    names = [each["AlarmName"] for each in answer["MetricAlarms"]]
    if not names:
        yield Finding("alarms", Level.OK, "none is on")
    for name in names:
        page = f"docs/runbook.md#{name.removeprefix(prefix)}"
        yield Finding("alarms", Level.FAILURE, f"{name} is on", f"{page} says what it means and what to do")


def _ask_for(error: NotPermitted) -> str:
    return f"ask for {error.action}, or have somebody run this who has it"
