"""Which model works for the tasks, and how a task gets hold of it.

    from tasks.models import chosen, open_model

    choice = chosen()
    async with open_model(choice, ctx) as model:
        answer = await Agent(model).run("…")
    return {"answer": answer.output} | choice.described()

The model counts every request's tokens and money to the job, and stops the run with BudgetExceeded once the job has used
more than it may. What goes wrong at the provider leaves the `async with` as one of the errors of tasks/kit/providers.py.

Nothing heavy is imported until a model is opened.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from common import tracing
from common.tasks import Context
from tasks.kit.providers import ModelNotConfigured, classify

if TYPE_CHECKING:
    from pydantic_ai.models import Model
    from pydantic_ai.usage import RequestUsage, RunUsage

__all__ = ["Choice", "ModelNotConfigured", "chosen", "classify", "open_model", "price", "record"]

EXTRACTIVE = "extractive"
PROVIDERS = ("bedrock", "openai", "anthropic")

NOTE = "No language model is configured; sentences were selected from the sources (LONGRUN_MODEL=extractive)."

_FORMS = "bedrock:<model id or inference profile>, openai:<name>, anthropic:<name> or extractive"


@dataclass(frozen=True)
class Choice:
    """A model. `url` is where it is served, None for its provider's own address."""

    provider: str
    name: str
    url: str | None = None

    @property
    def is_language_model(self) -> bool:
        return self.provider != EXTRACTIVE

    def __str__(self) -> str:
        return f"{self.provider}:{self.name}" if self.is_language_model else EXTRACTIVE

    def described(self) -> dict[str, Any]:
        """What an answer says of the model that gave it."""
        described: dict[str, Any] = {"model": str(self), "language_model": self.is_language_model}
        if not self.is_language_model:
            described["note"] = NOTE
        elif not _adapter("prices").is_known(self):
            described["note"] = f"The price of {self} is not known; cost_usd does not count it."
        return described


def chosen(environ: Mapping[str, str] = os.environ) -> Choice:
    """The model of this deployment, by LONGRUN_MODEL, and LONGRUN_MODEL_URL if it is served elsewhere.

    Raises ModelNotConfigured.
    """
    text = environ.get("LONGRUN_MODEL", "").strip() or EXTRACTIVE
    url = environ.get("LONGRUN_MODEL_URL", "").strip() or None
    if text == EXTRACTIVE:
        return Choice(EXTRACTIVE, EXTRACTIVE)
    provider, _, name = text.partition(":")
    if provider not in PROVIDERS or not name.strip():
        raise ModelNotConfigured(f"LONGRUN_MODEL is {text!r}; it is one of {_FORMS}.")
    if url and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
        raise ModelNotConfigured("LONGRUN_MODEL_URL is no http or https address, such as http://localhost:11434/v1.")
    return Choice(provider, name.strip(), url)


@asynccontextmanager
async def open_model(
    choice: Choice, ctx: Context | None = None, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Model]:
    """The model, with connections of its own, which belong to this event loop and are closed at the end.

    With a context, each request is counted to its job, and none is made once the job's budget is used up. Raises the errors of
    tasks/kit/providers.py; the SDKs do not repeat requests themselves, for the job's retry waits as long as the provider asks.
    """
    connected: AbstractAsyncContextManager[Model] = _adapter(choice.provider).connect(choice, environ)
    async with connected as model:
        try:
            seen = model if tracing.here() is None else _adapter("traced").traced(model)
            yield seen if ctx is None else _adapter("metered").Metered(seen, ctx, choice)
        except Exception as error:
            meaning = classify(error)
            if meaning is error:
                raise
            raise meaning from error


def _adapter(name: str) -> Any:
    return import_module(f"tasks.kit.adapters.{name}")


def price(choice: Choice, usage: RequestUsage | RunUsage) -> Decimal:
    """What that much use of the model costs, in USD, by the price list that was installed; 0 if the model is not in it.

    Whoever serves a model at an address of his own is known by the address alone: a local model costs nothing.
    """
    if not choice.is_language_model:
        return Decimal(0)
    if usage.cost is not None:
        return usage.cost
    known: Decimal | None = _adapter("prices").look_up(choice, usage)
    return known or Decimal(0)


def record(ctx: Context, choice: Choice, usage: RequestUsage | RunUsage) -> None:
    """Counts a request to the job. Raises BudgetExceeded. A model that was opened with a context does this by itself."""
    ctx.usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cache_read_tokens,
        cost_usd=price(choice, usage),
    )
