"""Moves whatever is overdue: messages that were never sent or got lost, dead workers' jobs, delayed jobs whose time comes."""

from __future__ import annotations

from collections.abc import Callable

from common.queue import BATCH
from common.telemetry import logger
from common.wiring import Services


def sweep(services: Services, has_time: Callable[[], bool]) -> int:
    """Sends a message for every overdue job; returns how many. What it has no time for, the next minute's sweep finds.

    The job's next waking is written before its message is sent, conditionally: of two sweepers one sends, and a sweeper
    that dies in between leaves a job that is woken again.
    """
    sent = 0
    waiting: list[tuple[str, float]] = []
    for job_id, wake_at, wakes in services.store.overdue(services.clock()):
        if not has_time():
            logger.warning("sweep not finished")
            break
        job = services.store.wake(job_id, wake_at, wakes, services.clock())
        if job is None:
            continue
        waiting.append((job_id, max(0.0, job.run_at - services.clock())))
        if len(waiting) == BATCH:
            sent += _send(services, waiting)
            waiting = []
    return sent + _send(services, waiting)


def _send(services: Services, waiting: list[tuple[str, float]]) -> int:
    if not waiting:
        return 0
    refused = services.queue.send_all(waiting)
    if refused:
        logger.warning("messages refused", refused=refused)
    return len(waiting) - refused
