"""Models at work: the real libraries against a scripted provider on loopback, alone and inside of jobs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.stub import Stubber
from pydantic import BaseModel, ConfigDict
from pydantic_ai import Agent
from pydantic_ai.usage import UsageLimits

from common.errors import BudgetExceeded, Permanent, Retryable
from common.jobs import Job, Status
from common.retries import is_retryable
from common.tasks import Context
from common.usage import Budget, Usage
from common.wiring import Services
from tasks.kit import providers
from tasks.models import chosen, open_model
from tests.functions.conftest import Run
from tests.functions.single_jobs import result
from tests.model_server import Breaks, Calls, Fails, FailsInside, Hangs, ModelServer, Says, Step

PROVIDERS = ("openai", "anthropic", "bedrock")
#: It has a price; the other two of the tests have none.
HAIKU = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"


class Given(BaseModel):
    model_config = ConfigDict(extra="allow")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def environ(server: ModelServer, provider: str) -> dict[str, str]:
    return {
        "openai": {
            "LONGRUN_MODEL": "openai:test",
            "LONGRUN_MODEL_URL": server.openai,
            "OPENAI_API_KEY": "sk-of-a-test",
        },
        "anthropic": {
            "LONGRUN_MODEL": "anthropic:claude-test",
            "LONGRUN_MODEL_URL": server.url,
            "ANTHROPIC_API_KEY": "sk-ant-of-a-test",
        },
        "bedrock": {"LONGRUN_MODEL": f"bedrock:{HAIKU}", "LONGRUN_MODEL_URL": server.url},
    }[provider]


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


async def answer(model: Any, *, streamed: bool = False, say: Callable[[str], None] = lambda _: None) -> str:
    agent = Agent(model, tools=[add], retries=0)
    if not streamed:
        return (await agent.run("What is two and three?")).output
    async with agent.run_stream("What is two and three?") as stream:
        async for text in stream.stream_text(delta=True, debounce_by=None):
            say(text)
    return await stream.get_output()


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


in_both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
of_every_provider = pytest.mark.parametrize("provider", PROVIDERS)


# ---------------------------------------------------------------------------------------- answers


@in_both_ways
@of_every_provider
def test_an_agent_calls_a_tool_and_answers(
    provider: str, streamed: bool, run_agent: Callable[..., Job], server: ModelServer, services: Services
) -> None:
    job = run_agent(provider, Calls("add", a=2, b=3), Says("It is 5.", cached_tokens=4), streamed=streamed)

    assert result(services, job) == '"It is 5."'
    assert len(server.requests) == 2
    assert "What is two and three?" in server.requests[0].text
    assert "call_0_add" in server.requests[1].text
    assert (job.usage.input_tokens, job.usage.output_tokens, job.usage.cached_tokens) == (24, 14, 4)
    assert (job.usage.cost_usd > 0) == (provider == "bedrock")


def test_a_job_s_streamed_text_is_among_its_events(run_agent: Callable[..., Job], services: Services) -> None:
    job = run_agent("openai", Says("Two and three is five."), streamed=True)
    told = [said.event.data["text"] for said in services.store.said(job, 0, 100) if said.event.type == "output"]
    assert "".join(told) == "Two and three is five."


@in_both_ways
def test_openai_itself_is_asked_by_its_own_protocol(
    streamed: bool, ask: Callable[..., str], server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.openai)
    text = ask("openai", Calls("add", a=2, b=3), Says("It is 5."), streamed=streamed, LONGRUN_MODEL_URL="")
    assert text == "It is 5."
    assert [request.path for request in server.requests] == ["/v1/responses"] * 2


def test_a_server_without_keys_gets_none_of_ours(ask: Callable[..., str], server: ModelServer) -> None:
    ask("openai", Says("Hello."), OPENAI_API_KEY="")
    assert server.requests[0].headers["authorization"] == "Bearer none"
    ask("openai", Says("Hello."))
    assert server.requests[1].headers["authorization"] == "Bearer sk-of-a-test"


def test_each_job_s_connections_end_with_it(server: ModelServer) -> None:
    async def client() -> Any:
        given = environ(server, "openai")
        async with open_model(chosen(given), environ=given) as model:
            await answer(model)
            return model.client  # type: ignore[attr-defined]

    server.script(Says("One."), Says("Two."))
    first, second = asyncio.run(client()), asyncio.run(client())
    assert first is not second
    assert first.is_closed()


def test_bedrock_is_called_by_the_client_of_aws() -> None:
    """At botocore's own seam: what is sent and read fits its model of the service."""
    given = {"LONGRUN_MODEL": f"bedrock:{HAIKU}"}
    call = {"toolUse": {"toolUseId": "1", "name": "add", "input": {"a": 2, "b": 3}}}
    told = {"usage": {"inputTokens": 9, "outputTokens": 3, "totalTokens": 12}, "metrics": {"latencyMs": 1}}

    async def asking() -> str:
        async with open_model(chosen(given), environ=given) as model:
            with Stubber(model.client) as stub:  # type: ignore[attr-defined]
                for content, why in (([call], "tool_use"), ([{"text": "It is 5."}], "end_turn")):
                    message = {"role": "assistant", "content": content}
                    stub.add_response("converse", {"output": {"message": message}, "stopReason": why, **told})
                return await answer(model)

    assert asyncio.run(asking()) == "It is 5."


