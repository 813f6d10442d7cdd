"""Gives each run an interpreter of its own: a child process, since a run changes time, chance and threads for good."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.faults.mutants import Mutant

#: How long a run may take before it is taken for hanging, in real seconds.
PATIENCE = 900


class RunFailed(Exception):
    """A run broke off: a mistake of the simulation, or code that waits for ever."""


@dataclass(frozen=True)
class Order:
    scenario: Any
    seed: int
    mutant: Mutant | None = None


def run(order: Order) -> Any:
    """The run's report. Raises RunFailed, with the traceback."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_inside, args=(order, there), daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(PATIENCE):
            raise RunFailed(f"Seed {order.seed} of {order.scenario.name} did not end.")
        report = here.recv()
    except EOFError:
        raise RunFailed(f"Seed {order.seed} of {order.scenario.name} died.") from None
    finally:
        process.kill()
        process.join()
    if isinstance(report, str):
        raise RunFailed(f"Seed {order.seed} of {order.scenario.name}:\n{report}")
    return report


def run_all(orders: Iterable[Order], side_by_side: int | None = None) -> Iterator[Any]:
    """Their reports, in their order; as many at a time as there are processors."""
    with ThreadPoolExecutor(side_by_side or os.cpu_count() or 1) as pool:
        yield from pool.map(run, orders)


def _inside(order: Order, answer: Connection) -> None:
    from tests.aws import deployed
    from tests.faults.simulation import simulate

    gc.disable()  # a tenth of the time; the process does not live long
    logging.disable(logging.CRITICAL)
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # metrics; for as long as the process lives
    try:
        if order.mutant is not None:
            order.mutant.apply()
        with deployed() as settings:
            answer.send(simulate(settings, order.scenario, order.seed))
    except BaseException:  # noqa: BLE001
        answer.send(traceback.format_exc())
    answer.close()
    os._exit(0)  # threads of killed sandboxes wait for ever
