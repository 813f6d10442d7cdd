"""Models at work: the real libraries ask a scripted provider, and its answers are the job's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import Stubber

from common.jobs import Job
from common.wiring import Services
from tasks.models import chosen, open_model
from tests.functions.providers.asking import HAIKU, answer, environ, in_both_ways, of_every_provider
from tests.functions.single_jobs import result
from tests.model_server import Calls, ModelServer, Says


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
