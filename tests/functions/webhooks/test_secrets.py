"""What is sent is signed, with secrets that are kept encrypted and can be changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import Webhook

from common.jobs import Job
from common.wiring import Services
from common.wiring import services as wire
from functions.webhooks.delivering import Courier
from tests.aws import SESSION, Clock
from tests.functions.webhooks.conftest import scripted
from tests.post import post_office
from tests.receiver import receiving


def test_the_public_library_verifies_what_is_sent(aws: Any, make_job: Callable[..., Job], services: Services) -> None:
    import time

    real = wire(replace(aws, loopback=True), session=SESSION, clock=time.time)
    now = Clock()
    now.now = time.time()
    with receiving(scripted(200)) as receiver, post_office(real, now, lambda: Courier(real, lambda: 0)) as post:
        _, first = real.endpoints.set_url("acme", receiver.url, time.time())
        _, second = real.endpoints.rotate("acme", 3_600, time.time())
        real.store.request_cancel(make_job(metadata={"order": "ü"}), "wish", time.time())
        post.notify()
        post.deliver()
        message = receiver.received[0]
    assert first is not None
    for secret in (first, second):
        assert Webhook(secret).verify(message.body, message.headers)["data"]["job"]["metadata"] == {"order": "ü"}
    assert message.headers["webhook-signature"].count("v1,") == 2


def test_an_ended_overlap_ends_the_old_secret(laptop: Services, clock: Clock) -> None:
    _, first = laptop.endpoints.set_url("acme", "https://a.example.com/", clock())
    _, second = laptop.endpoints.rotate("acme", 600, clock())
    assert laptop.endpoints.open_secrets(laptop.endpoints.get("acme"), clock()) == [second, first]
    clock.advance(601)
    assert laptop.endpoints.open_secrets(laptop.endpoints.get("acme"), clock()) == [second]
    _, third = laptop.endpoints.rotate("acme", 0, clock())
    assert laptop.endpoints.open_secrets(laptop.endpoints.get("acme"), clock()) == [third]


def test_secrets_are_kept_encrypted_and_bound_to_their_owner(laptop: Services, clock: Clock) -> None:
    _, secret = laptop.endpoints.set_url("acme", "https://a.example.com/", clock())
    assert secret is not None
    assert secret.startswith("whsec_")
    items = str(laptop.store._client.scan(TableName=laptop.settings.table_name)["Items"])
    assert secret not in items
    assert secret.removeprefix("whsec_") not in items
    box = laptop.endpoints.get("acme").secrets[0].box
    fresh = wire(laptop.settings, session=SESSION, clock=clock).endpoints._vault
    assert fresh.open(box, "acme") == secret
    with pytest.raises(laptop.endpoints._vault._client.exceptions.InvalidCiphertextException):
        fresh.open(box, "other")
