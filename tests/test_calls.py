"""The budgets of AWS calls hold: `make bench`, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_a_job_costs_no_more_calls_than_promised() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.calls", "--json"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    counts = json.loads(ran.stdout)
    assert counts["whole no-op job, no polls"] == {"PutItem": 1, "SendMessage": 1, "UpdateItem": 2}
    assert counts["poll of an unchanged job (304)"] == {"GetItem": 1}