@pytest.mark.parametrize(
    ("code", "message", "status", "kind"),
    [
        ("ThrottlingException", "Too many requests, please wait before trying again.", 429, providers.ModelBusy),
        ("ModelNotReadyException", "The model is not ready.", 429, providers.ModelBusy),
        ("ServiceQuotaExceededException", "Resubmit your request later.", 400, providers.ModelBusy),
        ("ModelTimeoutException", "The model timed out.", 408, providers.ModelUnavailable),
        ("ModelErrorException", "The model failed.", 424, providers.BadModelRequest),
        ("InternalServerException", "", 500, providers.ModelUnavailable),
        ("ValidationException", "Input is too long for requested model.", 400, providers.ContextTooLong),
        ("ValidationException", "The provided model identifier is invalid.", 400, providers.UnknownModel),
        ("ValidationException", "Malformed input request.", 400, providers.BadModelRequest),
        ("AccessDeniedException", "User: arn:aws:sts::1:x is not authorized", 403, providers.BadCredentials),
        ("ResourceNotFoundException", "Could not resolve the foundation model.", 404, providers.UnknownModel),
    ],
)
def test_bedrock_s_errors(code: str, message: str, status: int, kind: type[Exception]) -> None:
    given = {"LONGRUN_MODEL": f"bedrock:{HAIKU}"}

    async def asking() -> None:
        async with open_model(chosen(given), environ=given) as model:
            with Stubber(model.client) as stub:  # type: ignore[attr-defined]
                stub.add_client_error("converse", code, message, status)
                await answer(model)

    with pytest.raises(kind) as caught:
        asyncio.run(asking())
    assert "arn:" not in str(caught.value)


# ---------------------------------------------------------------------------------------- errors

#: What a provider sends, and what it means: (step, class). `code` is worded by each as it words its own.
ERRORS: list[tuple[Step, type[Exception]]] = [
    (Fails(429, "Slow down.", "rate_limit_error"), providers.ModelBusy),
    (Fails(529, "Overloaded", "overloaded_error"), providers.ModelBusy),
    (Fails(500, "Oops.", "server_error"), providers.ModelUnavailable),
    (Fails(502, "Bad gateway."), providers.ModelUnavailable),
    (Fails(503, "Not now."), providers.ModelUnavailable),
    (Fails(504, "Too slow."), providers.ModelUnavailable),
    (Breaks(), providers.ModelUnavailable),
    (Fails(400, "This model's maximum context length is 8192 tokens."), providers.ContextTooLong),
    (
        Fails(400, "prompt is too long: 210000 tokens > 200000 maximum", "invalid_request_error"),
        providers.ContextTooLong,
    ),
    (
        Fails(400, "the request exceeds the available context size", "exceed_context_size_error"),
        providers.ContextTooLong,
    ),
    (Fails(413, "Request too large."), providers.ContextTooLong),
    (Fails(400, "The response was filtered.", "content_filter"), providers.ContentRefused),
    (Says(refused=True), providers.ContentRefused),
    (Fails(401, "Incorrect API key provided: sk-abcdefghijkl.", "invalid_api_key"), providers.BadCredentials),
    (Fails(403, "User: arn:aws:sts::123456789012:x is not allowed", "permission_error"), providers.BadCredentials),
    (Fails(404, "The model does not exist.", "model_not_found"), providers.UnknownModel),
    (Fails(402, "Payment required."), providers.NoCredit),
    (Fails(429, "You exceeded your current quota.", "insufficient_quota"), providers.NoCredit),
    (Fails(400, "temperature: must be at most 1", "invalid_request_error"), providers.BadModelRequest),
    (Fails(422, "max_tokens is wrong"), providers.BadModelRequest),
]


