"""Limits on what runs at a time: a job that is under one takes its places before it is claimed, and waits without.

A message for which there is no place is sent anew with a growing delay, and this one acknowledged: hiding it would use up
its receives, and after five of them its job would be buried.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from common.queue import Message
from common.slots import Pool, Slot, Slots, owner_pool, task_pool
from common.tasks import Registry
from common.telemetry import logger
from common.wiring import Services

#: How long a message without a place is away, in seconds: at first, and at the most; each time twice as long.
FIRST_DELAY, LONGEST_DELAY = 5, 300


class Place:
    """What a job holds while it runs: a slot in each pool that it is limited by; most jobs hold none."""

    def __init__(self, slots: Slots, clock: Callable[[], float], held: Sequence[Slot] = ()) -> None:
        self._slots = slots
        self._clock = clock
        self._held = held

    def renew(self) -> None:
        """To be called as often as the job's lease is renewed. Raises LeaseLost: somebody else is in its place."""
        for slot in self._held:
            self._slots.renew(slot, self._clock())

    def leave(self) -> None:
        for slot in self._held:
            try:
                self._slots.release(slot)
            except Exception as error:  # noqa: BLE001  # then it is free when its lease ends
                logger.warning("slot not released", pool=slot.pool, error=type(error).__name__)


class Places:
    def __init__(self, services: Services, registry: Registry, *, chance: Callable[[], float] = random.random) -> None:
        self._services = services
        self._registry = registry
        self._chance = chance

    @asynccontextmanager
    async def enter(self, message: Message) -> AsyncIterator[Place | None]:
        """A place for as long as the block runs; None if there is none, and the message was sent back.

        Costs no call where nothing is limited.
        """
        services = self._services
        owner, task = await self._known(message)
        pools = await self._pools(owner, task)
        if not pools:
            yield Place(services.slots, services.clock)
            return
        place = await asyncio.to_thread(self._take, pools)
        if place is None:
            await asyncio.to_thread(self._send_back, message, owner, task)
            yield None
            return
        try:
            yield place
        finally:
            await asyncio.to_thread(place.leave)

    async def _known(self, message: Message) -> tuple[str, str]:
        """Whose job it is and what it runs; a message that does not say so was made by hand, and its job does."""
        if message.owner is not None and message.task is not None:
            return message.owner, message.task
        limited = self._services.limits.may_limit_running or any(one.concurrency for one in self._registry)
        job = await self._call(self._services.store.get, message.job_id, self._services.clock()) if limited else None
        return (job.owner, job.task) if job else ("", "")

    async def _pools(self, owner: str, task: str) -> list[Pool]:
        pools = []
        limits = self._services.limits
        if owner and limits.may_limit_running:
            of_owner = await self._call(limits.of, owner, self._services.clock())
            pools += [owner_pool(owner, of_owner.running)] if of_owner.running > 0 else []
        declared = self._registry.find(task)
        if declared is not None and declared.concurrency:
            pools.append(task_pool(task, declared.concurrency))
        return pools

    def _take(self, pools: Sequence[Pool]) -> Place | None:
        """A slot of each, or of none."""
        services, token = self._services, secrets.token_hex(8)
        held: list[Slot] = []
        place = Place(services.slots, services.clock, held)
        with ExitStack() as undo:
            undo.callback(place.leave)
            for pool in pools:
                slot = services.slots.take(pool, token, services.clock())
                if slot is None:
                    return None
                held.append(slot)
            undo.pop_all()
        return place

    def _send_back(self, message: Message, owner: str, task: str) -> None:
        """If the send fails, this message comes back after a while; if it is not acknowledged, there are two: harmless."""
        delay = bounce_delay(message.bounces, self._chance)
        self._services.store.put_off(message.job_id, self._services.clock() + delay)
        self._services.queues.send_back(message, owner, task, delay)
        logger.info("no place", owner=owner, task=task, bounces=message.bounces + 1)

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)


def bounce_delay(bounces: int, chance: Callable[[], float]) -> float:
    """Seconds until the next try, half of it by chance, so that a backlog does not come back all at once."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(bounces, 10))
    return longest * (0.5 + chance() / 2) if bounces else FIRST_DELAY
