"""Models of OpenAI, and of whatever speaks its chat completions at an address: vLLM, Ollama, llama.cpp, a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from tasks.kit.adapters import CONNECT, SILENCE
from tasks.kit.providers import ModelNotConfigured
from tasks.models import Choice

#: The SDK wants some key, also where none is needed.
NO_KEY = "none"


@asynccontextmanager
async def connect(choice: Choice, environ: Mapping[str, str]) -> AsyncIterator[Model]:
    """The key is OPENAI_API_KEY, optional with an address. Raises ModelNotConfigured."""
    key = environ.get("OPENAI_API_KEY", "")
    if not key and not choice.url:
        raise ModelNotConfigured(f"LONGRUN_MODEL is {str(choice)!r}; set OPENAI_API_KEY too, or LONGRUN_MODEL_URL.")
    timeout = httpx2.Timeout(SILENCE, connect=CONNECT)
    async with AsyncOpenAI(api_key=key or NO_KEY, base_url=choice.url, max_retries=0, timeout=timeout) as client:
        if choice.url:
            yield OpenAIChatModel(
                choice.name, provider=OpenAICompatibleProvider("openai-compatible", openai_client=client)
            )
        else:
            yield OpenAIResponsesModel(choice.name, provider=OpenAIProvider(openai_client=client))
