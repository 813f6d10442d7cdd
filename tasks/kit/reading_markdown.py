"""The prose of a Markdown document, without its code and tables."""

# ruff: noqa: PLC0415 - the parsers would cost the API, which imports all tasks, half a second
from __future__ import annotations

import re
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from tasks.kit.reading_html import all_text, parsed
from tasks.kit.texts import MAX_CHARACTERS, MAX_SECONDS, Text, cut_at, put_together

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?P<fields>.{0,20000}?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)
_ATTRIBUTES = re.compile(r"\{\s?[#.:][^{}]*\}\s*$")
_FENCE = re.compile(r" {0,3}(`{3}|~{3})")
_SPECIAL = re.compile(r"[\[\]*_`<!&\\~]")

#: Markdown is parsed in pieces of this many characters: a page of list items makes a thousand times its size of tokens.
_PIECE = 100_000

#: A paragraph with more special characters than this is taken as it stands: some rules cost the square of their number.
_MOST_SPECIAL = 500


def read_markdown(text: str) -> Text:
    """The prose of Markdown, called by its front matter or its first heading."""
    from markdown_it import MarkdownIt

    source = text[:MAX_CHARACTERS].replace("\r\n", "\n")
    front = _FRONT_MATTER.match(source)
    named = _FRONT_TITLE.search(front["fields"]) if front else None
    title, paragraphs = named[1] if named else "", list[str]()
    # without "inline", which this module calls itself, for the paragraphs that are safe to give to it
    parser = MarkdownIt("commonmark", {"maxNesting": 20}).enable("table").disable("inline")
    end = monotonic() + MAX_SECONDS
    for piece in _pieces(source[front.end() :] if front else source):
        if monotonic() > end:
            return put_together(title, paragraphs, cut="the end was not read, for it would have taken too long")
        for is_heading, paragraph in _blocks(parser, piece):
            paragraphs.append(paragraph)
            title = title or (paragraph if is_heading else "")
    return put_together(title, paragraphs, cut=cut_at(MAX_CHARACTERS, len(text)))


def _pieces(source: str) -> Iterator[str]:
    """The source in pieces that end at an empty line outside of fenced code, if there is one in time."""
    piece: list[str] = []
    length, fence = 0, ""
    for line in source.splitlines(keepends=True):
        if mark := _FENCE.match(line):
            fence = mark[1] if not fence else "" if line.strip().strip(fence[0]) == "" else fence
        piece.append(line)
        length += len(line)
        if (length > _PIECE and not fence and not line.strip()) or length > 2 * _PIECE:
            yield "".join(piece)
            piece, length = [f"{fence}\n"] if fence else [], 0
    yield "".join(piece)


def _blocks(parser: MarkdownIt, piece: str) -> Iterator[tuple[bool, str]]:
    """The prose of a piece, and whether it is a heading. Code and tables are not prose."""
    environment: dict[str, Any] = {}
    in_heading = in_table = False
    for token in parser.parse(piece, environment):
        in_heading = token.type == "heading_open" or (in_heading and token.type != "heading_close")
        in_table = token.type == "table_open" or (in_table and token.type != "table_close")
        if token.type == "inline" and not in_table:
            paragraph = _inline(parser, token.content, environment)
            yield in_heading, _ATTRIBUTES.sub("", paragraph) if in_heading else paragraph
        elif token.type == "html_block":
            for paragraph in all_text(parsed(token.content)).splitlines():
                yield "<h1" in token.content, paragraph


def _inline(parser: MarkdownIt, content: str, environment: dict[str, Any]) -> str:
    if len(_SPECIAL.findall(content)) > _MOST_SPECIAL:
        return content
    tokens: list[Any] = []
    parser.inline.parse(content, parser, environment, tokens)
    spoken = {"text", "text_special", "code_inline"}
    breaks = {"softbreak", "hardbreak"}
    return "".join(token.content if token.type in spoken else " " if token.type in breaks else "" for token in tokens)
