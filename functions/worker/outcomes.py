"""What can come of an attempt: its task returned, raised, or was left to go on later."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from common.errors import ResultNotStorable
from common.jobs import MAX_PAYLOAD
from functions.worker.steps import Paused


@dataclass(frozen=True)
class Returned:
    """The task's result, as JSON text."""

    text: str


@dataclass(frozen=True)
class Raised:
    error: BaseException


Outcome = Returned | Raised | Paused


def to_json(value: Any) -> str:
    """The value as JSON text that reads back equal. Raises ResultNotStorable, saying why."""
    try:
        text = json.dumps(to_jsonable_python(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (PydanticSerializationError, TypeError, ValueError, RecursionError) as error:
        raise ResultNotStorable(f"The result cannot be stored as JSON: {type(error).__name__}: {error}") from None
    if size > MAX_PAYLOAD:
        raise ResultNotStorable(f"The result has {size:,} bytes; at most {MAX_PAYLOAD:,} are kept.")
    return text
