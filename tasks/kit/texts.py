"""What is made of every document, whatever its format: a text out of paragraphs, or the reason why there is none.

    Unreadable            the document gave no text
    ├── Empty             it has no bytes, or only blank ones
    ├── UnknownType       its content type is none that we read
    ├── UnknownCharset    its characters cannot be told; naming the charset helps
    ├── Encrypted         it opens with a password only
    ├── NoText            it is whole, but has no text (a scan, a page of pictures)
    └── Corrupt           it is damaged, or not what its content type says

An exception's docstring is its message.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: The most text that is kept of a document, in characters. A book of nine hundred pages has about two million.
MAX_CHARACTERS = 5_000_000

#: The longest that a PDF or Markdown is read, in seconds: a small PDF can ask for hours of work.
MAX_SECONDS = 60


class Unreadable(Exception):
    """The document cannot be read."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or type(self).__doc__)


class Empty(Unreadable):
    """The document is empty."""


class UnknownType(Unreadable):
    """Documents of this content type cannot be read."""


class UnknownCharset(Unreadable):
    """The text is not UTF-8, and its charset cannot be told. Name it in the content type: text/plain; charset=..."""


class Encrypted(Unreadable):
    """The PDF is encrypted. Store it without a password."""


class NoText(Unreadable):
    """The document has no text. If it is a scan, it needs text recognition (OCR) first."""


class Corrupt(Unreadable):
    """The document is damaged, or is not what its content type says."""


@dataclass(frozen=True)
class Text:
    """What a document says: its paragraphs, each on one line, with an empty line between them.

    `pages` is the length of a PDF, None for the others. `cut` says in words what was not read; empty if all was.
    """

    title: str
    text: str
    pages: int | None = None
    cut: str = ""


# --- what all formats share ---

#: Never part of prose; a line feed, a form feed and a tab are.
CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")

#: What typesetting put between letters or made of them.
_TYPESETTING = str.maketrans(
    {"\u00ad": "", "\u200b": "", "\ufeff": "", "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl"}
)


def put_together(title: str, paragraphs: Iterable[str], pages: int | None = None, cut: str = "") -> Text:
    """Puts a document together, cleaned and cut to size. One without a title is called by its first words."""
    lines = [line for paragraph in paragraphs if (line := cleaned(paragraph))]
    text = "\n\n".join(lines)
    if not any(character.isalnum() for character in text):
        raise NoText
    if len(text) > MAX_CHARACTERS:
        text, cut = text[:MAX_CHARACTERS].rstrip(), cut or f"only the first {MAX_CHARACTERS:,} characters were read"
    return Text(_shortened(cleaned(title) or re.split("(?<=[。！？])", lines[0])[0]), text, pages, cut)


def cleaned(text: str) -> str:
    """The text on one line, without what is no prose in it."""
    if text.isascii():
        return " ".join(CONTROL.sub("", text).split())
    return " ".join(map(_composed, CONTROL.sub("", text.translate(_TYPESETTING)).split()))


def _composed(word: str) -> str:
    """Ü as one character, not as U and two dots. Words of no language are left: normalising costs the square of their marks."""
    return unicodedata.normalize("NFC", word) if len(word) < 1_000 else word


def _shortened(title: str, width: int = 120) -> str:
    if len(title) <= width:
        return title
    return (title[:width].rpartition(" ")[0] or title[: width - 1]) + "…"


_BLANK_LINES = re.compile(r"\n\s*\n|\f")
_NEW_ITEM = re.compile(r"[-*•‣◦–]\s|\(?\d{1,3}[.)]\s|\d{1,2}(?:\.\d{1,2})+\.?\s[^\W\d_a-z]")
_HYPHENATED = re.compile(r"(?<=[^\W\d_])[-\u2010]$")
_UNSPACED = re.compile("[\u2e80-\u9fff\uff00-\uffef]")

#: Lines longer than this, in characters, were not wrapped by hand or by a typesetter: each is a paragraph.
_LONGEST_WRAPPED = 120


def unwrapped(text: str) -> Iterator[str]:
    """The paragraphs of text whose lines were broken to fit a page.

    A line much shorter than the others around it ends its paragraph, as does an empty line or a list's next item.
    """
    for block in _BLANK_LINES.split(text):
        lines = [" ".join(line.split()) for line in block.splitlines() if any(map(str.isalnum, line))]
        width = sorted(map(len, lines))[len(lines) * 9 // 10] if lines else 0
        paragraph: list[str] = []
        for line in lines:
            if paragraph and (width > _LONGEST_WRAPPED or len(paragraph[-1]) < 0.6 * width or _NEW_ITEM.match(line)):
                yield "".join(paragraph)
                paragraph = []
            paragraph[-1:] = _joined(paragraph[-1], line) if paragraph else [line]
        yield "".join(paragraph)


def _joined(line: str, following: str) -> tuple[str, str]:
    if _HYPHENATED.search(line) and following[0].islower():
        return line[:-1], following
    if _UNSPACED.match(line[-1]) and _UNSPACED.match(following[0]):
        return line, following
    return f"{line} ", following


def cut_at(limit: int, length: int) -> str:
    """What was not read of something of this length, in words; empty if all was."""
    return f"only the first {limit:,} of {length:,} characters were read" if length > limit else ""
