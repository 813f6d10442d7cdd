"""What models use is counted, told and held against the job's budget."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from common.errors import BudgetExceeded
from common.jobs import Job, Status
from common.tasks import Context
from common.usage import Budget, Usage
from common.wiring import Services
from tasks.models import chosen, open_model
from tests.functions.conftest import Run
from tests.functions.providers.asking import Given, answer, environ, in_both_ways
from tests.functions.single_jobs import result
from tests.model_server import Calls, ModelServer, Says


@in_both_ways
def test_an_agent_is_stopped_when_its_job_has_used_its_budget(
    streamed: bool, run_agent: Callable[..., Job], server: ModelServer
) -> None:
    server.otherwise = lambda _: Calls("add", a=1, b=1)
    job = run_agent("bedrock", budget=Budget(max_tokens=50), streamed=streamed)

    assert job.status is Status.FAILED
    assert job.error is not None
    assert (job.error.type, job.error.message) == ("BudgetExceeded", "57 tokens were used; the job may use 50.")
    assert len(server.requests) == 3
    assert (job.usage.input_tokens, job.usage.output_tokens) == (36, 21)


def test_money_is_a_budget_too(run_agent: Callable[..., Job], server: ModelServer) -> None:
    server.otherwise = lambda _: Calls("add", a=1, b=1)
    job = run_agent("bedrock", budget=Budget(max_cost_nano_usd=60_000))
    assert job.error is not None
    assert job.error.type == "BudgetExceeded"
    assert len(server.requests) == 2


def test_a_job_that_is_over_its_budget_asks_nothing(run_agent: Callable[..., Job], server: ModelServer) -> None:
    job = run_agent("openai", budget=Budget(max_tokens=50), usage=Usage(input_tokens=51))
    assert job.error is not None
    assert job.error.type == "BudgetExceeded"
    assert not server.requests


def test_agents_side_by_side_share_the_budget(run: Run, server: ModelServer) -> None:
    server.otherwise = lambda _: Calls("add", a=1, b=1)
    given = environ(server, "openai")

    async def asking(ctx: Context, input: Given) -> None:
        async with open_model(chosen(given), ctx, given) as model:
            for _ in range(5):
                with contextlib.suppress(BudgetExceeded):
                    await answer(model)

    run(asking, budget=Budget(max_tokens=50))
    assert len(server.requests) == 3


def test_usage_is_told_once_a_request(run_agent: Callable[..., Job], services: Services) -> None:
    job = run_agent("openai", Calls("add", a=2, b=3), Says("It is 5."))
    told = [said.event.data["input_tokens"] for said in services.store.said(job, 0, 100) if said.event.type == "usage"]
    assert told == [12, 24]


def test_a_server_that_does_not_count_is_counted_for(run_agent: Callable[..., Job], services: Services) -> None:
    job = run_agent("openai", Says("Five, as everybody knows.", counted=False), streamed=True)
    assert result(services, job)
    assert job.usage.input_tokens == len("What is two and three?") // 4 + 1
    assert job.usage.output_tokens == len("Five, as everybody knows.") // 4 + 1
