"""Webhooks from a job's ending to its receiver, on a controlled clock, against a real receiver on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from common.jobs import Failure, Job, Report
from common.wiring import Services
from functions.webhooks.delivering import Courier
from tests.aws import Clock
from tests.post import Post, post_office
from tests.receiver import Answer


@pytest.fixture
def laptop(services: Services) -> Services:
    """Receivers on loopback are allowed there."""
    return replace(services, settings=replace(services.settings, loopback=True))


@pytest.fixture
def post(laptop: Services, clock: Clock) -> Iterator[Post]:
    with post_office(laptop, clock, lambda: Courier(laptop, lambda: 0.5)) as office:
        yield office


@pytest.fixture
def end(services: Services, clock: Clock) -> Callable[..., Job]:
    """Ends a job as a worker does."""

    def end_it(job: Job, result: Any = "done", error: str | None = None) -> Job:
        held = services.store.claim(job.id, token="t", now=clock())
        if error is not None:
            failure = Failure("Permanent", error, retryable=False, attempt=1)
            return services.store.fail(held, failure, Report(), clock())
        payload = services.payloads.put_result(job.id, 1, json.dumps(result), clock())
        return services.store.complete(held, payload, Report(), clock())

    return end_it


def scripted(*answers: Answer) -> Callable[[int], Answer]:
    return lambda number: answers[min(number, len(answers) - 1)]
