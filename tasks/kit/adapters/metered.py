"""A model that counts what it uses to a job."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from common.errors import BudgetExceeded
from common.tasks import Context
from tasks.models import Choice, record

#: Characters of a token, about; for servers that do not count.
TOKEN = 4


class Metered(WrapperModel):
    """Counts each request when it ends, also one that broke; makes none once the job's budget is used up.

    Everything that runs in a job should share one of these: what one agent has used up is then not spent by another.
    """

    def __init__(self, wrapped: Model, ctx: Context, choice: Choice) -> None:
        super().__init__(wrapped)
        self._ctx = ctx
        self._choice = choice
        self._is_checked = False
        self._over: BudgetExceeded | None = None

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        self._check()
        response = await super().request(messages, model_settings, model_request_parameters)
        self._count(counted(messages, response))
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        self._check()
        opened = super().request_stream(messages, model_settings, model_request_parameters, run_context)
        async with opened as stream:
            try:
                yield stream
            except (asyncio.CancelledError, GeneratorExit):
                with contextlib.suppress(BudgetExceeded):  # whoever stops the run is not to be answered with this
                    self._count(counted(messages, stream.get()))
                raise
            except Exception:
                self._count(counted(messages, stream.get()))
                raise
        self._count(counted(messages, stream.get()))

    def _check(self) -> None:
        """Raises BudgetExceeded. Before the first request it asks the job, which may have used much in an attempt before."""
        if self._over is not None:
            raise BudgetExceeded(str(self._over))
        if not self._is_checked:
            self._is_checked = True
            self._count(RequestUsage())

    def _count(self, usage: RequestUsage) -> None:
        try:
            record(self._ctx, self._choice, usage)
        except BudgetExceeded as over:
            self._over = over
            raise


def counted(messages: Sequence[ModelMessage], response: ModelResponse) -> RequestUsage:
    """What the provider counted; where it did not (an old server, a stream that broke), an estimate from the text."""
    usage = response.usage
    if usage.input_tokens or usage.output_tokens:
        return usage
    return RequestUsage(input_tokens=_tokens(messages), output_tokens=_tokens([response]))


def _tokens(messages: Sequence[ModelMessage]) -> int:
    texts = [
        str(getattr(part, name, "")) for message in messages for part in message.parts for name in ("content", "args")
    ]
    texts += [message.instructions or "" for message in messages if isinstance(message, ModelRequest)]
    return -(-sum(map(len, texts)) // TOKEN)
