"""Which tools the extractive model calls. It knows a tool by its name and its parameters, as a language model does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic_ai.tools import ToolDefinition

from tasks.kit.adapters.conversation import Call, Conversation, locators_of
from tasks.kit.extractive import key_words

#: Pages and documents of one question that are read.
MOST_NAMED = 5

#: Longest question that may be arithmetic, in characters.
LONGEST = 500

_URL = re.compile(r"https?://[^\s<>\"'`)\]}]{1,2000}")
_DOCUMENT = re.compile(r"`([A-Za-z0-9][\w.\-]{0,127})`|\b([A-Za-z0-9][\w.\-]{0,120}\.(?:md|txt|pdf|html?))\b")

_ASKING = re.compile(
    r"^(?:please\s+)?(?:what(?:'s| is| are)|how much is|calculate|compute|evaluate|work out)\s+", re.IGNORECASE
)
_ARITHMETIC = re.compile(r"(?=.*\d)(?=.*(?:[+*/%]|\d\s*-|sqrt))(?:[\d.\s+\-*/%()]|sqrt|abs|log|exp|round)+")
_SPOKEN = (
    (r"(?<=\d),(?=\d{3}\b)", ""),
    (r"\s*(?:%|\bpercent) of\s+", " / 100 * "),
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\b(?:times|multiplied by)\b|[×·]", "*"),
    (r"\bdivided by\b|÷", "/"),
    (r"\bto the power of\b|\^", "**"),
    (r"\bsquared\b", "** 2"),
    (r"\b(?:the )?square root of\s*\(?([\d.]+)\)?", r"sqrt(\1)"),
)

Use = Callable[[str], Call]


def next_calls(talk: Conversation, offered: Sequence[ToolDefinition]) -> list[Call]:
    """What to call before answering; nothing if there is enough to answer from, or nothing more to try.

    Arithmetic is calculated. Pages and documents that the question names are read. Otherwise, unless the question brings its
    sources, documents are searched with its key words, and the best hit is read. No call is made twice, so this ends.
    """
    calculate, read, fetch, search = (_use(offered, *kind) for kind in (_CALCULATE, _READ, _FETCH, _SEARCH))
    expression = arithmetic(talk.question)
    if calculate and expression:
        return _fresh(talk, [calculate(expression)])
    named = [*_named(talk.question, fetch, _URL), *_named(_URL.sub(" ", talk.question), read, _DOCUMENT)]
    if fresh := _fresh(talk, named[:MOST_NAMED]):
        return fresh
    if talk.quoted or not search or any(talk.result(call) is not None for call in named):
        return []
    looked_for = search(key_words(_URL.sub(" ", talk.question)) or talk.question)
    if fresh := _fresh(talk, [looked_for]):
        return fresh
    hits = [use(hit) for hit in locators_of(talk.result(looked_for)) if (use := fetch if _URL.match(hit) else read)]
    return _fresh(talk, hits[:1])


def calculated(talk: Conversation, offered: Sequence[ToolDefinition]) -> str | None:
    """The result of a question that is arithmetic, once a tool has calculated it."""
    calculate, expression = _use(offered, *_CALCULATE), arithmetic(talk.question)
    result = talk.result(calculate(expression)) if calculate and expression else None
    return None if result is None else f"{expression} = {result}"


def arithmetic(question: str) -> str | None:
    """The expression, if the question is nothing but arithmetic."""
    if len(question) > LONGEST:
        return None
    text = _ASKING.sub("", question.strip().rstrip("?=. "))
    for said, meant in _SPOKEN:
        text = re.sub(said, meant, text, flags=re.IGNORECASE)
    text = " ".join(text.split())
    return text if _ARITHMETIC.fullmatch(text) else None


def _named(question: str, use: Use | None, form: re.Pattern[str]) -> Iterator[Call]:
    if use:
        for name in dict.fromkeys(found[0].strip("`").rstrip(".,;:!?") for found in form.finditer(question)):
            yield use(name)


def _fresh(talk: Conversation, calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if not talk.tried(call)]


#: A tool's name, and the names of the parameter that takes the text.
_Kind = tuple[str, str]
_CALCULATE: _Kind = (r"calc|arithmetic|math|evaluate", r"expression|formula|input")
_SEARCH: _Kind = (r"search|find|look_?up", r"query|question|text|key_?words|q|search")
_READ: _Kind = (r"read|open|get|load|document", r"document(_id|s|_ids)?|id|name")
_FETCH: _Kind = (r"fetch|read|open|get|visit|browse|page|web|url", r"urls?|address|link")


def _use(offered: Sequence[ToolDefinition], name: str, parameter: str) -> Use | None:
    """How to call the first tool of that kind that needs nothing but that parameter."""
    for tool in offered:
        schema = tool.parameters_json_schema
        needed = schema.get("required") or []
        for key, form in schema.get("properties", {}).items():
            if (
                re.search(name, tool.name, re.IGNORECASE)
                and re.fullmatch(parameter, key, re.IGNORECASE)
                and set(needed) <= {key}
            ):
                return _user(tool.name, key, takes_many=form.get("type") == "array")
    return None


def _user(tool: str, key: str, *, takes_many: bool) -> Use:
    def use(text: str) -> Call:
        arguments: dict[str, Any] = {key: [text] if takes_many else text}
        return Call(tool, arguments)

    return use
