"""Text out of a stored document: plain text, Markdown, HTML or PDF. Nothing here is a task, and nothing uses the network.

Parsers are imported when they are needed, so this module costs nothing to import.
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.kit.characters import decoded
from tasks.kit.reading_html import read_html
from tasks.kit.reading_markdown import read_markdown
from tasks.kit.reading_pdf import read_pdf
from tasks.kit.texts import MAX_CHARACTERS, Empty, Text, UnknownType, cut_at, put_together, unwrapped


def read(content_type: str, data: bytes) -> Text:
    """The text of a document. Its content type may carry a charset. Raises Unreadable, and nothing else.

    What is over MAX_CHARACTERS, MAX_PAGES or MAX_SECONDS is left out, and `cut` says so.
    """
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind not in {*_MARKUP, "application/pdf"}:
        raise UnknownType(f"Documents of type {kind[:100] or '(none)'} cannot be read.")
    if not data.strip():
        raise Empty
    if kind == "application/pdf":
        return read_pdf(data)
    return _MARKUP[kind](decoded(data, parameters))


def _read_plain(text: str) -> Text:
    paragraphs = unwrapped(text[:MAX_CHARACTERS])
    return put_together("", paragraphs, cut=cut_at(MAX_CHARACTERS, len(text)))


_MARKUP: dict[str, Callable[[str], Text]] = {
    "text/plain": _read_plain,
    "text/markdown": read_markdown,
    "text/html": read_html,
}
