"""A conversation as the extractive model sees it: the question, what there is to select from, and what was tried for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_core import to_jsonable_python

from tasks.kit.extractive import key_words
from tasks.kit.prompts import Asked, Source, read_prompt

#: Where a tool's result says what a hit is called by.
_LOCATORS = ("document", "document_id", "id", "url", "source", "name")
#: A text is something to select from if it has so many words, at least.
_WORTH = 4


@dataclass(frozen=True)
class Call:
    """A call of a tool since the question, and its result; None if it failed or is not there."""

    tool: str
    arguments: dict[str, Any]
    result: Any = None


@dataclass(frozen=True)
class Conversation:
    """`quoted` are the sources that the latest prompt brought itself; `sources` are all."""

    question: str
    quoted: tuple[Source, ...]
    sources: tuple[Source, ...]
    calls: tuple[Call, ...]

    def tried(self, call: Call) -> bool:
        return any((made.tool, made.arguments) == (call.tool, call.arguments) for made in self.calls)

    def result(self, call: Call) -> Any:
        """What that call gave; None if it was not made, or failed."""
        return next((made.result for made in self.calls if replace(made, result=None) == call), None)


def read_conversation(messages: Sequence[ModelMessage]) -> Conversation:
    """Calls of earlier questions are left out, their results are not: a further question may be about the same."""
    prompts = [(number, read_prompt(text)) for number, text in _prompts(messages)]
    start, asked = prompts[-1] if prompts else (0, Asked(""))
    returned = [part for message in messages if isinstance(message, ModelRequest) for part in message.parts]
    results = {
        part.tool_call_id: part for part in returned if isinstance(part, ToolReturnPart) and part.outcome == "success"
    }
    calls = [
        Call(part.tool_name, part.args_as_dict(), to_jsonable_python(results[part.tool_call_id].content, fallback=str))
        if part.tool_call_id in results
        else Call(part.tool_name, part.args_as_dict())
        for message in messages[start:]
        if isinstance(message, ModelResponse)
        for part in message.parts
        if isinstance(part, ToolCallPart)
    ]
    found = [
        source for part in results.values() for source in sources_of(to_jsonable_python(part.content, fallback=str))
    ]
    before = [source for _, earlier in prompts[:-1] for source in earlier.sources]
    return Conversation(
        question=_in_full(asked.question, [earlier.question for _, earlier in prompts[:-1]]),
        quoted=asked.sources,
        sources=tuple(dict.fromkeys([*asked.sources, *found, *before])),
        calls=tuple(calls),
    )


def _prompts(messages: Sequence[ModelMessage]) -> Iterator[tuple[int, str]]:
    for number, message in enumerate(messages):
        if isinstance(message, ModelRequest):
            texts = [_text(part.content) for part in message.parts if isinstance(part, UserPromptPart)]
            if any(texts):
                yield number, "\n\n".join(texts)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = [item if isinstance(item, str) else getattr(item, "content", "") for item in content]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def _in_full(question: str, earlier: Sequence[str]) -> str:
    """A question that says hardly what it is about ("And in winter?") is about what was asked before."""
    if earlier and len(key_words(question).split()) < 2:
        return f"{earlier[-1]} {question}"
    return question


def sources_of(result: Any) -> list[Source]:
    """The texts in a tool's result, however they are nested, without what is only a name."""
    if isinstance(result, str):
        return [Source(result.strip())] if len(result.split()) >= _WORTH or len(result) > 80 else []
    if isinstance(result, dict):
        values = [value for name, value in result.items() if name not in (*_LOCATORS, "title", "note", "error")]
        return [source for value in values for source in sources_of(value)]
    if isinstance(result, list):
        return [source for value in result for source in sources_of(value)]
    return []


def locators_of(result: Any) -> list[str]:
    """What the hits of a search are called by, in their order."""
    if isinstance(result, list):
        return [*dict.fromkeys(locator for value in result for locator in locators_of(value))]
    if not isinstance(result, dict):
        return []
    for name in _LOCATORS:
        if isinstance(result.get(name), str):
            return [result[name]]
    return [*dict.fromkeys(locator for value in result.values() for locator in locators_of(value))]
