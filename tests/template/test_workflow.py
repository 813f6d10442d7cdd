"""The workflow that users copy: what it runs exists, what it uses is pinned, and no key of AWS is in it."""

from __future__ import annotations

import re
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from tests.aws import ROOT

TEXT = (ROOT / "examples" / "github-actions.yml").read_text()
JOBS: dict[str, Any] = yaml_parse(TEXT)["jobs"]


def test_actions_are_pinned_by_version() -> None:
    used = [step["uses"] for job in JOBS.values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", each) for each in used)


def test_only_deployments_may_ask_for_a_token_and_none_has_a_key() -> None:
    asking = {name for name, job in JOBS.items() if job.get("permissions", {}).get("id-token") == "write"}
    assert asking == {name for name, job in JOBS.items() if "environment" in job} == {"dev", "prod"}
    assert "secrets." not in TEXT
    assert not re.search(r"aws-(access-key-id|secret-access-key)", TEXT)


def test_what_it_runs_is_there() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    run = {step["run"].split()[1] for job in JOBS.values() for step in job["steps"] if "run" in step}
    assert run <= targets
    environments = re.findall(r"^\[(\w+)\.deploy\.parameters\]", (ROOT / "samconfig.toml").read_text(), re.MULTILINE)
    assert environments == [name for name, job in JOBS.items() if "environment" in job]
