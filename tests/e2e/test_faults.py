"""Processes die, and nothing is lost."""

from __future__ import annotations

import os
import signal
import time

import httpx

from dev.emulator import until
from tests.e2e.deployment import Deployment, wait_for_end

#: Seconds in which a job whose worker died must have ended, with no help. Twenty of them are the task's own.
LIMIT = 120


def test_a_job_survives_the_death_of_its_worker(deployment: Deployment, acme: httpx.Client) -> None:
    job_id = acme.post("/jobs", json={"task": "echo", "input": {"seconds": 20}}).json()["id"]

    def is_under_way() -> bool:
        progress = acme.get(f"/jobs/{job_id}").json()["progress"]
        return progress is not None and progress["percent"] >= 25

    until(is_under_way, seconds=60, what="a quarter of the job")
    killed_at = time.monotonic()
    workers = deployment.emulator.function_pids(deployment.functions["WorkerFunction"])
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)

    job = wait_for_end(acme, job_id, seconds=LIMIT)
    assert (job["status"], job["attempt"], job["result"]) == ("completed", 2, {"seconds": 20})
    assert time.monotonic() - killed_at < LIMIT
