"""Structured output of the extractive model: a JSON schema is filled with what the sources hold.

What a field takes is told by its name and description, as a language model tells it: questions, names, key phrases, a summary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tasks.kit.extractive import Selected, Selection, key_words, select, worded
from tasks.kit.languages import detect_language
from tasks.kit.phrases import key_phrases
from tasks.kit.prompts import Source, one_line

#: Items of a list that says nothing of its length.
ITEMS = 5
#: Depth of nested objects that is filled.
DEPTH = 6
#: Characters of the material that key phrases are looked for in.
SAMPLE = 20_000

_NAME = re.compile(r"\b[A-Z][\w'’\-]*(?:\s+(?:(?:of|the|and|de|van|von|der|for)\s+)*[A-Z][\w'’\-]*)*")
_ASKS = re.compile(r"(?:how|what|which|who|whom|whose|where|when|why)\b", re.IGNORECASE)
_SUBJECT = re.compile(
    rf"{_ASKS.pattern}\s+(?:do|does|did|is|are|was|were|can|could|should|will|would|has|have)\s+\S+", re.IGNORECASE
)
_PARTS = re.compile(r"\s*(?:,|;|\band\b|\bor\b|\bversus\b|\bvs\.?)\s*", re.IGNORECASE)


@dataclass
class Form:
    """Fills schemas for one question from one set of sources."""

    question: str
    sources: Sequence[Source]
    schema: dict[str, Any]

    def filled(self) -> Any:
        return self._value(self.schema, "", None, 0)

    @cached_property
    def selection(self) -> Selection:
        return select(self.question, self.sources, ITEMS)

    @cached_property
    def text(self) -> str:
        """Something of each source."""
        share = SAMPLE // max(1, len(self.sources))
        return "\n\n".join(source.text[:share] for source in self.sources)

    def _value(self, schema: dict[str, Any], name: str, about: Selected | str | None, depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema or "enum" in schema:
            return self._option(schema.get("enum", [schema.get("const")]), about)
        match schema.get("type"):
            case "object":
                fields = schema.get("properties", {}) if depth < DEPTH else {}
                return {key: self._value(value, key, about, depth + 1) for key, value in fields.items()}
            case "array":
                return self._items(schema, name, about, depth)
            case "integer" | "number" | "boolean" | "null" as kind:
                return self._fact(kind, schema, name, about)
        return self._text(f"{name} {schema.get('description', '')}", about)

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema itself, behind references and choices; of a choice the first that is not null."""
        for _ in range(DEPTH):
            if reference := schema.get("$ref"):
                target: Any = self.schema
                for step in reference.removeprefix("#/").split("/"):
                    target = target[step]
                schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
            elif options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
                option = next((option for option in options if option.get("type") != "null"), options[0])
                schema = {**option, **{key: schema[key] for key in ("description", "title") if key in schema}}
            elif isinstance(kinds := schema.get("type"), list):
                schema = {**schema, "type": next((kind for kind in kinds if kind != "null"), "null")}
            else:
                break
        return schema

    def _items(self, schema: dict[str, Any], name: str, about: Selected | str | None, depth: int) -> list[Any]:
        item = self._resolved(schema.get("items") or {})
        most = max(schema.get("minItems", 0), min(ITEMS, schema.get("maxItems", ITEMS)))
        topics = self._topics(f"{name} {schema.get('description', '')} {item.get('title', '')}", about)[:most]
        topics += [""] * (schema.get("minItems", 0) - len(topics))
        if item.get("type", "string") == "string" and "enum" not in item:
            return [topic if isinstance(topic, str) else topic.sentence for topic in topics]
        return [self._value(item, name, topic, depth + 1) for topic in topics]

    def _topics(self, wanted: str, about: Selected | str | None) -> list[Selected | str]:
        if _says(wanted, "quer", "question", "search"):
            return [*sub_questions(self.question)]
        if _says(wanted, "entit", "name", "people", "person", "organi", "place", "compan"):
            return [*names(self.text)]
        if _says(wanted, "phrase", "keyword", "key_word", "topic", "tag", "term", "theme", "subject"):
            return [*key_phrases(self.text, detect_language(self.text), limit=ITEMS)]
        if isinstance(about, Selected):
            return [about]
        return [*self.selection.sentences]

    def _text(self, wanted: str, about: Selected | str | None) -> str:
        """What a field of that name and description says, of the item of the list that it belongs to, if it does."""
        if isinstance(about, str):
            return "" if _says(wanted, "type", "kind", "categor") else about
        if _says(wanted, "question", "query"):
            return self.question
        if about is not None:
            return about.source.number if _says(wanted, "source", "cit", "reference") else about.sentence
        if _says(wanted, "title", "topic", "subject", "headline", "heading"):
            return next(iter(key_phrases(self.text, detect_language(self.text), limit=1)), self.question)
        if _says(wanted, "quote", "evidence", "excerpt", "passage") and self.selection.sentences:
            return self.selection.sentences[0].sentence
        return "".join(worded(self.selection))

    def _fact(self, kind: str, schema: dict[str, Any], name: str, about: Selected | str | None) -> bool | float | None:
        if kind == "null":
            return None
        bears = self.selection.bears
        if kind == "boolean":
            return bears
        least, most = schema.get("minimum", 0), schema.get("maximum", float("inf"))
        value = least
        if _says(name, "source", "cit", "reference", "index", "number", "id") and isinstance(about, Selected):
            value = int(about.source.number or least)
        elif _says(name, "relevan", "confiden", "score", "rating") and bears:
            value = most if most < float("inf") else 1
        value = min(max(value, least), most)
        return int(value) if kind == "integer" else float(value)

    def _option(self, options: Sequence[Any], about: Selected | str | None) -> Any:
        """The option that the material speaks of most; the last one, which is often `other`, if it speaks of none."""
        text = (about if isinstance(about, str) else about.sentence if about else self.text).casefold()
        counts = [text.count(str(option).replace("_", " ").casefold()) for option in options]
        return options[counts.index(max(counts))] if max(counts) else options[-1]


