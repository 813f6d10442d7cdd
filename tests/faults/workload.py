"""What the simulated clients ask for, and tasks that keep a journal of everything they did."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from common.tasks import REGISTRY, Context, Permanent, Retryable, _defined
from tests.faults.virtual import World


class Given(BaseModel):
    n: int
    seconds: float = 0
    size: int = 0
    children: int = 0


@dataclass
class Journal:
    """What really happened, by a counter that the ledger shares. A run is one time that a task's function was entered."""

    world: World
    count: itertools.count[int] = field(default_factory=itertools.count)
    #: Of each job: (counter, attempt, run).
    runs: dict[str, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    #: The lines that each run has said, and whether it returned.
    said: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    #: When a step's function was entered, and when the task went on with its result, by job and step.
    begun: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    passed: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    #: Jobs that a sandbox died of.
    poisoned: set[str] = field(default_factory=set)

    def enter(self, ctx: Context) -> int:
        run = next(self.count)
        self.runs[ctx.job_id].append((run, ctx.attempt, run))
        return run

    def forget(self, job_id: str) -> None:
        """The steps of a job that has expired."""
        for kept in (self.begun, self.passed):
            for key in [key for key in kept if key[0] == job_id]:
                del kept[key]

    def say(self, ctx: Context, run: int, text: str) -> None:
        line = f"{run}:{len(self.said[run])}:{text}"
        self.said[run].append(line)
        ctx.log(line)

    def begin(self, ctx: Context, name: str) -> None:
        self.begun[ctx.job_id, name].append(next(self.count))

    def go_on(self, ctx: Context, name: str) -> None:
        self.passed[ctx.job_id, name].append(next(self.count))


def result_of(given: dict[str, Any], run: int) -> dict[str, Any]:
    """What each task returns for its input; `run` tells whose result it is."""
    return {"double": given["n"] * 2, "run": run, "padding": "x" * given.get("size", 0)}


def register(journal: Journal) -> None:
    """The tasks of the simulation, for the API to accept and the worker to run."""

    def plain(ctx: Context, input: Given) -> Any:
        run = journal.enter(ctx)
        journal.say(ctx, run, "begin")
        for part in range(3):
            ctx.progress(part * 30, message=f"part {part}")
            time.sleep(input.seconds / 3)
        journal.say(ctx, run, "end")
        return result_of(input.model_dump(), run)

    async def stepped(ctx: Context, input: Given) -> Any:
        run = journal.enter(ctx)
        for number in range(3):
            await _step(ctx, f"part-{number}", run, input.seconds / 3)
            journal.say(ctx, run, f"after part {number}")
        return result_of(input.model_dump(), run)

    async def sleepy(ctx: Context, input: Given) -> Any:
        run = journal.enter(ctx)
        await _step(ctx, "before", run, 1)
        await ctx.sleep(seconds=60 + input.seconds)
        await _step(ctx, "after", run, 1)
        return result_of(input.model_dump(), run)

    async def asking(ctx: Context, input: Given) -> Any:
        run = journal.enter(ctx)
        await _step(ctx, "before", run, 1)
        answer = await ctx.ask("Go on?", schema=bool, timeout=86_400)
        journal.say(ctx, run, f"was told {answer}")
        return result_of(input.model_dump(), run)

    async def parent(ctx: Context, input: Given) -> Any:
        run = journal.enter(ctx)
        inputs = [Given(n=input.n * 100 + number, seconds=input.seconds) for number in range(input.children)]
        found = await ctx.gather("plain", inputs, concurrency=3 + input.n % 5 * 9)
        for number, child in enumerate(found):
            if child.ok and child.result["double"] != inputs[number].n * 2:
                raise Permanent("A child's result is another's.")
        return result_of(input.model_dump(), run)

    async def flaky(ctx: Context, input: Given) -> Any:
        run = journal.enter(ctx)
        await asyncio.sleep(input.seconds / 10)
        if ctx.attempt < 3:
            raise Retryable("Not yet.", after=input.seconds)
        return result_of(input.model_dump(), run)

    def failing(ctx: Context, input: Given) -> Any:
        journal.enter(ctx)
        raise Permanent("It cannot be done.")

    def poison(ctx: Context, input: Given) -> Any:
        journal.enter(ctx)
        journal.poisoned.add(ctx.job_id)
        journal.world.current.process.kill()

    async def _step(ctx: Context, name: str, run: int, seconds: float) -> None:
        async def effect() -> int:
            journal.begin(ctx, name)
            await asyncio.sleep(seconds)
            return run

        await ctx.step(name, effect)
        journal.go_on(ctx, name)

    for function in (plain, stepped, sleepy, asking, parent, flaky, failing, poison):
        REGISTRY.add(_defined(function, max_attempts=5, timeout_seconds=600))
