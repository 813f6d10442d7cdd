"""Models of Amazon Bedrock, by its Converse API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any

import boto3
from botocore.config import Config
from pydantic_ai.models import Model
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.providers.bedrock import BedrockProvider
from pydantic_ai.settings import ModelSettings

from tasks.kit.adapters import CONNECT, CONNECTIONS, SILENCE
from tasks.models import Choice

#: Most tokens of one answer. Bedrock takes as many from the account's quota for the time of the request, whatever is used of
#: them: with a model's own largest (64,000 and more) a few requests side by side would throttle each other.
MOST_OUTPUT = 16_000


@asynccontextmanager
async def connect(choice: Choice, environ: Mapping[str, str]) -> AsyncIterator[Model]:
    """The function's role is what it calls with; AWS_REGION says where, unless the choice has an address."""
    config = Config(
        region_name=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
        connect_timeout=CONNECT,
        read_timeout=SILENCE,
        max_pool_connections=CONNECTIONS,
        retries={"total_max_attempts": 1},
    )
    # A session of its own: the default one is shared by threads, and is not made for that.
    with closing(boto3.session.Session().client("bedrock-runtime", config=config, endpoint_url=choice.url)) as client:
        provider = BedrockProvider(bedrock_client=client)
        profile: Mapping[str, Any] = BedrockProvider.model_profile(choice.name) or {}
        largest = profile.get("anthropic_max_output_tokens")
        settings = ModelSettings(max_tokens=min(largest, MOST_OUTPUT)) if largest else None
        yield BedrockConverseModel(choice.name, provider=provider, settings=settings)
