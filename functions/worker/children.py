"""A step's children: begun by it, waited for without a worker, and their results gathered when the last one has ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from common import metrics
from common.errors import InvalidInput, Permanent
from common.families import MAX_CHILDREN, Ended, Family, child_id
from common.items import ms
from common.jobs import DEFAULT_TTL, Job, Status
from common.making import Order, make_job
from common.queue import Reminder
from common.tasks import Task
from common.wiring import Services

#: Children that are put, read or cancelled side by side.
SIDE_BY_SIDE = 16
#: Children after which it is written down how far it got.
STRIDE = 100


@dataclass(frozen=True)
class Children:
    """Of one job. `find` gives a task by its name."""

    services: Services
    job: Job
    find: Callable[[str], Task | None]

    def begin(self, step: str, task: str, inputs: Sequence[str], concurrency: int | None, fail_fast: bool) -> Family:
        """The step's family, with as many children begun as may be. `inputs` are JSON texts. Raises InvalidInput."""
        size = len(inputs)
        if size > MAX_CHILDREN:
            raise Permanent(f"A step has at most {MAX_CHILDREN:,} children, not {size:,}.")
        found = self._checked(task, inputs)
        if not self.job.has_children:
            self.services.store.note_children(self.job)
        new = Family(step, task, size, concurrency or size, fail_fast, life=self.job.earlier_attempts)
        family = self.services.families.begin(self.job, new, self.services.clock())
        if family.life and not family.made:
            family = self._carried_over(family)
        while family.room > 0 and not family.is_over:
            until = min(family.made + STRIDE, family.made + family.room)
            self._make(found, family, inputs, range(family.made, until))
            self.services.families.note_made(self.job, family, until)
            family = self.services.families.get(self.job.id, family.name) or family
        return family

    def _carried_over(self, family: Family) -> Family:
        """With those that completed before the job was retried: they need not be begun again."""
        families = self.services.families
        before = [each for each in families.all(self.job) if each.step == family.step and each.life < family.life]
        if not before:
            return family
        latest = max(before, key=lambda each: each.life)
        good = [one for one in families.ended(self.job, latest.name) if one.status is Status.COMPLETED]
        return families.note_ended(self.job.id, family.name, ms(self.job.created_at), good) or family

    def results(self, family: Family) -> list[dict[str, Any]]:
        """What became of each, in the order of their inputs."""
        ended = {one.number: one for one in self.services.families.ended(self.job, family.name)}
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            return list(pool.map(self._result, (ended.get(number) for number in range(family.size))))

    def cancel(self, families: Iterable[Family], has_time: Callable[[], bool] = lambda: True) -> bool:
        """Asks all that have not ended to stop; False if there was no time for it."""
        for family in families:
            ended = {one.number for one in self.services.families.ended(self.job, family.name)}
            left = [number for number in range(family.made) if number not in ended]
            with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
                for start in range(0, len(left), STRIDE):
                    if not has_time():
                        return False
                    list(pool.map(partial(self._cancel, family), left[start : start + STRIDE]))
        return True

    def _checked(self, name: str, inputs: Sequence[str]) -> Task:
        task = self.find(name)
        if task is None:
            raise Permanent(f"There is no task {name!r} to be a child's.")
        for number, text in enumerate(inputs):
            try:
                task.validate(json.loads(text))
            except InvalidInput as error:
                raise InvalidInput(f"Input {number} of the children: {error}", error.faults) from None
        return task

    def _make(self, task: Task, family: Family, inputs: Sequence[str], numbers: range) -> None:
        # In a retried job's first life some may have completed already.
        ended = {one.number for one in self.services.families.ended(self.job, family.name)} if family.life else set()
        left = [number for number in numbers if number not in ended]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            made = list(pool.map(lambda number: self._put(task, family, number, inputs[number]), left))
        # Those that were there before may have been put by a worker that died before it sent them.
        queue = self.services.queues.of(self.job.priority)
        queue.send_all(Reminder.of(child) for child in made if child.status is Status.PENDING)

    def _put(self, task: Task, family: Family, number: int, text: str) -> Job:
        services, parent = self.services, self.job
        order = Order(
            task=task.name,
            input=text,
            max_attempts=task.max_attempts,
            timeout_seconds=task.timeout_seconds,
            # One that was forgotten while its parent still begins others would be begun anew.
            ttl_seconds=max(parent.ttl_seconds, DEFAULT_TTL),
            task_version=task.version,
            priority=parent.priority,
            parent=parent.id,
            parent_step=f"{family.name}#{number}",
            parent_born=ms(parent.created_at),
        )
        now = services.clock()
        child = make_job(
            services.payloads,
            order,
            job_id=child_id(parent, family.name, number),
            owner=parent.owner,
            now=now,
            trace=parent.trace,
        )
        child, is_new = services.store.put(child, now)
        if is_new:
            metrics.submitted(child)
        return child

    def _result(self, ended: Ended | None) -> dict[str, Any]:
        if ended is None:
            return {"id": None, "status": "unfinished", "result": None, "error": None}
        result = None if ended.result is None else json.loads(self.services.payloads.get(ended.id, ended.result))
        return {"id": ended.id, "status": ended.status, "result": result, "error": ended.error}

    def _cancel(self, family: Family, number: int) -> None:
        services, now = self.services, self.services.clock()
        child = services.store.get(child_id(self.job, family.name, number), now, consistent=True)
        if child is not None and not child.status.is_final:
            token = f"parent-{child.token[:8]}-{child.version}"
            metrics.ended(services.store.request_cancel(child, token, now), by=token)
