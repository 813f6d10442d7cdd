"""Durable jobs on the local stack: one outlives its workers ten times, one has a thousand children.

`pytest --log-cli-level=INFO` shows what was measured, and which steps were begun again, and why.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from common.jobs import Job
from common.store import Store
from dev.emulator import root, until
from dev.kept import Memory
from tests.e2e import test_run
from tests.e2e.deployment import wait_for_end
from tests.e2e.test_run import Run, Start, replace_in

log = logging.getLogger(__name__)

sources, start = test_run.sources, test_run.start  # pytest's

TASKS = '''
import asyncio
import os

from pydantic import BaseModel

from common.tasks import Context, Permanent, task


class Walk(BaseModel):
    record: str
    steps: int


class Whole(BaseModel):
    size: int
    concurrency: int | None = None


class Part(BaseModel):
    n: int


def note(path: str, what: str, step: int) -> None:
    """Outside of the job, and at once: what is appended is there whole, or not at all, whenever we are killed."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what} {step} {os.getpid()}\\n".encode())
    os.close(file)


async def stride(record: str, number: int) -> int:
    note(record, "started", number)
    await asyncio.sleep(1 + number % 5 / 10)
    note(record, "finished", number)
    return number**2


@task(timeout_seconds=3600, max_attempts=20)
async def walk(ctx: Context, input: Walk) -> list[int]:
    return [await ctx.step("stride", stride, input.record, n, key=str(n)) for n in range(input.steps)]


@task
def part(input: Part) -> int:
    if input.n % 20 == 7:
        raise Permanent(f"{input.n} is bad")
    return input.n**2


@task
async def whole(ctx: Context, input: Whole) -> list[int | str]:
    inputs = [Part(n=n) for n in range(input.size)]
    found = await ctx.gather(part, inputs, concurrency=input.concurrency)
    return [child.result if child.ok else child.error for child in found]
