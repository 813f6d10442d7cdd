"""What a run can read: the documents that its owner stored, and web pages. Nothing here is a task.

Everything is read once in a run and kept. What cannot be read raises one of FAILURES, whose message can be shown.
"""

# ruff: noqa: PLC0415  # libraries are imported where they are needed: the API imports all tasks

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from common.egress import LOCAL_PAGES, PAGES, CallFailed, ForbiddenAddress, Policy
from common.errors import NotFound, Permanent, Retryable
from common.retries import LATER, is_retryable
from common.tasks import Context
from tasks.kit.passages import Index, passages
from tasks.kit.reading import read
from tasks.kit.running import side_by_side
from tasks.kit.texts import Unreadable

#: Why a document or a page is not there: this run's affair, not a fault of the service.
FAILURES = (NotFound, Unreadable, CallFailed, Permanent, Retryable)

#: The longest that a page may take to come, in seconds, and its most bytes.
PAGE_SECONDS = 20
PAGE_BYTES = 5_000_000
#: How many documents are read at a time: each waits for the bucket.
AT_A_TIME = 8
#: The longest that documents are read for a search, in seconds, and the most of their text, in characters.
SEARCH_SECONDS = 120
SEARCH_CHARACTERS = 20_000_000

_DOCUMENT = "document:"
_ACCEPT = "text/html, application/xhtml+xml, text/plain, text/markdown, application/pdf, */*;q=0.1"
#: Types that can be read as others are.
_READ_AS = {"": "text/html", "application/xhtml+xml": "text/html", "application/json": "text/plain"}


@dataclass(frozen=True)
class Source:
    """A text and where it is from: `document:ID`, or the address of a page. `cut` says what of it was not read."""

    name: str
    title: str
    text: str
    cut: str = ""


@dataclass(frozen=True)
class Failed:
    """A source that could not be read."""

    name: str
    error: Exception


@dataclass(frozen=True)
class Found:
    """A passage that bears on a question."""

    source: Source
    passage: str
    score: float


@dataclass(frozen=True)
class Shelf:
    """Documents that were read, and those that were not: they failed, or there was no time or room for them."""

    sources: tuple[Source, ...]
    failed: tuple[Failed, ...]
    unread: tuple[str, ...]

    def search(self, question: str, most: int) -> list[Found]:
        """The passages that bear on the question, the best first. The first search takes seconds if there is much."""
        return [Found(*self._owned[number], score) for number, score in self._index.best(question, most)]

    @cached_property
    def _owned(self) -> list[tuple[Source, str]]:
        return [(source, passage) for source in self.sources for passage in passages(source.text)]

    @cached_property
    def _index(self) -> Index:
        return Index([passage for _, passage in self._owned])


def is_lasting(error: Exception) -> bool:
    """Whether reading the source again could not help."""
    return isinstance(error, Unreadable | ForbiddenAddress) or not is_retryable(error)


def document_name(document_id: str) -> str:
    return f"{_DOCUMENT}{document_id}"


def document_id(name: str) -> str | None:
    """The id of a document by its source's name; None if that is a page's."""
    return name.removeprefix(_DOCUMENT) if name.startswith(_DOCUMENT) else None


def page_policy(environ: Mapping[str, str] = os.environ) -> Policy:
    """Which pages may be read. A local stack and tests set LONGRUN_LOOPBACK=allow, for servers on the same machine."""
    return LOCAL_PAGES if environ.get("LONGRUN_LOOPBACK") == "allow" else PAGES


class Library:
    def __init__(self, ctx: Context, policy: Policy | None = None) -> None:
        self._ctx = ctx
        self._policy = policy or page_policy()
        self._documents: dict[str, Source] = {}
        self._pages: dict[str, Source] = {}
        self._shelf: Shelf | None = None
        self._filling = asyncio.Lock()

    async def source(self, name: str) -> Source:
        """A document or a page by its source's name. Raises one of FAILURES, or an error of the service."""
        stored = document_id(name)
        return await (self.page(name) if stored is None else self.document(stored))

    async def document(self, stored: str) -> Source:
        """A document by its id."""
        if stored not in self._documents:
            self._documents[stored] = await asyncio.to_thread(self._from_bucket, stored)
        return self._documents[stored]

    async def page(self, url: str) -> Source:
        """A page by its address."""
        if url not in self._pages:
            self._pages[url] = await self._from_web(url)
        return self._pages[url]

    async def everything(self) -> Shelf:
        """All documents of the owner, as far as time and room allow."""
        async with self._filling:
            if self._shelf is None:
                stored = await asyncio.to_thread(self._ctx.documents)
                self._shelf = await self._filled(document_name(each) for each in stored)
            return self._shelf

    async def _filled(self, names: Iterable[str]) -> Shelf:
        seconds, room = min(SEARCH_SECONDS, self._ctx.remaining / 3), SEARCH_CHARACTERS
        end = time.monotonic() + seconds

        async def read_one(name: str) -> Source | Failed | str:
            nonlocal room
            if time.monotonic() > end or room <= 0:
                return name
            try:
                source = await self.source(name)
            except FAILURES as error:
                return Failed(name, error)
            room -= len(source.text)
            return source

        results = await side_by_side(read_one, names, AT_A_TIME)
        return Shelf(
            tuple(result for result in results if isinstance(result, Source)),
            tuple(result for result in results if isinstance(result, Failed)),
            tuple(result for result in results if isinstance(result, str)),
        )

    def _from_bucket(self, stored: str) -> Source:
        document = self._ctx.document(stored)
        text = read(document.content_type, document.data)
        return Source(document_name(stored), text.title, text.text, text.cut)

    async def _from_web(self, url: str) -> Source:
        from common.fetching import Limits, request

        limits = Limits(PAGE_SECONDS, PAGE_BYTES)
        answer = await request("GET", url, headers={"accept": _ACCEPT}, policy=self._policy, limits=limits)
        if not answer.ok:
            raise (Retryable if answer.status in LATER else Permanent)(f"The page answered {answer.status}.")
        if (answer.headers.get("content-encoding") or "identity").lower() != "identity":
            raise Permanent("The page is packed in a way that was not asked for.")
        text = await asyncio.to_thread(read, _readable_type(answer.headers.get("content-type", "")), answer.body)
        cut = text.cut or (f"only the first {PAGE_BYTES:,} bytes were read" if answer.cut else "")
        return Source(url, text.title, text.text, cut)


def _readable_type(content_type: str) -> str:
    kind, semicolon, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind.startswith("text/") and kind not in {"text/html", "text/markdown"}:
        kind = "text/plain"
    return _READ_AS.get(kind, kind) + semicolon + parameters
