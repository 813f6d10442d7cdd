"""What must hold whatever fails, checked at every write and at every answer; audit.py has what must hold after a run."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.jobs import LEASE, TRANSITIONS, Status
from common.writes import RESEND
from tests.faults import table
from tests.faults.virtual import Process, World
from tests.faults.workload import Journal, result_of

if TYPE_CHECKING:
    from tests.faults.cloud import Cloud

#: What an ended job never changes again.
SETTLED = ("status", "result", "error", "attempt", "finished_at", "expires_at", "created_at")
#: How long after a kill the job may stand still, in seconds, beside the sweeper's pause after what it sent: its lease, and the
#: sweeper's minute.
RECOVERY = LEASE + 60


@dataclass(frozen=True)
class Violation:
    invariant: str
    job: str
    what: str


@dataclass(frozen=True)
class Accepted:
    """What a client was told that will be done."""

    job_id: str
    owner: str
    key: str | None
    task: str
    input: dict[str, Any]


@dataclass
class Seen:
    """What is known of one job."""

    endings: list[table.Row] = field(default_factory=list)
    #: Which process claimed it last, and when that was killed while it held it.
    holder: Process | None = None
    killed_at: float | None = None
    #: The claim's token, and whether its holder knows what came of its latest call with that: it may not know that it has it.
    token: str = ""
    is_heard: bool = False
    #: Its owner asks for another life of it, and has not had it yet.
    is_retried: bool = False
    revived: int = 0


class Ledger:
    def __init__(self, world: World, journal: Journal) -> None:
        self.world, self.journal = world, journal
        self.cloud: Cloud = None  # type: ignore[assignment]  # the two know each other
        self.violations: list[Violation] = []
        self.jobs: dict[str, Accepted] = {}
        self.is_closed = False
        #: The call that was watched last: the jobs that it was to write, and what it said.
        self._touched: set[str] = set()
        self._given = ""
        self.seen: dict[str, Seen] = defaultdict(Seen)
        self._by_key: dict[tuple[str, str], str] = {}
        self._recorded: dict[table.Key, tuple[int, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, list[dict[str, Any]]] = {}

    def expect(self, holds: bool, invariant: str, job: str, what: str) -> None:
        if not holds:
            self.violations.append(Violation(invariant, job, what))
            self.cloud.note(f"VIOLATION {invariant}: {job} {what}")

    # -------------------------------------------------------------- at every write

    def watch(self, process: Process, operation: str, given: dict[str, Any]) -> Callable[[], None]:
        keys = table.written(operation, given)
        table.Transaction.touched = frozenset(pk for pk, _ in keys)
        before = {key: table.row(key) for key in keys}

        def after() -> None:
            self._touched = {pk.partition("#")[2] for pk, sk in keys if sk == "job"}
            self._given = json.dumps(given)
            for key in keys:
                now = table.row(key)
                if key[0].startswith("job#") and now != before[key]:
                    self._written(process, key, before[key], now)

        return after

    def answered(self, process: Process, is_lost: bool) -> None:
        for job_id in self._touched:
            seen = self.seen[job_id]
            if seen.holder is process and seen.token in self._given:
                seen.is_heard = not is_lost
        self._touched = set()

    def _written(self, process: Process, key: table.Key, old: table.Row | None, new: table.Row | None) -> None:
        job_id = key[0].partition("#")[2]
        if key[1] == "job":
            self._moved(process, job_id, old, new)
        elif key[1].startswith("step#") and new is not None:
            known = self._recorded.setdefault(key, (next(self.journal.count), new["result"]))
            self.expect(known[1] == new["result"], "a finished step stays", job_id, f"{key[1]} was written anew")

    def _moved(self, process: Process, job_id: str, old: table.Row | None, new: table.Row | None) -> None:
        seen = self.seen[job_id]
        if old is None or new is None:
            self.expect(new is not None, "nothing is deleted", job_id, "the job's item went away")
            return
        was, now = Status(old["status"]), Status(new["status"])
        if was.is_final and new["created_at"] != old["created_at"]:
            self._replaced(job_id, old)
            return
        if was.is_final and seen.is_retried and now is Status.PENDING:
            # Once, however often the client asks for it under its key.
            seen.is_retried = False
            seen.endings.clear()
            seen.revived += 1
            self.views.pop(job_id, None)
            return
        if was.is_final:
            changed = [name for name in SETTLED if old.get(name) != new.get(name)]
            self.expect(not changed, "an ending stays", job_id, f"{process.name} changed {', '.join(changed)}")
            return
        self.expect(now is was or now in TRANSITIONS[was], "moves are those of the table", job_id, f"{was} -> {now}")
        self.expect(new["version"] >= old["version"], "versions grow", job_id, f"{old['version']} -> {new['version']}")
        most = new["max_attempts"]
        self.expect(new["attempt"] <= most, "no attempt too many", job_id, f"{new['attempt']} of {most}")
        if now.is_final:
            seen.endings.append(new)
        is_claim = now is Status.RUNNING and new["token"] != old["token"]
        if now.is_final or is_claim:
            self._recovered(seen, job_id, old)
        if is_claim:
            is_living = was is Status.RUNNING and seen.is_heard and job_id not in self.journal.poisoned
            is_dead = not (is_living and self.cloud.rates.is_gentle)
            self.expect(is_dead, "no living worker is taken for dead", job_id, f"attempt {new['attempt']}")
            seen.holder, seen.token, seen.is_heard = process, new["token"], False
            process.on_death.append(lambda: self._died(process, job_id))
        elif now is not Status.RUNNING:
            seen.holder = None

    def _replaced(self, job_id: str, old: table.Row) -> None:
        """Keys live as long as their jobs: whoever asks again after that has another job, of the same id."""
        has_expired = old["expires_at"] <= self.world.now + self.cloud.rates.skew
        self.expect(has_expired, "one key, one job", job_id, "replaced before it had expired")
        self.seen[job_id] = Seen(revived=self.seen[job_id].revived + 1)
        self.views.pop(job_id, None)
        self._recorded = {key: kept for key, kept in self._recorded.items() if key[0] != f"job#{job_id}"}
        self.journal.forget(job_id)

    def _died(self, process: Process, job_id: str) -> None:
        seen = self.seen[job_id]
        if seen.holder is process:
            seen.killed_at, seen.is_heard = self.world.now, False

    def _recovered(self, seen: Seen, job_id: str, old: table.Row) -> None:
        if seen.killed_at is not None and self.cloud.rates.only_kills:
            # Other workers that were killed may have had its messages in hand: after each the sweeper waits for twice as long.
            took = self.world.now - max(seen.killed_at, self.cloud.last_kill)
            pause = RESEND * 2 ** max(0, old.get("wakes", 0) - 1)
            self.expect(took <= RECOVERY + pause, "recovery in time", job_id, f"it stood still for {took:.0f} s")
        seen.killed_at = None

    # -------------------------------------------------------------- what clients are told

    def accepted(self, what: Accepted) -> None:
        self.jobs[what.job_id] = what
        if what.key is not None:
            known = self._by_key.setdefault((what.owner, what.key), what.job_id)
            self.expect(known == what.job_id, "one key, one job", what.job_id, f"the key had {known}")

    def retried(self, job_id: str) -> None:
        """It is going to be: once, what has ended goes on."""
        self.seen[job_id].is_retried = True
        self.views.pop(job_id, None)

    def shown(self, job_id: str, view: dict[str, Any]) -> None:
        """Once its end was shown, a job looks the same for ever."""
        if view["finished_at"] is None:
            self.expect(job_id not in self.views, "an ending stays", job_id, f"shown as {view['status']} after its end")
            return
        first = self.views.setdefault(job_id, view)
        changed = [name for name in view if view[name] != first[name]]
        self.expect(not changed, "an ending stays", job_id, f"shown with another {', '.join(changed)}")

    def shown_at_the_end(self, job_id: str, view: dict[str, Any], events: list[dict[str, Any]]) -> None:
        self.logs[job_id] = events
        if (result := view["result"]) is not None:
            is_right = result == right_result(job_id, result["run"])
            self.expect(is_right, "the result is the input's", job_id, json.dumps(result)[:200])
        self.expect(view["last_event"] == len(events), "the log has no gap", job_id, f"{len(events)} lines")

    def may_have_expired(self, job_id: str) -> bool:
        row = table.row((f"job#{job_id}", "job"))
        return row is None or row.get("expires_at", float("inf")) <= self.world.now + self.cloud.rates.skew


def right_result(job_id: str, run: int) -> dict[str, Any]:
    """What that run of the job's task makes of its input."""
    row = table.row((f"job#{job_id}", "job")) or {}
    return result_of(table.content(job_id, row["input"]), run)
