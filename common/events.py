"""What a task says while it runs: events, gathered into pages. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Largest single event, in bytes of UTF-8; a longer one is cut and says so.
MAX_EVENT = 32_000
#: Largest page of events, in bytes: DynamoDB's items end at 400 KB.
MAX_PAGE = 250_000
#: Longest piece of streamed text that neighbouring pieces are joined to, in characters.
MAX_OUTPUT = 4_000


@dataclass(frozen=True)
class Event:
    """Something that happened in a job. `at` is seconds since 1970; `data` is JSON."""

    type: str
    at: float
    data: Mapping[str, Any]

    @property
    def size(self) -> int:
        """About how many bytes it takes up in a page."""
        return len(_text(self.data).encode()) + len(self.type) + 30


@dataclass(frozen=True)
class Numbered:
    """An event with its place in the job's log, counted from 1 without gaps."""

    seq: int
    event: Event


def event(kind: str, at: float, data: Mapping[str, Any]) -> Event:
    """An event of anything that can be told as JSON; what cannot is told by its repr, and what is too long is cut."""
    # Here, since the functions that only read events ship without pydantic.
    from pydantic_core import to_jsonable_python

    told = to_jsonable_python(dict(data), fallback=repr, inf_nan_mode="strings", bytes_mode="base64")
    whole = Event(kind, at, json.loads(_text(told).encode(errors="replace")))
    if whole.size <= MAX_EVENT:
        return whole
    text = _text(whole.data)
    most = MAX_EVENT - 200
    if list(whole.data) == ["text"]:
        kept: dict[str, Any] = {"text": _cut(str(whole.data["text"]), most)}
    else:
        # Half as much: quotes and line breaks in it are escaped again.
        kept = {"json": _cut(text, most // 2)} | {
            name: whole.data[name] for name in ("name", "id") if name in whole.data
        }
    return Event(kind, at, kept | {"cut_from_bytes": len(text.encode())})


def joined(events: Iterable[Event]) -> Iterator[Event]:
    """The same events with neighbouring pieces of output joined: a model streams word by word."""
    before: Event | None = None
    for now in events:
        if before is not None and _is_output(before) and _is_output(now) and _fits(before, now):
            before = Event("output", before.at, {"text": before.data["text"] + now.data["text"]})
            continue
        if before is not None:
            yield before
        before = now
    if before is not None:
        yield before


def page_text(events: Iterable[Event]) -> str:
    """A page as it is stored."""
    return _text([[found.type, round(found.at * 1000), found.data] for found in events])


def page_events(text: str, last_seq: int) -> list[Numbered]:
    """A stored page's events; the last of them has the number `last_seq`."""
    rows = json.loads(text)
    first = last_seq - len(rows) + 1
    return [Numbered(first + n, Event(kind, at / 1000, data)) for n, (kind, at, data) in enumerate(rows)]


def _is_output(found: Event) -> bool:
    return found.type == "output" and list(found.data) == ["text"]


def _fits(before: Event, now: Event) -> bool:
    return len(before.data["text"]) + len(now.data["text"]) <= MAX_OUTPUT


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _cut(text: str, most: int) -> str:
    """As much of the text as takes up `most` bytes when it is written as JSON, where quotes and line breaks take two."""
    text = text.encode()[:most].decode(errors="ignore")
    while (size := len(_text(text).encode()) - 2) > most:
        text = text.encode()[: len(text.encode()) * most // size].decode(errors="ignore")
    return text
