"""What goes wrong at a provider has its meaning, which says whether the job is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import Stubber
from pydantic_ai import Agent
from pydantic_ai.usage import UsageLimits

from common.errors import BudgetExceeded, Permanent, Retryable
from common.jobs import Job, Status
from common.retries import is_retryable
from tasks.kit import providers
from tasks.models import chosen, open_model
from tests.functions.providers.asking import HAIKU, add, answer, environ, in_both_ways, of_every_provider
from tests.model_server import Breaks, Calls, Fails, FailsInside, ModelServer, Says, Step


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
