"""Research: a question, many sources, and a report whose citations lead to the passages that it is made from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from common.errors import Permanent, Retryable
from common.retries import asked_to_wait
from common.tasks import Context, task
from tasks.kit.inquiry import PASSAGES, Finding, Inquiry, Noted, plan, summarise
from tasks.kit.library import Failed, Library, document_name, is_lasting
from tasks.kit.reports import LeftOut, Writing, reason, write_report
from tasks.kit.running import PartFailed, alone, patiently, side_by_side
from tasks.models import chosen, open_model

if TYPE_CHECKING:
    from pydantic_ai.models import Model

#: Sources that are read if nobody says how many, and the most that can be asked for.
PAGES = 20
MAX_PAGES = 100
#: Sources that are worked on at a time.
AT_A_TIME = 5
#: Time that is kept for the report, in seconds; a quarter of what there is, if that is less.
RESERVE = 120


class Question(BaseModel):
    """What to find out, and where. With neither urls nor documents, the stored documents that bear on it most are read."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=4_000)
    urls: list[Annotated[str, Field(min_length=1, max_length=2_000)]] = Field(default=[], max_length=MAX_PAGES)
    documents: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(default=[], max_length=MAX_PAGES)
    max_pages: int | None = Field(
        default=None, ge=1, le=MAX_PAGES, description=f"The most sources that are read: {PAGES}, or all that are named."
    )


@task(timeout_seconds=2 * 3_600)
async def research(ctx: Context, input: Question) -> dict[str, Any]:
    """Reads pages and documents, several at a time, and writes a report with numbered citations.

    Each citation gives its source, and the passage word for word. A source that cannot be read is named, and the others used.
    The plan, the choice of sources, what each of them says, and the report are steps of the job.
    """
    choice, library = chosen(), Library(ctx)
    async with open_model(choice, ctx) as model:
        ctx.progress(0, message="planning")
        inquiry = await ctx.step("plan", partial(planned, ctx, model), input.query, result_type=Inquiry)
        finding = partial(Candidates.found, ctx, library, input)
        candidates = await ctx.step("candidates", finding, inquiry, result_type=Candidates)
        left_out = [Failed(name, LeftOut(why)) for name, why in candidates.left_out.items()]
        left_out += [Failed(name, Permanent(why)) for name, why in candidates.failed.items()]
        gathered = await Gathering(ctx, model, library, inquiry).gather(candidates.names)
        findings = [each for each in gathered if isinstance(each, Finding)]
        failed = [*left_out, *(each for each in gathered if isinstance(each, Failed))]
        if not findings:
            raise nothing_read(failed)
        total = len(candidates.names)
        ctx.progress(90, current=total, total=total, message="writing the report")
        # Once it is written it is final, even if a source can be read by then that could not be read before.
        writing = partial(written, ctx, model, findings, failed, fluent=choice.is_language_model)
        report = await ctx.step("report", writing, inquiry)
    asked = {"query": inquiry.query, "sub_questions": list(inquiry.sub_questions)}
    return {**asked, **report, "model": choice.described()}


async def planned(ctx: Context, model: Model, query: str) -> Inquiry:
    inquiry = await plan(ctx, model, query)
    ctx.thought("\n".join(["Sub-questions:", *(f"- {question}" for question in inquiry.sub_questions)]))
    return inquiry


async def written(
    ctx: Context, model: Model, findings: Sequence[Finding], failed: Sequence[Failed], inquiry: Inquiry, *, fluent: bool
) -> dict[str, Any]:
    """The report, and what belongs to it."""
    say = ctx.output
    writing = await patiently(ctx, lambda: write_report(model, inquiry, findings, failed, fluent=fluent, say=say))
    return {
        "report": writing.text,
        "citations": writing.citing.listed(),
        "sources": [*_read(findings, writing), *map(_unread, failed)],
    }


