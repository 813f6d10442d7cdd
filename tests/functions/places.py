"""What the tests of places share: another process's slots, a deployment with limits, and who holds what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from common.slots import Pool, Slots
from common.wiring import Services
from common.wiring import services as wire
from tests.aws import SESSION, Clock, client

Calls = list[tuple[str, dict[str, Any]]]


def another(services: Services, **options: Any) -> Slots:
    """Another process's."""
    return Slots(client("dynamodb"), services.settings.table_name, **options)


def leases(services: Services, pool: str) -> int:
    """How many of a pool's slots are held now."""
    return len(services.slots._held(Pool(pool, 0), services.clock()))


def limited(services: Services, clock: Clock, **settings: Any) -> Services:
    return wire(replace(services.settings, **settings), session=SESSION, clock=clock)
