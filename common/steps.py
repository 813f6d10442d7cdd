"""A finished step of a job: what it was, and what it returned. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from common.jobs import Payload

#: Longest name of a step with its key, in characters.
MAX_KEY = 200
#: Most steps of one job.
MAX_STEPS = 10_000

_KEY = re.compile(r"[ -~]+")


@dataclass(frozen=True)
class Step:
    """`of` tells what was asked for: the same key with other arguments is another step, and the task has changed."""

    key: str
    of: str
    result: Payload
    at: float
    #: See `place`.
    order: int
    #: Instead of a result: that nobody answered in time, or the like.
    error: str | None = None


def step_key(name: str, key: str | None) -> str:
    """Raises ValueError for what cannot be one."""
    whole = name if key is None else f"{name}:{key}"
    if not _KEY.fullmatch(whole) or len(whole) > MAX_KEY or not name:
        raise ValueError(f"A step's name, with its key, is 1 to {MAX_KEY} plain characters, not {whole[:50]!r}.")
    return whole


def place(run: int, number: int = 0) -> int:
    """Where a step is among the job's: the `number`-th, from 1, of its `run`-th run. 0 is after all of the run before."""
    return run * MAX_STEPS + number


def wait_id(key: str) -> str:
    """What a wait is called in the job's item, where the characters of a step's key would mean something else."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]
