"""Schedules on moto's EventBridge, which fires when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from common.settings import Settings
from common.wiring import Services
from common.wiring import services as wire
from tests.aws import SESSION, Clock, client
from tests.functions.schedules.eventbridge import GROUP, event_of, known


@pytest.fixture
def services(aws: Settings, clock: Clock) -> Services:
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:longrun-scheduled"
    role = "arn:aws:iam::123456789012:role/longrun-schedules"
    letters = "arn:aws:sqs:eu-central-1:123456789012:longrun-schedules-dead"
    client("scheduler").create_schedule_group(Name=GROUP)
    settings = replace(
        aws, schedule_group=GROUP, schedule_target=arn, schedule_role=role, schedule_dead_letters=letters
    )
    return wire(settings, session=SESSION, clock=clock)


Fire = Callable[..., str | None]


@pytest.fixture
def scheduled(
    services: Services, entry_point: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, Any]], str | None]:
    """The function's handler, called with an event."""
    app = entry_point("scheduled")
    monkeypatch.setattr(app, "services", services)

    def handle(event: dict[str, Any]) -> str | None:
        job: str | None = app.handler(event, SimpleNamespace())["job"]
        return job

    return handle


@pytest.fixture
def due(scheduled: Callable[[dict[str, Any]], str | None], clock: Clock) -> Fire:
    """What EventBridge does when the (only) schedule is due now, or was `ago` seconds ago; gives the job's id."""

    def fire_now(ago: float = 0, told: dict[str, Any] | None = None) -> str | None:
        return scheduled(event_of(told or known()[0], clock() - ago))

    return fire_now


@pytest.fixture
def when_calling(services: Services) -> Iterator[Callable[[str, Callable[[], object]], None]]:
    """Has something happen once, just before the next call of this operation of EventBridge."""
    events, undo = services.scheduler._client.meta.events, []

    def hook(operation: str, happens: Callable[[], object]) -> None:
        name, pending = f"before-call.scheduler.{operation}", [happens]

        def handler(**_: Any) -> None:
            if pending:
                pending.pop()()

        events.register(name, handler)
        undo.append((name, handler))

    yield hook
    for name, handler in undo:
        events.unregister(name, handler)
