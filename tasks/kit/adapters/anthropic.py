"""Models of Anthropic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
from anthropic import AsyncAnthropic
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from tasks.kit.adapters import CONNECT, SILENCE
from tasks.kit.providers import ModelNotConfigured
from tasks.models import Choice


@asynccontextmanager
async def connect(choice: Choice, environ: Mapping[str, str]) -> AsyncIterator[Model]:
    """The key is ANTHROPIC_API_KEY. Raises ModelNotConfigured."""
    key = environ.get("ANTHROPIC_API_KEY")
    if not key:
        raise ModelNotConfigured(f"LONGRUN_MODEL is {str(choice)!r}; set ANTHROPIC_API_KEY too.")
    timeout = httpx2.Timeout(SILENCE, connect=CONNECT)
    async with AsyncAnthropic(api_key=key, base_url=choice.url, max_retries=0, timeout=timeout) as client:
        yield AnthropicModel(choice.name, provider=AnthropicProvider(anthropic_client=client))
