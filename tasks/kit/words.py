"""A text taken apart: its words, the terms that it can be compared by, its pieces and a sample of them."""

# ruff: noqa: PLC0415 - the libraries would cost the API, which imports all tasks, a second
from __future__ import annotations

import functools
import re
from typing import Any

#: Chinese characters and Japanese kana.
_UNSPACED_CHARACTER = re.compile(
    "[々〇\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)


def count_words(text: str) -> int:
    """The number of words, as word processors count: what stands between spaces, and each Chinese or Japanese character.

    Other scripts without spaces (Thai, Khmer, Lao, Burmese) are counted by their phrases, so too low.
    """
    spaced, characters = _UNSPACED_CHARACTER.subn(" ", text)
    return characters + sum(any(map(str.isalnum, word)) for word in spaced.split())


def terms(text: str) -> list[str]:
    """What a text can be compared by: words without their case, and pairs of characters where words are not spaced."""
    found: list[str] = []
    for match in word_pattern().finditer(text):
        run = match["run"]
        if not run:
            found.append(match[0].casefold())
        else:
            found.extend(run[i : i + 2] for i in range(max(1, len(run) - 1)))
    return found


@functools.cache
def word_pattern() -> Any:
    """Finds runs of characters without spaces, and words. Python's own \\w would break Hindi words at their vowels."""
    import regex  # type: ignore[import-untyped]

    unspaced = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
    word = rf"[[\p{{L}}\p{{N}}]--[{unspaced}]][[\p{{L}}\p{{N}}\p{{M}}_]--[{unspaced}]]*+"
    return regex.compile(rf"(?P<run>[{unspaced}]++)|{word}(?:['’.\-]{word})*+", regex.VERSION1)


# --- pieces ---

#: Paragraphs are split in pieces of so many characters, at the end of a sentence if there is one: quotation marks that never
#: close cost the splitter the square of what follows.
_PIECE = re.compile(r".{1,5000}(?:[。！？]|[.!?…](?=\s)|$)|.{1,5000}", re.DOTALL)


def pieces(text: str) -> list[str]:
    """The paragraphs of the text, long ones in several pieces."""
    paragraphs = filter(None, map(str.strip, text.split("\n\n")))
    return [
        piece
        for paragraph in paragraphs
        for piece in (_PIECE.findall(paragraph) if len(paragraph) > 5_000 else [paragraph])
    ]


def sample_of(text: str, limit: int) -> str:
    """The text, or as many of its paragraphs as fit, the first one and others evenly from the rest."""
    if len(text) <= limit:
        return text
    taken: list[str] = []
    size = seen = 0
    for piece in pieces(text):
        if size * len(text) <= seen * limit and size + len(piece) <= limit:
            taken.append(piece)
            size += len(piece) + 2
        seen += len(piece) + 2
    return "\n\n".join(taken) or text[:limit]
