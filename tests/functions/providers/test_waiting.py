"""Jobs wait as long as their provider asks for, and for none that is gone, silent or no longer wanted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from common.jobs import Job, Status
from tasks.kit import providers
from tasks.models import chosen, open_model
from tests.functions.providers.asking import answer, environ, in_both_ways, of_every_provider
from tests.model_server import Breaks, Calls, Fails, Hangs, ModelServer


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@of_every_provider
@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "77"}, 77),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "2500"}, 2.5),
        ({"retry-after": "soon"}, None),
    ],
    ids=str,
)
def test_the_wait_that_a_provider_asks_for(
    provider: str, headers: dict[str, str], wait: float | None, ask: Callable[..., str]
) -> None:
    with pytest.raises(providers.ModelBusy) as caught:
        ask(provider, Fails(429, headers=headers))
    assert caught.value.after == wait


@pytest.mark.parametrize(("streamed", "seconds"), [(False, 300), (True, 300), (False, -300)])
def test_the_wait_may_be_a_date(streamed: bool, seconds: float, ask: Callable[..., str]) -> None:
    with pytest.raises(providers.ModelUnavailable) as caught:
        ask("openai", Fails(503, headers={"retry-after": http_date(seconds)}), streamed=streamed)
    assert caught.value.after == pytest.approx(max(0, seconds), abs=5)


def test_a_job_waits_as_long_as_its_provider_asked(run_agent: Callable[..., Job], server: ModelServer) -> None:
    job = run_agent("openai", Calls("add", a=2, b=3), Fails(429, headers={"retry-after": "77"}))

    assert job.status is Status.PENDING
    assert job.run_at == pytest.approx(job.updated_at + 77, abs=0.01)
    assert job.history[-1].detail["error"]["type"] == "ModelBusy"
    assert len(server.requests) == 2
    assert job.usage.input_tokens == 12  # the request that was answered


def test_a_job_whose_stream_breaks_is_tried_again(run_agent: Callable[..., Job]) -> None:
    job = run_agent("openai", Breaks("The first half of the answer, which nobody counted"), streamed=True)
    assert job.status is Status.PENDING
    assert job.history[-1].detail["error"]["type"] == "ModelUnavailable"
    assert job.usage.input_tokens > 0  # an estimate
    assert job.usage.output_tokens > 5


@of_every_provider
def test_a_provider_that_is_not_there(provider: str, server: ModelServer, ask: Callable[..., str]) -> None:
    server.close()
    with pytest.raises(providers.ModelUnavailable):
        ask(provider)


@of_every_provider
def test_a_provider_that_is_silent(provider: str, ask: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    monkeypatch.setattr(importlib.import_module(f"tasks.kit.adapters.{provider}"), "SILENCE", 0.2)
    with pytest.raises(providers.ModelUnavailable):
        ask(provider, Hangs())


@in_both_ways
@of_every_provider
def test_a_job_that_is_to_stop_does_not_wait_for_its_provider(
    provider: str, streamed: bool, server: ModelServer
) -> None:
    given = environ(server, provider)
    server.script(Hangs())

    async def asking() -> None:
        async with open_model(chosen(given), environ=given) as model:
            task = asyncio.create_task(answer(model, streamed=streamed))
            await asyncio.to_thread(server.asked.wait)
            task.cancel()
            await task

    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(asking())
    assert time.monotonic() - started < 20  # the provider answers after 30
