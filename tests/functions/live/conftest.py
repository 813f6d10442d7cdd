"""Watching a job over a WebSocket: clients, jobs that run, and the notifier, on a gateway of loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import MethodType
from typing import Any

import botocore.client
import pytest

from common.jobs import Job
from common.settings import Settings
from common.wiring import Services
from common.wiring import services as wire
from functions.live.handling import make_handler
from functions.notifier.records import notify
from tests.aws import SESSION, Clock
from tests.functions.live.watching import Notify, Page, Talker
from tests.gateway import Gateway, serving
from tests.streams import Stream

#: As it is without the lock that the fixture `aws` puts around every call.
CALL = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as gateway:
        yield gateway


@pytest.fixture
def services(aws: Settings, clock: Clock, gateway: Gateway) -> Services:
    services = wire(replace(aws, live_endpoint=gateway.url), session=SESSION, clock=clock)
    posting: Any = services.sockets._client
    posting._make_api_call = MethodType(CALL, posting)  # posts do not wait for each other
    return services


@pytest.fixture
def make_page(services: Services, gateway: Gateway) -> Callable[..., Page]:
    """A client that is connected with an owner's key."""

    def make(name: str = "L0SM9cOFvHcCIhw=", owner: str | None = "acme", used: Services = services) -> Page:
        page = Page(name, make_handler(used), gateway)
        if owner is not None:
            key, _ = used.keys.create(owner, "test", used.clock())
            assert page.connect(protocols=f"longrun, key.{key}") == 200
        return page

    return make


@pytest.fixture
def page(make_page: Callable[..., Page]) -> Page:
    return make_page()


@pytest.fixture
def make_talker(services: Services, make_job: Callable[..., Job], clock: Clock) -> Callable[..., Talker]:
    def make(**job: Any) -> Talker:
        return Talker(services, services.store.claim(make_job(**job).id, token="t", now=clock()))

    return make


@pytest.fixture
def talker(make_talker: Callable[..., Talker]) -> Talker:
    """Its log begins with two events: pending, running."""
    return make_talker()


@pytest.fixture
def unread(services: Services) -> Stream:
    """What the notifier has not been given yet."""
    return Stream(services, "NotifierFunction")


@pytest.fixture
def stream(services: Services, unread: Stream) -> Notify:
    """The table's stream, given to the notifier by and by."""

    def give() -> None:
        assert notify(services, unread.records()) == {"batchItemFailures": []}

    return give
