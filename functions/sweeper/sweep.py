"""Moves whatever is overdue: jobs whose message was never sent or got lost, dead workers' jobs, delayed jobs, webhooks."""

from __future__ import annotations

from collections.abc import Callable

from common.jobs import Priority
from common.queue import BATCH, Queue, Reminder
from common.reads import Overdue
from common.telemetry import logger
from common.wiring import Services


def sweep(services: Services, has_time: Callable[[], bool]) -> int:
    """Sends a message for everything overdue; returns how many. What it has no time for, the next minute's sweep finds.

    An item's next waking is written before its message is sent, conditionally: of two sweepers one sends, and a sweeper
    that dies in between leaves an item that is woken again.
    """
    jobs = {priority: _Outgoing(services.queues.of(priority)) for priority in Priority}
    deliveries = _Outgoing(services.webhook_queue)
    for overdue in services.store.overdue(services.clock()):
        if not has_time():
            logger.warning("sweep not finished")
            break
        if overdue.delivery is None:
            now = services.clock()
            if job := services.store.wake(overdue.job_id, overdue.wake_at, overdue.wakes, now):
                jobs[job.priority].add(Reminder.of(job, max(0.0, job.run_at - now)))
        else:
            deliveries.add(_delivery(services, overdue.job_id, overdue.delivery, overdue))
    outgoing = [*jobs.values(), deliveries]
    for one in outgoing:
        one.send()
    return sum(one.sent for one in outgoing)


def _delivery(services: Services, job_id: str, delivery_id: str, overdue: Overdue) -> Reminder | None:
    now = services.clock()
    found = services.deliveries.wake(job_id, delivery_id, overdue.wake_at, overdue.wakes, now)
    return None if found is None else found.reminder(max(0.0, found.next_at - now))


class _Outgoing:
    """Messages for one queue, sent ten at a time."""

    def __init__(self, queue: Queue) -> None:
        self.sent = 0
        self._queue = queue
        self._waiting: list[Reminder] = []

    def add(self, reminder: Reminder | None) -> None:
        if reminder is not None:
            self._waiting.append(reminder)
        if len(self._waiting) == BATCH:
            self.send()

    def send(self) -> None:
        if not self._waiting:
            return
        refused = self._queue.send_all(self._waiting)
        if refused:
            logger.warning("messages refused", refused=refused)
        self.sent += len(self._waiting) - refused
        self._waiting = []
