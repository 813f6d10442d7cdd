"""Runs with faults hold every invariant; deliberate mistakes break one. `python -m tests.faults` makes many more of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.aws import RESOURCES
from tests.faults.__main__ import SCENARIOS
from tests.faults.isolated import Order, run
from tests.faults.lambdas import failed_items
from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.simulation import HOUR, Report, Scenario

#: So many are tried until one of them finds a mistake.
SEEDS = (1, 2, 3)


@pytest.mark.parametrize(("seed", "scenario"), list(enumerate(SCENARIOS, 1)), ids=str)
def test_whatever_fails_every_invariant_holds(seed: int, scenario: Scenario, record_property: Any) -> None:
    report: Report = run(Order(replace(scenario, jobs=12), seed))
    record_property("run", f"{scenario.name:<12} {report.jobs} jobs, {report.calls} calls, {report.faults}")
    assert not report.violations
    assert report.jobs >= 12
    assert sum(report.faults.values()) > 10


def test_a_seed_gives_the_same_run_again() -> None:
    order = Order(replace(SCENARIOS[0], jobs=8), 7)
    first, second = run(order), run(order)
    assert first.trace == second.trace
    assert len(first.trace) > 500


def test_another_seed_gives_another_run() -> None:
    first, second = (run(Order(replace(SCENARIOS[0], jobs=3), seed)) for seed in (1, 2))
    assert first.trace != second.trace


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.title.replace(" ", "-"))
def test_a_mistake_is_found(mutant: Mutant, record_property: Any) -> None:
    scenario = Scenario(
        mutant.title, mutant.rates, mutant.jobs, HOUR, 4 * HOUR, tuple((task, 1) for task in mutant.tasks)
    )
    for seed in SEEDS:
        report: Report = run(Order(scenario, seed, mutant))
        if report.violations:
            invariants = sorted({violation.invariant for violation in report.violations})
            record_property("mutant", f"{mutant.title:<50} seed {seed}: {'; '.join(invariants)}")
            return
    pytest.fail(f"{mutant.title}: no invariant was broken in {len(SEEDS)} runs.")


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ("", set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, {"b"}),
        ({"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "b"}]}, {"b"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, {"a", "b"}),
        ({"batchItemFailures": [{"item": "a"}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "unknown"}]}, {"a", "b"}),
    ],
)
def test_a_batch_fails_as_lambda_says(answer: Any, failed: set[str]) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting"""
    assert failed_items(answer, ["a", "b"]) == failed


def test_the_worker_may_send_itself_messages_without_end() -> None:
    """Continuations and retries do: Lambda would take them for an endless loop after sixteen."""
    assert RESOURCES["WorkerFunction"]["Properties"]["RecursiveLoop"] == "Allow"