@in_both_ways
@of_every_provider
@pytest.mark.parametrize(
    ("step", "kind"), ERRORS, ids=[f"{getattr(step, 'status', '')}-{kind.__name__}" for step, kind in ERRORS]
)
def test_each_error_has_its_meaning(
    provider: str, streamed: bool, step: Step, kind: type[Exception], ask: Callable[..., str], server: ModelServer
) -> None:
    with pytest.raises(kind) as caught:
        ask(provider, step, streamed=streamed)
    assert len(server.requests) == 1  # only the job tries again
    assert is_retryable(caught.value) == issubclass(kind, Retryable) != issubclass(kind, Permanent)
    assert "sk-" not in str(caught.value)
    assert "arn:" not in str(caught.value)
    assert str(caught.value).startswith(str(kind.__doc__))


@pytest.mark.parametrize(
    ("provider", "code", "kind"),
    [
        ("openai", "overloaded_error", providers.ModelBusy),
        ("openai", "server_error", providers.ModelUnavailable),
        ("openai", "context_length_exceeded", providers.ContextTooLong),
        ("anthropic", "overloaded_error", providers.ModelBusy),
        ("anthropic", "api_error", providers.ModelUnavailable),
        ("bedrock", "throttlingException", providers.ModelBusy),
        ("bedrock", "modelStreamErrorException", providers.ModelUnavailable),
        ("bedrock", "validationException", providers.BadModelRequest),
    ],
)
def test_an_error_inside_of_a_stream(provider: str, code: str, kind: type[Exception], ask: Callable[..., str]) -> None:
    with pytest.raises(kind):
        ask(provider, FailsInside(code=code, message="It went wrong."), streamed=True)


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


@pytest.mark.parametrize(
    "step", [Fails(401), Fails(400, "prompt is too long: 9 tokens > 8 maximum")], ids=["key", "length"]
)
def test_a_job_does_not_try_again_what_cannot_work(
    step: Step, run_agent: Callable[..., Job], server: ModelServer
) -> None:
    job = run_agent("anthropic", step)
    assert job.status is Status.FAILED
    assert job.error is not None
    assert not job.error.retryable
    assert len(server.requests) == 1


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


def test_an_agent_that_goes_round_in_circles(server: ModelServer) -> None:
    server.otherwise = lambda _: Calls("add", a=1, b=1)
    given = environ(server, "openai")

    async def asking() -> None:
        async with open_model(chosen(given), environ=given) as model:
            await Agent(model, tools=[add]).run("Go on.", usage_limits=UsageLimits(request_limit=3))

    with pytest.raises(providers.TooManySteps):
        asyncio.run(asking())
    assert len(server.requests) == 3


def test_an_answer_that_does_not_fit(server: ModelServer) -> None:
    server.otherwise = lambda _: Says("No JSON at all.")
    given = environ(server, "openai")

    async def asking() -> None:
        async with open_model(chosen(given), environ=given) as model:
            await Agent(model, output_type=int).run("How many?")

    with pytest.raises(providers.UnusableAnswer):
        asyncio.run(asking())


def test_what_is_not_the_model_s_fault_stays_what_it_is(server: ModelServer) -> None:
    async def asking(error: Exception) -> None:
        async with open_model(chosen(environ(server, "openai"))):
            raise error

    for error in (ValueError("mine"), BudgetExceeded("over"), KeyError("x")):
        with pytest.raises(type(error)) as caught:
            asyncio.run(asking(error))
        assert caught.value is error


def test_of_errors_side_by_side_the_lasting_one_counts(server: ModelServer) -> None:
    async def asking(*steps: Step) -> None:
        server.script(*steps)
        given = environ(server, "openai")
        async with open_model(chosen(given), environ=given) as model, asyncio.TaskGroup() as group:
            for _ in steps:
                group.create_task(wait_for_others(model))

    async def wait_for_others(model: Any) -> None:
        try:
            await answer(model)
        finally:
            meeting.wait_here()
            await meeting.all_there.wait()

    class Meeting:
        def __init__(self, size: int) -> None:
            self.missing, self.all_there = size, asyncio.Event()

        def wait_here(self) -> None:
            self.missing -= 1
            if not self.missing:
                self.all_there.set()

    meeting = Meeting(2)
    with pytest.raises(providers.BadCredentials):
        asyncio.run(asking(Fails(429), Fails(401)))
    meeting = Meeting(2)
    with pytest.raises(providers.ModelBusy) as caught:
        asyncio.run(asking(Fails(429, headers={"retry-after": "9"}), Fails(503)))
    assert caught.value.after == 9


# ---------------------------------------------------------------------------------------- budgets


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
