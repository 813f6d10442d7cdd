"""Five hundred jobs, while the processes that run them are killed at random and the emulator stands still now and then."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from dev.emulator import until
from tests.e2e.deployment import Deployment

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)

JOBS = 500
#: How many processes of each function are killed, and how often the emulator stands still.
KILLS = {"WorkerFunction": 12, "ApiFunction": 4, "NotifierFunction": 4}
STOPS = 4
#: Only processes that are older, in seconds, are killed: younger ones may not even be loaded, and have no job in hand.
SETTLED = 5
#: Until all must have ended, in seconds: a killed worker's job goes on within about two minutes, and may meet the next.
LIMIT = 420
#: The emulator starts a process for every call that comes while all others are busy: so many clients, and so many workers.
SIDE_BY_SIDE = 4


class Trouble:
    """Kills and stops processes at random moments until it has done it so often. From a seed, though nobody can replay it."""

    def __init__(self, deployment: Deployment) -> None:
        self.kills: Counter[str] = Counter()
        self.stops = 0
        self._since: dict[int, float] = {}
        self._deployment = deployment
        self._random = random.Random(7)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Trouble:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def is_over(self) -> bool:
        return self.kills.total() >= sum(KILLS.values()) and self.stops >= STOPS

    def _run(self) -> None:
        while not self.is_over and not self._over.wait(self._random.uniform(2, 8)):
            if self.stops < STOPS and self._random.random() < 0.25:
                self._stop()
            else:
                self._kill()

    def _kill(self) -> None:
        left = [name for name, most in KILLS.items() if self.kills[name] < most]
        pids = {name: self._settled(name) for name in left}
        there = [name for name, found in pids.items() if found]
        if there:
            function = self._random.choice(there)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._random.choice(pids[function]), signal.SIGKILL)
                self.kills[function] += 1

    def _settled(self, name: str) -> list[int]:
        pids, now = self._deployment.emulator.function_pids(self._deployment.functions[name]), time.monotonic()
        return [pid for pid in pids if now - self._since.setdefault(pid, now) >= SETTLED]

    def _stop(self) -> None:
        """The emulator alone: functions go on, and nothing answers them."""
        os.kill(self._deployment.emulator.pid, signal.SIGSTOP)
        try:
            self._over.wait(self._random.uniform(1, 4))
        finally:
            os.kill(self._deployment.emulator.pid, signal.SIGCONT)
        self.stops += 1


@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.skipif("LONGRUN_PROCESSES" not in os.environ, reason="needs the machine for itself: make processes")
def test_five_hundred_jobs_outlive_killed_processes_and_a_table_that_stands_still(
    deployment: Deployment,
) -> None:
    limit_workers(deployment)
    with deployment.http("many") as http, Trouble(deployment) as trouble:
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            ids = list(pool.map(lambda number: submitted(http, number), range(JOBS)))
        until(lambda: trouble.kills["WorkerFunction"] >= KILLS["WorkerFunction"], seconds=LIMIT, what="all kills")
    assert len(set(ids)) == JOBS
    until(lambda: len(ended(deployment, ids)) == JOBS, seconds=LIMIT, every=2, what=f"the end of {JOBS} jobs")
    items = ended(deployment, ids)
    assert Counter(item["status"]["S"] for item in items.values()) == {"completed": JOBS}
    for number, job_id in enumerate(ids):
        item = items[job_id]
        assert json.loads(item["result"]["M"]["inline"]["S"]) == wanted(number), job_id
        changes = [change["M"]["status"]["S"] for change in item["history"]["M"].values()]
        assert sum(status in ("completed", "failed", "cancelled") for status in changes) == 1, job_id
    again = sum(int(item["attempt"]["N"]) > 1 for item in items.values())
    assert again >= 1, f"none was begun again, though there were killed {dict(trouble.kills)}"
    log.info("%d jobs, %d begun again; killed: %s; %d stops", JOBS, again, dict(trouble.kills), trouble.stops)


def limit_workers(deployment: Deployment) -> None:
    client = deployment.emulator.client("lambda")
    for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
        if deployment.functions["WorkerFunction"] in mapping["FunctionArn"]:
            client.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": SIDE_BY_SIDE})


def wanted(number: int) -> dict[str, Any]:
    return {"number": number, "seconds": number % 5 * 4}


def submitted(http: httpx.Client, number: int) -> str:
    """The id of the job under this number's key, asked for until there is an answer."""
    body = {"task": "echo", "input": wanted(number), "max_attempts": 20}
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            answer = http.post("/jobs", json=body, headers={"Idempotency-Key": f"many-{number}"})
        except httpx.TransportError:
            continue
        if answer.status_code in (200, 202):
            return str(answer.json()["id"])
        assert answer.status_code >= 500, answer.text
    raise TimeoutError(f"No answer to submission {number}.")


def ended(deployment: Deployment, ids: list[str]) -> dict[str, dict[str, Any]]:
    """The items of those that have ended, past the API: asking it five hundred times would take longer than the jobs."""
    table = deployment.emulator.client("dynamodb")
    found = {}
    for start in range(0, len(ids), 100):
        keys = [{"pk": {"S": f"job#{job_id}"}, "sk": {"S": "job"}} for job_id in ids[start : start + 100]]
        answer = table.batch_get_item(RequestItems={deployment.outputs["TableName"]: {"Keys": keys}})
        for item in answer["Responses"][deployment.outputs["TableName"]]:
            if "finished_at" in item:
                found[item["pk"]["S"].partition("#")[2]] = item
    return found
