"""The only place where things are put together. Tests replace a part by naming it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from common.blobs import Blobs
from common.chats import Chats
from common.deliveries import Deliveries
from common.documents import Documents
from common.endpoints import Endpoints
from common.families import Families
from common.jobs import Priority
from common.keys import Keys
from common.limits import Limits, OwnerLimits
from common.live import Subscriptions
from common.payloads import Payloads
from common.queue import Queue, Queues
from common.scheduler import Place, Scheduler
from common.schedules import Schedules
from common.settings import Settings
from common.slots import Slots
from common.sockets import Sockets
from common.store import Store
from common.tickets import Tickets
from common.vault import Vault

#: A call that hangs must not hold a lease: these are seconds. A job that begins its children makes sixteen calls at a time,
#: and its neighbours theirs; a connection over the pool's size would be made anew for each of them.
_CALLS = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=32,
)
#: Objects of 50 MB take longer.
_TRANSFERS = Config(
    connect_timeout=2, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4}, signature_version="s3v4"
)
#: A client that takes nothing must hold nobody up: it is given up at once, and comes back by itself.
_PUSHES = Config(
    connect_timeout=2, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 1}, max_pool_connections=64
)


@dataclass(frozen=True)
class Services:
    """Everything that a function uses. `clock` gives seconds since 1970."""

    settings: Settings
    store: Store
    queues: Queues
    limits: Limits
    slots: Slots
    webhook_queue: Queue
    deliveries: Deliveries
    endpoints: Endpoints
    families: Families
    blobs: Blobs
    payloads: Payloads
    documents: Documents
    chats: Chats
    keys: Keys
    tickets: Tickets
    subscriptions: Subscriptions
    sockets: Sockets
    schedules: Schedules
    scheduler: Scheduler
    clock: Callable[[], float]


def services(
    settings: Settings,
    *,
    session: boto3.session.Session | None = None,
    clock: Callable[[], float] = time.time,
    **overrides: Any,
) -> Services:
    """The services of a deployment, over one session of boto3."""
    session = session or boto3.session.Session()
    table = session.client("dynamodb", config=_CALLS)
    messages = session.client("sqs", config=_CALLS)
    vault = Vault(lambda: session.client("kms", config=_CALLS), settings.secrets_key)
    blobs = Blobs(lambda: session.client("s3", config=_TRANSFERS), settings.bucket_name)
    store = Store(table, settings.table_name, lease=settings.lease)
    queues = Queues(
        messages,
        {
            Priority.NORMAL: settings.queue_url,
            Priority.HIGH: settings.queue_url_high,
            Priority.LOW: settings.queue_url_low,
        },
        fair=settings.fair_queues,
    )
    defaults = OwnerLimits(settings.owner_running, settings.owner_per_minute)
    parts: dict[str, Any] = {
        "store": store,
        "queues": queues,
        "limits": Limits(table, settings.table_name, defaults, overrides=settings.owner_overrides),
        "slots": Slots(table, settings.table_name, lease=settings.lease),
        "webhook_queue": Queue(messages, settings.webhook_queue_url, fair=settings.fair_queues),
        "deliveries": Deliveries(table, settings.table_name),
        "families": Families(table, settings.table_name),
        "endpoints": Endpoints(table, settings.table_name, vault),
        "blobs": blobs,
        "payloads": Payloads(store, blobs),
        "documents": Documents(table, settings.table_name, blobs),
        "chats": Chats(table, settings.table_name),
        "keys": Keys(table, settings.table_name),
        "tickets": Tickets(table, settings.table_name),
        "subscriptions": Subscriptions(table, settings.table_name),
        "sockets": Sockets(
            lambda: session.client("apigatewaymanagementapi", endpoint_url=settings.live_endpoint, config=_PUSHES)
        ),
        "schedules": Schedules(table, settings.table_name),
        "scheduler": Scheduler(
            lambda: session.client("scheduler", config=_CALLS),
            Place(
                settings.schedule_group,
                settings.schedule_target,
                settings.schedule_role,
                settings.schedule_dead_letters,
            ),
        ),
        "clock": clock,
    }
    return Services(settings=settings, **(parts | overrides))


def from_environment(environ: Mapping[str, str] = os.environ) -> Services:
    """For the functions' entry points. Raises MissingSetting."""
    return services(Settings.from_env(environ))
