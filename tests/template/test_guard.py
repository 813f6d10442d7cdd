"""That the rules of `rules.guard` can be broken: each by a template that is wrong in one place."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dev.translate import read, translated
from tests.aws import ROOT

#: Where `make validate` has installed cfn-guard.
PYTHON = ROOT / ".venv" / "checks" / "bin" / "python"

#: Where in the resources, and what stands there then; None for nothing at all.
BROKEN: dict[str, tuple[str, Any]] = {
    "queues_are_encrypted_and_keep_what_nobody_took": ("Queue Properties SqsManagedSseEnabled", None),
    "what_is_kept_survives_the_stack": ("Table DeletionPolicy", "Delete"),
    "the_table_can_be_put_back": ("Table Properties PointInTimeRecoverySpecification", None),
    "nobody_else_reads_the_bucket": ("BucketPolicy Properties PolicyDocument Statement 0", None),
    "logs_are_not_kept_for_ever": ("ApiLogs Properties RetentionInDays", None),
    "roles_are_made_of_single_rights": ("ApiRole Properties Policies 0 PolicyDocument Statement 0 Resource", "*"),
    "policies_are_made_of_single_rights": ("TracingPolicy Properties PolicyDocument Statement 0 Action", ["xray:*"]),
    "alarms_reach_somebody_and_say_when_they_know_nothing": ("SweeperAlarm Properties TreatMissingData", None),
    "stages_are_throttled_and_logged": ("HttpApiStage Properties AccessLogSettings", None),
    "functions_have_roles_and_logs_of_their_own": ("LiveFunction Properties LoggingConfig", None),
    "batches_fail_message_by_message": ("WorkerFunctionJobs Properties FunctionResponseTypes", None),
}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return translated(read())


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_finds_what_breaks_it(rule: str, template: dict[str, Any], tmp_path: Path) -> None:
    broken = copy.deepcopy(template)
    change(broken["Resources"], *BROKEN[rule])
    said = guard(tmp_path, broken)
    assert [line.split(" breaks the rule ")[1].split()[0] for line in said.splitlines() if "breaks" in line] == [rule]


def test_there_is_such_a_template_for_every_rule() -> None:
    rules = (ROOT / "tests" / "template" / "rules.guard").read_text()
    assert [line.split()[1] for line in rules.splitlines() if line.startswith("rule ")] == list(BROKEN)


def change(resources: Any, path: str, value: Any) -> None:
    *way, last = [int(part) if part.isdigit() else part for part in path.split()]
    for part in way:
        resources = resources[part]
    if value is None:
        del resources[last]
    else:
        resources[last] = value


def guard(folder: Path, template: dict[str, Any]) -> str:
    if not PYTHON.exists():
        pytest.skip("make validate installs cfn-guard")
    (folder / "template.json").write_text(json.dumps(template))
    done = subprocess.run(
        [PYTHON, "-m", "dev.guard", folder / "template.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "SKIPPED" in done.stdout:
        pytest.skip(done.stdout.strip())
    return done.stdout
