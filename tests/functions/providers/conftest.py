"""Agents against a scripted provider on loopback, alone and inside of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.jobs import Job
from common.tasks import Context
from tasks.models import chosen, open_model
from tests.functions.conftest import Run
from tests.functions.providers.asking import Given, answer, environ
from tests.model_server import ModelServer, Step


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def ask(server: ModelServer) -> Callable[..., str]:
    """Asks the provider, with no job around it."""

    def ask_it(provider: str, *steps: Step, streamed: bool = False, **changes: str) -> str:
        server.script(*steps)
        given = environ(server, provider) | changes

        async def asking() -> str:
            async with open_model(chosen(given), environ=given) as model:
                return await answer(model, streamed=streamed)

        return asyncio.run(asking())

    return ask_it


@pytest.fixture
def run_agent(run: Run, server: ModelServer) -> Callable[..., Job]:
    """Runs an agent as a job."""

    def run_it(provider: str, *steps: Step, streamed: bool = False, **job: Any) -> Job:
        server.script(*steps)
        given = environ(server, provider)

        async def asking(ctx: Context, input: Given) -> str:
            async with open_model(chosen(given), ctx, given) as model:
                return await answer(model, streamed=streamed, say=ctx.output)

        return run(asking, **job)

    return run_it
