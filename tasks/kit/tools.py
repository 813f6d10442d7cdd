"""What an agent can do besides think: read and search the owner's documents, fetch web pages, calculate. No tasks here.

A tool that fails tells the model why, as the tool's result, and the model goes on. Only what is a fault of the service itself
stops the run, so that the job is tried again.
"""

# ruff: noqa: PLC0415  # libraries are imported where they are needed: the API imports all tasks

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args

from tasks.kit.calculating import NotCalculable, calculate
from tasks.kit.library import FAILURES, Library, Shelf, Source, document_id

if TYPE_CHECKING:
    from pydantic_ai import Tool

ToolName = Literal["read_document", "search_documents", "fetch_page", "calculate"]
NAMES: tuple[ToolName, ...] = get_args(ToolName)

#: The most text that a tool gives at once, in characters: about five thousand tokens.
PORTION = 20_000
#: The most passages that a search gives.
MOST_PASSAGES = 8

P = ParamSpec("P")
T = TypeVar("T")


def tools(names: Iterable[ToolName], library: Library) -> list[Tool[Any]]:
    """The tools of those names, for Pydantic AI."""
    from pydantic_ai import Tool

    toolbox = Toolbox(library)
    return [Tool(_told(getattr(toolbox, name)), require_parameter_descriptions=True) for name in dict.fromkeys(names)]


class Toolbox:
    """The tools themselves. Their docstrings are what the model reads."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def read_document(self, id: str, start: int = 0) -> dict[str, Any]:
        """Reads a stored document. A long one comes in portions: read on from `next_start`.

        Args:
            id: The document's id, as search_documents gives it.
            start: The character to begin at.
        """
        return {"id": id, **_portion(await self._library.document(id), start)}

    async def search_documents(self, query: str) -> dict[str, Any]:
        """Finds the passages of the stored documents that bear on a question, the best first.

        Args:
            query: A question or words that the passages should have.
        """
        shelf = await self._library.everything()
        found = await asyncio.to_thread(shelf.search, query, MOST_PASSAGES)
        results = [
            {"id": document_id(each.source.name), "title": each.source.title, "passage": each.passage} for each in found
        ]
        return {"results": results, "documents": len(shelf.sources)} | _left_out(shelf)

    async def fetch_page(self, url: str, start: int = 0) -> dict[str, Any]:
        """Reads a public web page: its text, without navigation and advertisements. A long one comes in portions.

        Args:
            url: The page's full address, with https://.
            start: The character to begin at.
        """
        return {"url": url, **_portion(await self._library.page(url), start)}

    async def calculate(self, expression: str) -> str:
        """Calculates exactly. Use it for all arithmetic.

        Args:
            expression: Such as (1250 * 1.19) ** 2 / 3. It may use sqrt, log, sin, factorial, min, max, round, pi and the like.
        """
        return calculate(expression)


def _portion(source: Source, start: int) -> dict[str, Any]:
    start = max(0, start)
    end = min(len(source.text), start + PORTION)
    more = {"next_start": end, "characters": len(source.text)} if end < len(source.text) else {}
    cut = {"note": source.cut} if source.cut else {}
    return {"title": source.title, "text": source.text[start:end]} | more | cut


def _left_out(shelf: Shelf) -> dict[str, str]:
    why = [
        *(f"{document_id(each.name)} ({each.error})" for each in shelf.failed),
        *map(str, map(document_id, shelf.unread)),
    ]
    return {"note": f"{len(why)} documents could not be searched: {'; '.join(why[:20])}"} if why else {}


def _told(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The same tool, whose failures the model hears of."""
    from pydantic_ai import ToolFailed

    @functools.wraps(function)
    async def telling(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await function(*args, **kwargs)
        except (*FAILURES, NotCalculable) as error:
            raise ToolFailed(str(error)) from error

    return telling
