"""Research: a question, many sources, and a report whose citations lead to the passages that it is made from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from common.errors import Permanent, Retryable
from common.retries import asked_to_wait
from common.tasks import Context, task
from tasks.kit.inquiry import Finding, Inquiry, plan, summarise
from tasks.kit.library import Failed, Library, document_name, is_lasting
from tasks.kit.reports import LeftOut, Writing, reason, write_report
from tasks.kit.running import HOPELESS, patiently, side_by_side
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


@task(timeout_seconds=840)
async def research(ctx: Context, input: Question) -> dict[str, Any]:
    """Reads pages and documents, several at a time, and writes a report with numbered citations.

    Each citation gives its source, and the passage word for word. A source that cannot be read is named, and the others used.
    """
    choice, library = chosen(), Library(ctx)
    async with open_model(choice, ctx) as model:
        ctx.progress(0, message="planning")
        inquiry = await plan(ctx, model, input.query)
        ctx.thought("\n".join(["Sub-questions:", *(f"- {question}" for question in inquiry.sub_questions)]))
        names, left_out = await candidates(ctx, library, input, inquiry)
        gathered = await Gathering(ctx, model, library, inquiry).gather(names)
        findings = [each for each in gathered if isinstance(each, Finding)]
        failed = [*left_out, *(each for each in gathered if isinstance(each, Failed))]
        if not findings:
            raise nothing_read(failed)
        ctx.progress(90, current=len(names), total=len(names), message="writing the report")
        fluent, say = choice.is_language_model, ctx.output
        writing = await patiently(ctx, lambda: write_report(model, inquiry, findings, failed, fluent=fluent, say=say))
    return {
        "report": writing.text,
        "query": inquiry.query,
        "sub_questions": list(inquiry.sub_questions),
        "citations": writing.citing.listed(),
        "sources": [*_read(findings, writing), *map(_unread, failed)],
        "model": choice.described(),
    }


async def candidates(
    ctx: Context, library: Library, input: Question, inquiry: Inquiry
) -> tuple[list[str], list[Failed]]:
    """The sources to read, and those that are not read. Raises Permanent if there are none."""
    named = list(dict.fromkeys([*input.urls, *map(document_name, input.documents)]))
    if named:
        most = input.max_pages or MAX_PAGES
        return named[:most], [Failed(name, LeftOut(f"It was not read: max_pages is {most}.")) for name in named[most:]]
    ctx.progress(2, message="searching the stored documents")
    shelf = await library.everything()
    if not (shelf.sources or shelf.failed or shelf.unread):
        raise Permanent("There is nothing to read: name urls or documents, or store documents first.")
    bearing = await asyncio.to_thread(shelf.search, inquiry.asked, 10 * MAX_PAGES)
    ranked = [each.source.name for each in bearing] + [each.name for each in shelf.sources] + list(shelf.unread)
    return list(dict.fromkeys(ranked))[: input.max_pages or PAGES], list(shelf.failed)


class Gathering:
    """Reads sources, several at a time, and notes what they say. `done` counts them."""

    def __init__(self, ctx: Context, model: Model, library: Library, inquiry: Inquiry) -> None:
        self._ctx = ctx
        self._model = model
        self._library = library
        self._inquiry = inquiry
        self._numbers = count(1)
        self._reserve = min(RESERVE, ctx.remaining / 4)
        self._done = self._total = 0

    async def gather(self, names: Sequence[str]) -> list[Finding | Failed]:
        self._total = len(names)
        return await side_by_side(self._one, names, AT_A_TIME)

    async def _one(self, name: str) -> Finding | Failed:
        self._show(f"reading {name}")
        found = await self._found(name)
        self._done += 1
        self._show(f"read {name}")
        return found

    async def _found(self, name: str) -> Finding | Failed:
        """Nothing that is wrong with one source stops the work on the others."""
        if self._ctx.remaining < self._reserve:
            return Failed(name, LeftOut("It was not read: there was no time left."))
        try:
            source = await self._library.source(name)
            finding = await summarise(self._ctx, self._model, self._inquiry, source, self._numbers)
        except HOPELESS:
            raise
        except Exception as error:  # noqa: BLE001
            self._ctx.log("a source failed", source=name, error=reason(error))
            return Failed(name, error)
        self._ctx.log("a source was read", source=name, title=source.title, summary=finding.summary)
        return finding

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
