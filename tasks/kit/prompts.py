"""Prompts, read for what they ask and what they quote. Nothing here is a task.

A source stands between tags, `<source id="3" title="…">…</source>` (or document, passage, page, context, text, excerpt), in a
fenced block, or in lines that begin with `>`. The question is what is left, or what stands in `<question>…</question>` or
behind `Question:`. Of a long prompt without any such sign, the sentences that ask are the question, and the others the source.

A prompt may be anything, so the time grows with its length only: a regular expression that goes back and forth would hold up
every job of the worker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.kit.sentences import split_sentences

#: A prompt of more words than this, with no sign of what is a source, holds its own source.
LONG = 80

_ASKS = ("question", "query", "topic")
_TAG = re.compile(
    r"<(?P<tag>source|document|passage|page|context|text|excerpt|question|query|topic)\b(?P<named>[^<>]{0,500})>",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"""\b(?:id|number|index|n)\s?=\s?["']?(\d{1,9})\b""", re.IGNORECASE)
_LABELLED = re.compile(r"^[ \t]*(?:question|query|topic)[ \t]*:[ \t]*(?P<text>\S.*)$", re.IGNORECASE | re.MULTILINE)
_FENCES = ("```", "~~~", '"""')
#: How a line begins that does not go on with the one before it: an item, a heading, a row, a quotation.
_BEGINS = re.compile(r"[-*•#>|]|\d{1,3}[.)]\s")


@dataclass(frozen=True)
class Source:
    """Something to select from. `number` is what it is cited by, "" for none."""

    text: str
    number: str = ""


@dataclass(frozen=True)
class Asked:
    """A prompt, read."""

    question: str
    sources: tuple[Source, ...] = ()


def read_prompt(prompt: str) -> Asked:
    """What a prompt asks, and the sources that it quotes."""
    sources: list[Source] = []
    asked: list[str] = []
    rest: list[str] = []
    for tag, named, text in _tagged(prompt):
        if not tag:
            rest.append(text)
        elif tag in _ASKS:
            asked.append(text)
        else:
            number = _NUMBER.search(named)
            sources.append(Source(text.strip(), number[1] if number else ""))
    left, blocks = _without_blocks("\n".join(rest))
    sources = [source for source in [*sources, *map(Source, blocks)] if source.text]
    if asked or (labelled := _LABELLED.search(left)):
        return Asked(one_line(asked[0] if asked else labelled["text"] if labelled else ""), tuple(sources))
    if not sources and len(left.split()) > LONG:
        return _read_long(left)
    return Asked(one_line(left), tuple(sources))


def _tagged(prompt: str) -> Iterator[tuple[str, str, str]]:
    """Tag, attributes and text of each part; what stands outside of tags has none."""
    place = 0
    unclosed: set[str] = set()
    for opening in _TAG.finditer(prompt):
        tag = opening["tag"].lower()
        if opening.start() < place or tag in unclosed:
            continue
        closing = re.compile(rf"</{tag}\s?>", re.IGNORECASE).search(prompt, opening.end())
        if closing is None:
            unclosed.add(tag)
            continue
        yield "", "", prompt[place : opening.start()]
        yield tag, opening["named"], prompt[opening.end() : closing.start()]
        place = closing.end()
    yield "", "", prompt[place:]


def _without_blocks(text: str) -> tuple[str, list[str]]:
    """The text without what is fenced or quoted, and that."""
    rest: list[str] = []
    blocks: list[list[str]] = []
    fence, is_quoting = "", False
    for line in text.split("\n"):
        if fence:
            if line.strip() == fence:
                fence = ""
            else:
                blocks[-1].append(line)
        elif line.startswith(_FENCES):
            fence = line[:3]
            blocks.append([])
        elif line.startswith(">"):
            if not is_quoting:
                blocks.append([])
            blocks[-1].append(line[1:].strip())
        else:
            rest.append(line)
        is_quoting = not fence and line.startswith(">")
    return "\n".join(rest), ["\n".join(block).strip() for block in blocks]


def _read_long(prompt: str) -> Asked:
    sentences = [sentence for sentence in split_sentences(prompt) if sentence]
    asking = [sentence for sentence in sentences if sentence.endswith(("?", ":", "？", "："))] or sentences[:1]
    told = set(asking)
    return Asked(
        one_line(" ".join(asking)), (Source("\n\n".join(sentence for sentence in sentences if sentence not in told)),)
    )


def unwrapped(text: str) -> str:
    """The text with a paragraph on one line, as it was before it was broken to fit a page."""
    lines: list[str] = []
    before = ""
    for line in map(str.strip, text.split("\n")):
        goes_on = line and before and not _BEGINS.match(line) and not before.startswith("#")
        lines.append(f" {line}" if goes_on else f"\n{line}")
        before = line
    return "".join(lines).strip()


def one_line(text: str) -> str:
    return " ".join(text.split())
