"""Deliberate mistakes: each a small change to the real code, which the invariants must find."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from dataclasses import dataclass
from functools import reduce
from typing import Any

from tests.faults.cloud import DEADLY, FORGETFUL, FROZEN, HALFWAY, LOSSY, ROUGH, UNHEARD, Rates


@dataclass(frozen=True)
class Mutant:
    """In the function `name` of `module`, the text `old` becomes `new`. It is looked for under `rates`, by jobs of `tasks`."""

    title: str
    module: str
    name: str
    old: str
    new: str
    rates: Rates = ROUGH
    tasks: tuple[str, ...] = ("plain", "stepped", "parent")
    jobs: int = 8

    def apply(self) -> None:
        """For good. Raises ValueError if the code does not have that text just once."""
        module = importlib.import_module(self.module)
        function: Any = reduce(getattr, self.name.split("."), module)
        source = textwrap.dedent(inspect.getsource(function))
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name} has the text of {self.title!r} {source.count(self.old)} times: {self.old}")
        changed: dict[str, Any] = {}
        code = compile(
            source.replace(self.old, self.new), inspect.getsourcefile(function) or "", "exec", flags=_ANNOTATIONS
        )
        exec(code, function.__globals__, changed)
        # Whoever has imported the function has the changed one, too.
        function.__code__ = changed[function.__name__].__code__


_ANNOTATIONS = __import__("__future__").annotations.compiler_flag

#: Each with the faults and the tasks that bring it to light.
MUTANTS = (
    Mutant(
        "no fence",
        "common.writes",
        "held",
        ' & Attr("attempt").eq(job.attempt) & Attr("token").eq(job.token)',
        "",
        FROZEN,
        ("plain", "stepped"),
    ),
    Mutant(
        "no lease check", "common.store", "Store.claim", '& Attr("lease_until").lte(ms(now))', "", LOSSY, ("plain",)
    ),
    Mutant("unconditional put", "common.store", "Store.put", "**condition(free),", "", LOSSY, ("plain",)),
    Mutant(
        "random id",
        "functions.api.submissions",
        "_job",
        "new_id() if key is None else derived_id(owner, key)",
        "new_id()",
        LOSSY,
        ("plain",),
    ),
    Mutant(
        "a child's id is random",
        "common.families",
        "child_id",
        'told = f"',
        'told = f"{__import__("secrets").token_hex(4)} ',
        DEADLY,
        ("parent",),
        jobs=3,
    ),
    Mutant(
        "no stragglers",
        "functions.stragglers.enlisting",
        "_is_straggler",
        '"wake_at" in image',
        "False",
        HALFWAY,
        ("plain",),
        jobs=16,
    ),
    Mutant("no sweeper", "functions.sweeper.sweep", "sweep", "services.store.overdue(services.clock())", "()"),
    Mutant(
        "a webhook is acknowledged before it is sent",
        "functions.webhooks.delivering",
        "Courier._deliver",
        "made = await self._try(delivery, endpoint, url)",
        "await self._record(delivery, None, decide(Try(0, url, 0, 200), 1, self.chance))\n"
        "    made = await self._try(delivery, endpoint, url)",
        LOSSY,
        ("plain",),
    ),
    Mutant(
        "a lost answer of a claim is ignored",
        "common.store",
        "Store.claim",
        "seen is not None and seen.token == token",
        "False",
        UNHEARD,
        ("plain",),
    ),
    Mutant(
        "a lost answer of a page is ignored",
        "common.store",
        "Store.flush",
        "seen is None or not is_held(seen, job) or seen.last_event != last",
        "True",
        UNHEARD,
        ("stepped",),
    ),
    Mutant(
        "a webhook's id is another for each try",
        "common.webhooks",
        "message_id",
        'told = f"',
        'told = f"{__import__("secrets").token_hex(4)} ',
        FORGETFUL,
        ("plain",),
    ),
    Mutant(
        "a step is stored after it is used",
        "functions.worker.steps",
        "Steps.write",
        "return step, written",
        "at_once: Future[None] = Future()\n    at_once.set_result(None)\n    return step, at_once",
        DEADLY,
        ("stepped",),
        jobs=16,
    ),
    Mutant(
        "what the notifier cannot do is forgotten",
        "functions.notifier.records",
        "notify",
        "if not _hand_over(services, _job_id(record), error):",
        "if False:",
        UNHEARD,
        ("plain",),
        jobs=16,
    ),
    Mutant(
        "every answer of a receiver will do",
        "common.webhooks",
        "decide",
        "if made.ok:",
        "if True:",
        LOSSY,
        ("plain",),
    ),
    Mutant(
        "what has expired is shown",
        "common.jobs",
        "Job.is_expired",
        "self.expires_at <= now",
        "False",
        LOSSY,
        ("plain",),
    ),
    Mutant(
        "a retry's key is ignored",
        "functions.api.resuming",
        "_retry_token",
        "if key is None",
        "if True",
        UNHEARD,
        ("failing",),
    ),
    Mutant("anybody may look", "functions.api.jobs", "find", " and job.owner == owner", "", LOSSY, ("plain",)),
    Mutant(
        "attempts are without end",
        "common.store",
        "Store.claim",
        '& Attr("next_attempt").lte(Attr("max_attempts"))',
        "",
        DEADLY,
        ("poison",),
        jobs=1,
    ),
    Mutant(
        "leases are not renewed",
        "functions.worker.supervision",
        "Supervision._renew",
        "self.job = await self._call(self._services.store.renew, self.job, self._services.clock())",
        "pass",
        LOSSY,
        ("plain",),
    ),
)
