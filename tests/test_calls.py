"""The budgets of AWS calls hold, and what `longrun cost` knows of them is so: `make bench`, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def test_a_job_costs_no_more_calls_than_promised() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.calls", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    counted = json.loads(ran.stdout)
    assert counted["whole no-op job, no polls"]["calls"] == {"PutItem": 1, "SendMessage": 1, "UpdateItem": 2}
    assert counted["poll of an unchanged job (304)"]["calls"] == {"GetItem": 1}
    kept = json.loads((ROOT / "client/longrun/counted.json").read_text())
    stale = "what `longrun cost` knows is out of date: run `make bench`"
    assert counts(counted) == counts(kept), stale
    assert sizes(counted) == pytest.approx(sizes(kept), abs=100), stale


def counts(facts: dict[str, Any]) -> dict[str, Any]:
    """What is the same each time."""
    rows = {name: counts(fact) if isinstance(fact, dict) else fact for name, fact in facts.items()}
    return {name: fact for name, fact in rows.items() if not name.endswith("_bytes")}


def sizes(facts: dict[str, Any]) -> dict[str, int]:
    """What differs with the digits of times."""
    logs = {name: fact["log_bytes"] for name, fact in facts.items() if isinstance(fact, dict)}
    return logs | {name: fact for name, fact in facts.items() if name.endswith("_bytes")}
