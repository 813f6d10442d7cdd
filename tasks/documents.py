"""Analyses a batch of stored documents."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from common.errors import Retryable
from common.retries import asked_to_wait
from common.tasks import Context, printable, task
from tasks.kit.analysis import analyse
from tasks.kit.library import is_lasting
from tasks.kit.questions import select_answers, study
from tasks.kit.reading import read
from tasks.kit.running import PartFailed, alone, patiently, side_by_side
from tasks.kit.texts import Text
from tasks.models import chosen, open_model

if TYPE_CHECKING:
    from pydantic_ai.models import Model

#: Documents that are worked on at a time.
AT_A_TIME = 4
#: Time that is kept to end in good order, in seconds; a tenth of what there is, if that is less.
RESERVE = 30


class Batch(BaseModel):
    """The documents to analyse, by the ids under which they were stored, and what to find out from each of them."""

    model_config = ConfigDict(extra="forbid")

    document_ids: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(min_length=1, max_length=1_000)
    questions: list[Annotated[str, Field(min_length=1, max_length=1_000)]] = Field(default=[], max_length=20)


@dataclass(frozen=True)
class Outcome:
    """What was found in a document, and what went wrong, if something did."""

    result: dict[str, Any]
    error: Exception | None = None


@task(timeout_seconds=2 * 3_600)
async def analyze_documents(ctx: Context, input: Batch) -> dict[str, Any]:
    """For each stored document: title, words, language, key phrases, a summary, and the answers to the questions.

    A language model, where one is configured, writes the summary and finds people, places and other entities; otherwise the
    sentences that carry the document are its summary. A document that fails is reported with its error, the others are kept.
    """
    choice, total = chosen(), len(input.document_ids)
    needs_model = choice.is_language_model or bool(input.questions)
    async with open_model(choice, ctx) if needs_model else nullcontext() as model:
        desk = Desk(ctx, model, input.questions, total, fluent=choice.is_language_model)
        outcomes = await side_by_side(desk.analysed, enumerate(input.document_ids, 1), AT_A_TIME)
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if len(failed) == total and not any(map(is_lasting, failed)):
        message = f"Not one of the {total} documents could be analysed. {_message(failed[0])}"
        raise Retryable(message, after=max(map(asked_to_wait, failed)))
    ctx.progress(current=total, total=total, message=f"{total - len(failed)} analysed, {len(failed)} failed")
    results = [outcome.result for outcome in outcomes]
    return {"results": results, "count": total, "failed": len(failed), "model": choice.described()}


class Desk:
    """Where documents are analysed; it counts them."""

    def __init__(self, ctx: Context, model: Model | None, questions: list[str], total: int, *, fluent: bool) -> None:
        self._ctx = ctx
        self._model = model
        self._questions = questions
        self._fluent = fluent
        self._total = total
        self._done = 0
        self._reserve = min(RESERVE, ctx.remaining / 10)

    async def analysed(self, numbered: tuple[int, str]) -> Outcome:
        """One document's failure is not the batch's."""
        number, document_id = numbered
        self._show(f"reading {document_id}")
        result: dict[str, Any] = {"document_id": document_id}
        error: Exception | None = None
        try:
            result |= await self._once(number, document_id, result)
        except PartFailed as failed:
            error = failed.error
            result["error"] = {"type": type(error).__name__, "message": _message(error)}
        self._done += 1
        self._show(f"analysed {document_id}")
        return Outcome(result, error)

    async def _once(self, number: int, document_id: str, result: dict[str, Any]) -> dict[str, Any]:
        """A step: what was found, and paid for, is not looked for again when the job goes on elsewhere."""

        async def analysed(document_id: str, _: list[str]) -> dict[str, Any]:
            await alone(self._analyse(document_id, result))
            return result

        found: dict[str, Any] = await self._ctx.step(
            "document", analysed, document_id, self._questions, key=str(number)
        )
        return found

    async def _analyse(self, document_id: str, result: dict[str, Any]) -> None:
        """Adds to the result as it goes: what the libraries found stays there if the model fails."""
        if self._ctx.remaining < self._reserve:
            raise TimeoutError("There was no time left for it.")
        text = await self._text(document_id)
        analysis = await asyncio.to_thread(analyse, text)
        result |= analysis.as_dict() | ({"note": text.cut} if text.cut else {})
        if self._model is not None:
            ask_model = study if self._fluent else select_answers
            result |= await ask_model(self._ctx, self._model, text, self._questions)

    async def _text(self, document_id: str) -> Text:
        document = await patiently(self._ctx, lambda: asyncio.to_thread(self._ctx.document, document_id))
        return await asyncio.to_thread(read, document.content_type, document.data)

    def _show(self, doing: str) -> None:
        self._ctx.progress(current=self._done, total=self._total, message=doing)


def _message(error: Exception) -> str:
    return printable(str(error), 500) or type(error).__name__