'''

STEPS, KILLS, SEED = 40, 10, 7
CHILDREN = 1_000
#: Of the worker's function, and of its leases, in seconds. Waiting for dead workers' leases is most of what a kill costs.
LIMIT, LEASE = 10, 6


@pytest.fixture
def tasks(sources: Path) -> Path:
    """The stack's sources, with the tasks of this file."""
    (sources / "tasks" / "durable.py").write_text(TASKS)
    return sources


@dataclass
class Stack:
    """The running stack, and its table."""

    run: Run
    store: Store

    def submit(self, task: str, **given: Any) -> str:
        accepted = self.run.http.post("/jobs", json={"task": task, "input": given})
        return str(accepted.raise_for_status().json()["id"])

    def job(self, job_id: str) -> Job:
        found = self.store.get(job_id, time.time(), consistent=True)
        assert found is not None
        return found


@pytest.fixture
def killable(tasks: Path, start: Start) -> Iterator[Stack]:
    """A stack whose worker may run for ten seconds, and is known to be dead soon after."""
    template = tasks / "template.yaml"
    replace_in(template, "      Timeout: 900\n", f"      Timeout: {LIMIT}\n")
    replace_in(template, "VisibilityTimeout: 960", f"VisibilityTimeout: {LIMIT}")
    usual = "        TABLE_NAME: !Ref Table\n"
    replace_in(template, usual, f'{usual}        LONGRUN_LEASE_SECONDS: "{LEASE}"\n')
    yield from up(tasks, start)


@pytest.fixture
def narrow(tasks: Path, start: Start) -> Iterator[Stack]:
    """A stack with as many workers as a small machine has room for."""
    replace_in(tasks / "template.yaml", "    Default: 50\n", "    Default: 4\n")
    yield from up(tasks, start)


def up(sources: Path, start: Start) -> Iterator[Stack]:
    run = start()
    run.wait_for("Ready on http://localhost:")
    memory = Memory(**json.loads((sources / ".longrun" / "stack.json").read_text()))
    table = boto3.Session().client("dynamodb", endpoint_url=f"http://127.0.0.1:{memory.port}", **root())
    yield Stack(run, Store(table, memory.outputs["TableName"]))
    assert run.stop() == 0


@dataclass(frozen=True)
class Note:
    """A line of the record: a step was `started`, or its effect is there (`finished`), in the process `pid`."""

    what: str
    step: int
    pid: int


@dataclass(frozen=True)
class Kill:
    """`notes` were there when the process was killed, `recorded` are the steps in the table when all was quiet again."""

    notes: list[Note]
    recorded: set[int]

    @property
    def in_flight(self) -> set[int]:
        """What was begun and is not recorded; of these, the killed process knew one alone."""
        return {note.step for note in self.notes if note.what == "started"} - self.recorded


class Killer:
    """Kills the worker that runs a job, again and again, and remembers what stood where at that moment."""

    def __init__(self, stack: Stack, record: Path) -> None:
        self.job_id = stack.submit("walk", record=str(record), steps=STEPS)
        self.kills: list[Kill] = []
        self._stack = stack
        self._record = record

    @property
    def recorded(self) -> set[int]:
        """The finished steps that the table knows."""
        return {int(key.partition(":")[2]) for key in self._stack.store.steps(self._stack.job(self.job_id))}

    def times(self, what: str) -> Counter[int]:
        return Counter(note.step for note in self.notes if note.what == what)

    @property
    def notes(self) -> list[Note]:
        lines = self._record.read_text().split("\n")[:-1] if self._record.exists() else []
        return [Note(what, int(step), int(pid)) for what, step, pid in map(str.split, lines)]

    def kill_after(self, steps: int, seconds: float) -> None:
        """So much later than so many steps are recorded and another one is begun; if less than 0, just after an effect."""
        seen = len(self.kills[-1].notes) if self.kills else 0

        def is_under_way() -> bool:
            return any(note.what == "started" for note in self.notes[seen:]) and len(self.recorded) >= steps

        until(is_under_way, seconds=90, what=f"step {steps} of job {self.job_id}")
        if seconds < 0:
            until(lambda: self.notes[-1].what == "finished", seconds=60, what="an effect", every=0.001)
        else:
            time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):  # it was stopped meanwhile, and another process goes on
            os.kill(self.notes[-1].pid, signal.SIGKILL)
        notes = self.notes
        time.sleep(0.3)  # what it has sent last is still written
        self.kills.append(Kill(notes, self.recorded))


def test_forty_steps_outlive_ten_kills(killable: Stack, tmp_path: Path) -> None:
    began, chance = time.monotonic(), random.Random(SEED)
    killer = Killer(killable, tmp_path / "record.txt")
    for steps in sorted(chance.sample(range(1, STEPS - 13), KILLS)):
        killer.kill_after(steps, chance.uniform(-0.5, 1.5))
    job = wait_for_end(killable.run.http, killer.job_id, seconds=120)
    log.info("%.0f s, %d continuations, attempt %d", time.monotonic() - began, job["continuations"], job["attempt"])
    assert (job["status"], job["error"]) == ("completed", None)
    assert job["result"] == [n**2 for n in range(STEPS)]
    assert KILLS / 2 < job["attempt"] <= KILLS + 1  # a kill may come between two invocations
    assert job["continuations"] >= 3

    begun, done = killer.times("started"), killer.times("finished")
    assert set(begun) == set(done) == killer.recorded == set(range(STEPS))
    killed = Counter(step for kill in killer.kills for step in kill.in_flight)
    again, repeated = begun - Counter(range(STEPS)), done - Counter(range(STEPS))
    cut = again - killed
    log.info("killed half-way, and so begun again: %s", dict(again & killed))
    log.info("of these, killed between effect and record, whose effect so happened again: %s", dict(repeated))
    log.info("cut off by the end of an invocation, before their effect, and so begun again: %s", dict(cut))
    for kill in killer.kills:
        assert len(kill.in_flight) <= 1
        since = killer.notes[len(kill.notes) :]
        assert not {note.step for note in since} & kill.recorded, "a recorded step was begun again"
    assert repeated <= killed
    assert repeated.total() <= KILLS
    assert cut.total() <= job["continuations"]
    assert not set(cut) & set(repeated)


def test_a_thousand_children(narrow: Stack) -> None:
    began = time.monotonic()
    # The parent is woken whenever half of those that may run at a time have ended, if it does not run just then.
    job_id = narrow.submit("whole", size=CHILDREN, concurrency=150)
    job = wait_for_end(narrow.run.http, job_id, seconds=240)
    invocations = narrow.job(job_id).claims
    log.info("%.0f s, %d invocations of the parent", time.monotonic() - began, invocations)
    assert job["status"] == "completed", job["error"]
    assert job["result"] == [f"{n} is bad" if n % 20 == 7 else n**2 for n in range(CHILDREN)]
    assert job["attempt"] == 1
    assert 2 <= invocations < 20


def test_the_functions_may_do_what_steps_need(acme: httpx.Client) -> None:
    text = "# Tides\n\nThe moon pulls the sea. Twice a day the water rises and falls, and the moon is why.\n"
    acme.put("/documents/moon", content=text, headers={"Content-Type": "text/markdown"}).raise_for_status()
    submission = {"task": "research", "input": {"query": "Why does the water rise?", "documents": ["moon"]}}
    job = wait_for_end(acme, acme.post("/jobs", json=submission).json()["id"], seconds=120)
    assert job["status"] == "completed", job["error"]
    events = acme.get(f"/jobs/{job['id']}/events").raise_for_status().json()["events"]
    assert {"plan", "report"} <= {event["data"]["name"] for event in events if event["type"] == "step"}
