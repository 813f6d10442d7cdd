"""What becomes of one message: the webhook that it names is tried once, and what came of it is written down.

First the try, then the write, then the next message. If the process dies after the try, the message comes back and the
receiver gets the webhook twice, with the same id. If it dies after the write, the sweeper finds that nobody was reminded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from common import fetching, metrics
from common.deliveries import Delivery, State
from common.egress import CallFailed
from common.endpoints import Endpoint
from common.kinship import release_children, tell_parents
from common.notices import Notices
from common.queue import MAX_DELAY, Message
from common.telemetry import about, logger
from common.webhooks import Again, Decision, Exhausted, Try, decide, kept_answer, retry_after
from common.wiring import Services
from functions.webhooks.signing import signed

#: A message may come this much before its time, in seconds: clocks differ, and delays are whole seconds.
SLACK = 2


@dataclass(frozen=True)
class Courier:
    """Delivers the messages of one batch, side by side; an owner's endpoint is read once.

    `ways` replaces parts of the call in tests: see `common.fetching.request`.
    """

    services: Services
    chance: Callable[[], float]
    ways: dict[str, Any] = field(default_factory=dict)
    _endpoints: dict[str, asyncio.Task[Endpoint]] = field(default_factory=dict, init=False)

    async def handle(self, message: Message) -> None:
        if message.delivery is None:
            await asyncio.to_thread(self._recover, message.job_id)
            return
        delivery = await asyncio.to_thread(
            self.services.deliveries.get, message.job_id, message.delivery, self.services.clock()
        )
        # Gone, done, or to be tried later: then this is a spare message.
        if delivery is None or delivery.state is not State.PENDING or delivery.next_at > self.services.clock() + SLACK:
            return
        await self._deliver(delivery)

    async def _deliver(self, delivery: Delivery) -> None:
        endpoint = await self._endpoint(delivery.owner)
        url = delivery.url if delivery.url is not None else endpoint.url
        if delivery.url is None and not endpoint.is_enabled:
            why = (
                "There is no endpoint any more."
                if url is None
                else f"The endpoint is disabled. {endpoint.disabled_reason}"
            )
            await self._record(delivery, None, Exhausted(why))
            return
        assert url is not None
        made = await self._try(delivery, endpoint, url)
        await self._record(delivery, made, decide(made, delivery.round + 1, self.chance))
        if delivery.url is None:
            await asyncio.to_thread(
                self.services.endpoints.note, endpoint, ok=made.ok, gone=made.status == 410, now=self.services.clock()
            )

    async def _endpoint(self, owner: str) -> Endpoint:
        if owner not in self._endpoints:
            read = asyncio.to_thread(self.services.endpoints.get, owner)
            self._endpoints[owner] = asyncio.create_task(read)
        return await self._endpoints[owner]

    async def _try(self, delivery: Delivery, endpoint: Endpoint, url: str) -> Try:
        now = self.services.clock()
        started = monotonic()
        secrets = await asyncio.to_thread(self.services.endpoints.open_secrets, endpoint, now)
        try:
            answer = await fetching.request(
                "POST",
                url,
                headers=signed(delivery.id, delivery.body, secrets, now),
                content=delivery.body.encode(),
                policy=self.services.settings.receivers,
                **self.ways,
            )
        except CallFailed as error:
            return Try(now, url, monotonic() - started, error=f"{type(error).__name__}: {error}")
        asked = retry_after(answer.headers.get("retry-after"), now)
        return Try(now, url, answer.seconds, answer.status, answer=kept_answer(answer.body), retry_after=asked)

    async def _record(self, delivery: Delivery, made: Try | None, decision: Decision) -> None:
        services = self.services
        written = await asyncio.to_thread(services.deliveries.record, delivery, made, decision, services.clock())
        # The address may hold secrets of the receiver's; its owner finds it in the delivery.
        logger.info(
            "webhook tried",
            job_id=delivery.job_id,
            owner=delivery.owner,
            delivery=delivery.id,
            tried=delivery.tried + (made is not None),
            status=made.status if made else None,
            decision=type(decision).__name__,
        )
        if written and isinstance(decision, Exhausted):
            metrics.webhook_given_up()
        if written and isinstance(decision, Again) and decision.after <= MAX_DELAY:
            await asyncio.to_thread(services.webhook_queue.nudge, delivery.reminder(decision.after))

    def _recover(self, job_id: str) -> None:
        """The notifier failed at a change of this job."""
        job = self.services.store.get(job_id, self.services.clock(), consistent=True)
        if job is None:
            logger.error("webhook lost with its job", job_id=job_id)
            return
        made = Notices(self.services).recover(job)
        tell_parents(self.services, [job])
        if job.status.is_final:
            release_children(self.services, job)
        logger.warning("webhooks recovered", **about(job), made=made)
