"""Corpora of hostile input, with what is expected of each."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def bad_bodies() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / "bad_bodies.jsonl").read_text().splitlines()]


def body_of(case: dict[str, Any]) -> bytes:
    """The bytes of one case: given as text, as base64, or by how to make them."""
    if "text" in case:
        return str(case["text"]).encode()
    if "b64" in case:
        return base64.b64decode(case["b64"])
    made = case["gen"]
    return _MAKERS[made["kind"]](made)


def _value(text: bytes) -> bytes:
    return b'{"task":"echo","input":{"v":' + text + b"}}"


_MAKERS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "nest_obj": lambda made: _value(b'{"a":' * made["depth"] + b"1" + b"}" * made["depth"]),
    "nest_arr": lambda made: _value(b"[" * made["depth"] + b"]" * made["depth"]),
    "nest_arr_unclosed": lambda made: b'{"task":"echo","input":{"v":' + b"[" * made["depth"],
    "string": lambda made: _value(b'"' + b"x" * made["bytes"] + b'"'),
    "repeat_char": lambda made: _value(f'"{made["char"] * made["count"]}"'.encode()),
    "many_keys": lambda made: _value(json.dumps({f"k{i}": i for i in range(made["count"])}).encode()),
    "many_items": lambda made: _value(json.dumps(list(range(made["count"]))).encode()),
    "long_key": lambda made: _value(b'{"' + b"k" * made["bytes"] + b'":1}'),
    "long_task": lambda made: b'{"task":"' + b"e" * made["bytes"] + b'","input":{}}',
    "pad": lambda made: b'{"task":"echo","input":{}' + b" " * made["bytes"] + b"}",
}
