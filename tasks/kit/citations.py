"""Numbered citations that resolve: what a model wrote is rewritten until each `[n]` leads to a passage. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from tasks.kit.library import Source

#: [3], [3, 7], [3–5], [^3], 【3】, [passage 3], and [3](address).
_MARKER = re.compile(
    r"(?<![ \t])(?P<space>[ \t]*+)[\[【]\s*(?:(?:passages?|sources?)\s+)?\^?"
    r"(?P<numbers>\d{1,4}(?:\s*[,;–-]\s*\^?\d{1,4})*)\s*[\]】](?:\([^()\s]*\))?",
    re.IGNORECASE,
)
_RANGE = re.compile(r"\d+\s*[–-]\s*\d+")
_TAGS = re.compile(
    r"<(?=\s*/?\s*(?:passage|question|source|document|page|context|text|excerpt|query|topic)\b)", re.IGNORECASE
)
#: Longest range that is taken for one; `[1990-2024]` is a span of years.
_LONGEST_RANGE = 20


@dataclass(frozen=True)
class Evidence:
    """A passage that can be cited, and the source that it stands in."""

    source: Source
    passage: str

    @property
    def resolves(self) -> bool:
        return self.passage in self.source.text


def shown(number: int, evidence: Evidence) -> str:
    """The passage as a model gets to see it, with the number to cite it by."""
    title = escape(plain(evidence.source.title))
    return f'<passage id="{number}" title="{title}">\n{plain(evidence.passage)}\n</passage>'


def plain(text: str) -> str:
    """The same words with nothing that could be taken for a citation or for one of our tags."""
    return _TAGS.sub("‹", _MARKER.sub(lambda found: f"{found['space']}({found['numbers']})", text))


def uncited(text: str) -> str:
    """The text without its citations."""
    return " ".join(_MARKER.sub("", text).split())


class Citing:
    """Numbers the passages that are cited, in the order in which they first are."""

    def __init__(self, evidence: Mapping[int, Evidence]) -> None:
        self._evidence = evidence
        self._numbers: dict[int, int] = {}

    def rewritten(self, text: str) -> str:
        """The text with the final numbers. A citation of what is not there is left out."""
        return _MARKER.sub(self._marker, text)

    def number(self, of: int) -> int | None:
        """The final number of a passage; None if there is no such passage."""
        if of not in self._evidence or not self._evidence[of].resolves:
            return None
        return self._numbers.setdefault(of, len(self._numbers) + 1)

    def numbers_in(self, text: str) -> list[int]:
        """The passages that the text cites, by the numbers that they were shown with."""
        found = [number for marker in _MARKER.finditer(text) for number in _numbers(marker["numbers"])]
        return [number for number in dict.fromkeys(found) if number in self._evidence]

    @property
    def cited(self) -> dict[int, Evidence]:
        """What was cited, by its final number."""
        return {final: self._evidence[number] for number, final in self._numbers.items()}

    def listed(self) -> list[dict[str, Any]]:
        return [
            {"number": number, "source": each.source.name, "title": each.source.title, "passage": each.passage}
            for number, each in self.cited.items()
        ]

    def _marker(self, found: re.Match[str]) -> str:
        finals = [final for number in _numbers(found["numbers"]) if (final := self.number(number)) is not None]
        return found["space"] + "".join(f"[{final}]" for final in dict.fromkeys(finals)) if finals else ""


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for part in re.split(r"[,;]", text.replace("^", "")):
        if _RANGE.fullmatch(part.strip()):
            first, last = (int(number) for number in re.split("[–-]", part))
            numbers += range(first, last + 1) if 0 <= last - first <= _LONGEST_RANGE else []
        else:
            numbers.append(int(part))
    return numbers
