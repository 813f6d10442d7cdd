"""The command that says what is wrong with a deployment."""

from typing import Any

import typer
from rich.text import Text

from longrun import doctor as checks
from longrun import doctor_settings, doctor_work
from longrun.cli_ops_config import Profile, Region, Stack
from longrun.cli_session import session
from longrun.client import Client
from longrun.deployment import Deployment
from longrun.doctor import Finding, Level, Patient, examine

CHECKS = (
    ("stack", checks.check_stack),
    ("api", checks.check_api),
    ("table", doctor_settings.check_table),
    ("expiry", doctor_settings.check_expiry),
    ("point-in-time recovery", doctor_settings.check_backup),
    ("redrive", doctor_settings.check_redrive),
    ("readers", doctor_settings.check_readers),
    ("visibility", doctor_settings.check_visibility),
    ("queue depths", doctor_work.check_depths),
    ("dead letters", doctor_work.check_dead_letters),
    ("sweeper", doctor_work.check_sweeper),
    ("stuck jobs", doctor_work.check_stuck),
    ("alarms", checks.check_alarms),
)
MARKS = {Level.OK: Text("ok", "green"), Level.WARNING: Text("warning", "yellow"), Level.FAILURE: Text("failure", "red")}


def doctor(ctx: typer.Context, *, stack: Stack = None, region: Region = None, profile: Profile = None) -> None:
    """Check a deployment, with AWS credentials, and say what to do about what is wrong.

    Exit codes: 0 all is well, 1 warnings or something that could not be checked, 2 failures.
    """
    output = session(ctx).output
    deployment = Deployment.named_or_chosen(stack, region, profile)
    with Client(deployment.output("ApiUrl"), ctx.find_root().params["api_key"]) as client:
        found = list(examine(Patient(deployment, client), CHECKS))
    worst = max(finding.level for finding in found)
    if output.machine:
        output.document({"stack": deployment.place.stack, "level": worst.name.lower(), "findings": _described(found)})
    else:
        columns = ("LEVEL", "WHAT", "FINDING", "WHAT TO DO")
        rows = ((_mark(each), each.what, each.says, each.do) for each in sorted(found, key=lambda each: -each.level))
        output.table(columns, rows)
    raise typer.Exit(worst)


def _mark(finding: Finding) -> Text:
    return MARKS[finding.level] if finding.checked else Text("unchecked", "yellow")


def _described(found: list[Finding]) -> list[dict[str, Any]]:
    return [
        {"what": each.what, "level": each.level.name.lower(), "checked": each.checked, "says": each.says, "do": each.do}
        for each in found
    ]
