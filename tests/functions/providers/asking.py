"""What the tests of providers share: where each provider is, an agent that is asked, and each in both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from pydantic_ai import Agent

from tests.model_server import ModelServer

PROVIDERS = ("openai", "anthropic", "bedrock")
#: It has a price; the other two of the tests have none.
HAIKU = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"


class Given(BaseModel):
    model_config = ConfigDict(extra="allow")


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


in_both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
of_every_provider = pytest.mark.parametrize("provider", PROVIDERS)