def _says(wanted: str, *words: str) -> bool:
    return any(word in wanted.casefold() for word in words)


def sub_questions(question: str) -> list[str]:
    """The question, and what `and` joins in it, each part with what it needs of the rest to be understood.

    Without a language model a question is taken apart, not thought over: what does not come apart stays whole.
    """
    first, *others = [part for part in map(str.strip, _PARTS.split(question.rstrip("?. "))) if part] or [question]
    if not others:
        return [question]
    if len(key_words(first).split()) > 1:  # How does A keep its x, and what …? How does A keep x and lose y?
        subject = _SUBJECT.match(first)
        begun = subject[0] if subject else key_words(first).split()[0]
        parts = [first, *(part if _ASKS.match(part) else f"{begun} {part}" for part in others)]
    else:  # How do A and B work?
        *head, last = first.split() or [""]
        tail = others[-1].split()[1:]
        parts = [" ".join([*head, name, *tail]) for name in (last, *(part.split()[0] for part in others))]
    mark = "?" if question.rstrip().endswith("?") else ""
    return list(dict.fromkeys([question, *(f"{part[0].upper()}{part[1:]}{mark}" for part in parts)]))[:ITEMS]


def names(text: str) -> list[str]:
    """What is written as a name, the most frequent first; a single word counts if it stands inside of a sentence."""
    counts: dict[str, int] = {}
    text = one_line(text)
    for found in _NAME.finditer(text):
        inside = re.search(r"[\w,;:)”\"]\s+$", text[max(0, found.start() - 3) : found.start()])
        if (inside or " " in found[0] or found[0].isupper()) and key_words(found[0]) and len(found[0]) > 1:
            counts[found[0]] = counts.get(found[0], 0) + 1
    return sorted(counts, key=lambda name: -counts[name])


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
