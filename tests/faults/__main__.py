"""`make campaign`: many runs, side by side, and a table of what came of them."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.faults.cloud import DEADLY, FROZEN, LOSSY, ROUGH, UNHEARD
from tests.faults.isolated import Order, RunFailed, run_all
from tests.faults.simulation import WISHES, Report, Scenario

#: What a campaign goes through, again and again: most runs have every fault there is.
SCENARIOS = (
    Scenario("everything", ROUGH),
    Scenario("everything", ROUGH),
    Scenario("lossy", LOSSY),
    Scenario("deadly", DEADLY),
    Scenario("frozen", FROZEN),
    Scenario("unheard", UNHEARD),
)
#: Larger families than the tests have: many jobs, and few who ask for them.
FAMILIES = tuple((task, 6 if task == "parent" else often) for task, often in WISHES)


@dataclass
class Sums:
    """Over all runs so far."""

    runs: int = 0
    jobs: int = 0
    calls: int = 0
    hours: float = 0
    endings: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    #: How often each invariant did not hold.
    violations: Counter[str] = field(default_factory=Counter)

    def add(self, report: Report) -> None:
        self.runs += 1
        self.jobs += report.jobs
        self.calls += report.calls
        self.hours += report.hours
        self.endings.update(report.endings)
        self.faults.update(report.faults)
        for violation in report.violations:
            self.violations[violation.invariant] += 1


def _lines(report: Report) -> list[str]:
    return [f"{report.scenario}, seed {report.seed}: {one.invariant}: {one.what}" for one in report.violations]


def campaign(scenarios: Sequence[Scenario], jobs: int, seed: int, side_by_side: int | None) -> Sums:
    """Runs until so many jobs were simulated. Raises RunFailed."""
    sums = Sums()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("jobs", total=jobs)
        numbers = itertools.count(seed)
        while sums.jobs < jobs:
            orders = [Order(scenario, next(numbers)) for scenario in scenarios]
            for report in run_all(orders, side_by_side):
                sums.add(report)
                progress.update(bar, completed=min(jobs, sums.jobs), description=f"{sums.faults.total():,} faults")
                for line in _lines(report):
                    progress.console.print(f"[red]{line}")
                if not console.is_terminal:
                    console.print(f"{sums.jobs:,} of {jobs:,} jobs, {sums.faults.total():,} faults")
    return sums


def show(sums: Sums, seeds: range) -> Table:
    table = Table("", "", show_header=False, title="Longrun: fault campaign")
    table.add_row("runs", f"{sums.runs:,}, seeds {seeds[0]} to {seeds[-1]}")
    table.add_row("jobs", f"{sums.jobs:,}: " + ", ".join(f"{n:,} {name}" for name, n in sums.endings.most_common()))
    table.add_row("calls of AWS", f"{sums.calls:,}, in {sums.hours:,.0f} hours on the virtual clock")
    table.add_row(
        "faults", f"{sums.faults.total():,}: " + ", ".join(f"{n:,} {f}" for f, n in sums.faults.most_common())
    )
    named = ("every job ends", "one ending", "the result is the winner's", "every ending is told")
    for title in (*named, *(name for name in sums.violations if name not in named)):
        table.add_row(title, f"{sums.violations[title]:,} violations")
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="how many jobs, at the least")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; a seed gives the same run again")
    parser.add_argument("--largest", type=int, default=30, help="the most children that a job has")
    parser.add_argument("--scenario", choices=sorted({scenario.name for scenario in SCENARIOS}), help="only that one")
    parser.add_argument("--side-by-side", type=int, help="how many runs at a time; as many as there are processors")
    given = parser.parse_args()
    try:
        chosen = [
            replace(each, wishes=FAMILIES, largest=given.largest)
            for each in SCENARIOS
            if given.scenario in (None, each.name)
        ]
        sums = campaign(chosen, given.jobs, given.seed, given.side_by_side)
    except RunFailed as failed:
        Console(stderr=True).print(str(failed), markup=False)
        return 2
    Console().print(show(sums, range(given.seed, given.seed + sums.runs)))
    return 1 if sums.violations else 0


if __name__ == "__main__":
    sys.exit(main())
