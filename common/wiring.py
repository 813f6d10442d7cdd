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
from common.documents import Documents
from common.keys import Keys
from common.payloads import Payloads
from common.queue import Queue
from common.settings import Settings
from common.store import Store

#: A call that hangs must not hold a lease: these are seconds.
_CALLS = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 4})
#: Objects of 50 MB take longer.
_TRANSFERS = Config(
    connect_timeout=2, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4}, signature_version="s3v4"
)


@dataclass(frozen=True)
class Services:
    """Everything that a function uses. `clock` gives seconds since 1970."""

    settings: Settings
    store: Store
    queue: Queue
    blobs: Blobs
    payloads: Payloads
    documents: Documents
    chats: Chats
    keys: Keys
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
    blobs = Blobs(lambda: session.client("s3", config=_TRANSFERS), settings.bucket_name)
    store = Store(table, settings.table_name)
    parts: dict[str, Any] = {
        "store": store,
        "queue": Queue(session.client("sqs", config=_CALLS), settings.queue_url),
        "blobs": blobs,
        "payloads": Payloads(store, blobs),
        "documents": Documents(table, settings.table_name, blobs),
        "chats": Chats(table, settings.table_name),
        "keys": Keys(table, settings.table_name),
        "clock": clock,
    }
    return Services(settings=settings, **(parts | overrides))


def from_environment(environ: Mapping[str, str] = os.environ) -> Services:
    """For the functions' entry points. Raises MissingSetting."""
    return services(Settings.from_env(environ))