class Candidates(BaseModel):
    """The sources to read; those that are not read, and those that could not be, each with the reason."""

    names: list[str]
    left_out: dict[str, str] = {}
    failed: dict[str, str] = {}

    @classmethod
    async def found(cls, ctx: Context, library: Library, input: Question, inquiry: Inquiry) -> Candidates:
        """Raises Permanent or Retryable if there are none."""
        named = list(dict.fromkeys([*input.urls, *map(document_name, input.documents)]))
        if named:
            most = input.max_pages or MAX_PAGES
            why = f"It was not read: max_pages is {most}."
            return cls(names=named[:most], left_out=dict.fromkeys(named[most:], why))
        ctx.progress(2, message="searching the stored documents")
        shelf = await library.everything()
        bearing = await asyncio.to_thread(shelf.search, inquiry.asked, 10 * MAX_PAGES)
        ranked = [each.source.name for each in bearing] + [each.name for each in shelf.sources] + list(shelf.unread)
        if not ranked and shelf.failed:
            raise nothing_read(shelf.failed)
        if not ranked:
            raise Permanent("There is nothing to read: name urls or documents, or store documents first.")
        names = list(dict.fromkeys(ranked))[: input.max_pages or PAGES]
        return cls(names=names, failed={each.name: reason(each.error) for each in shelf.failed})


class Gathering:
    """Reads sources, several at a time, and notes what they say. `done` counts them."""

    def __init__(self, ctx: Context, model: Model, library: Library, inquiry: Inquiry) -> None:
        self._ctx = ctx
        self._model = model
        self._library = library
        self._inquiry = inquiry
        self._reserve = min(RESERVE, ctx.remaining / 4)
        self._done = self._total = 0

    async def gather(self, names: Sequence[str]) -> list[Finding | Failed]:
        self._total = len(names)
        return await side_by_side(self._one, enumerate(names), AT_A_TIME)

    async def _one(self, numbered: tuple[int, str]) -> Finding | Failed:
        number, name = numbered
        self._show(f"reading {name}")
        found = await self._found(number, name)
        self._done += 1
        self._show(f"read {name}")
        return found

    async def _found(self, number: int, name: str) -> Finding | Failed:
        """Nothing that is wrong with one source stops the work on the others."""
        try:
            noted = await self._ctx.step(
                "source", self._noted, number, name, self._inquiry, key=str(number + 1), result_type=Noted
            )
        except PartFailed as failed:
            return Failed(name, failed.error)
        return Failed(name, Permanent(noted.error)) if noted.error is not None else Finding.of(name, noted)

    async def _noted(self, number: int, name: str, inquiry: Inquiry) -> Noted:
        """What is lasting is noted too. What may pass is not: an attempt after this one tries again. Raises PartFailed."""
        if self._ctx.remaining < self._reserve:
            raise PartFailed(LeftOut("It was not read: there was no time left."))
        # The same numbers in every attempt, whichever source is read first.
        numbers = count(1 + PASSAGES * number)
        try:
            source = await alone(self._library.source(name))
            finding = await alone(summarise(self._ctx, self._model, inquiry, source, numbers))
        except PartFailed as failed:
            self._ctx.log("a source failed", source=name, error=reason(failed.error))
            if is_lasting(failed.error):
                return Noted(error=reason(failed.error))
            raise
        self._ctx.log("a source was read", source=name, title=source.title, summary=finding.summary)
        return finding.noted

    def _show(self, doing: str) -> None:
        percent = 5 + 80 * self._done / self._total
        self._ctx.progress(percent, current=self._done, total=self._total, message=doing)


def nothing_read(failed: Sequence[Failed]) -> Permanent | Retryable:
    """What the job fails with if no source could be read: tried again if it helps for any of them."""
    first = "; ".join(f"{each.name}: {reason(each.error)}" for each in failed[:5])
    message = f"Not one of the {len(failed)} sources could be read. {first}"
    passing = [each.error for each in failed if not is_lasting(each.error)]
    return Retryable(message, after=max(map(asked_to_wait, passing))) if passing else Permanent(message)


def _read(findings: Sequence[Finding], writing: Writing) -> list[dict[str, Any]]:
    used = {each.source.name for each in writing.citing.cited.values()}
    return [
        {
            "source": each.source.name,
            "title": each.source.title,
            "status": "used" if each.source.name in used else "unused",
        }
        | ({"note": each.source.cut} if each.source.cut else {})
        for each in findings
    ]


def _unread(failed: Failed) -> dict[str, Any]:
    status = "unused" if isinstance(failed.error, LeftOut) else "failed"
    return {"source": failed.name, "title": "", "status": status, "error": reason(failed.error)}
