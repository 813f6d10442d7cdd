"""Reads request bodies strictly: what gets in comes out equal, and what cannot is refused with its reason.

The standard parser alone accepts NaN, lone surrogates, infinities (1e400) and twice the same key, and dies of deep nesting.
"""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any, NoReturn

from fastapi import Request

from common.errors import BadRequest, TooLarge, UnsupportedMediaType

#: Largest body, in bytes. Lambda's limit is 6 MB for the whole event, in which a binary body grows by a third.
MAX_BODY = 4 * 1024 * 1024
#: Deepest nesting of a body.
MAX_DEPTH = 200


async def read_bytes(request: Request) -> bytes:
    """The body. Raises TooLarge before it is read as a whole, UnsupportedMediaType for a compressed one."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Compressed bodies are not read; send it without Content-Encoding.")
    body = bytearray()
    async with contextlib.aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_BODY:
                raise TooLarge(f"A body has at most {MAX_BODY:,} bytes; send more by an upload link (POST /uploads).")
    return bytes(body)


async def read_json(request: Request) -> Any:
    """The body as JSON. Raises BadRequest, TooLarge, UnsupportedMediaType."""
    kind, _, parameters = request.headers.get("content-type", "application/json").lower().partition(";")
    if kind.strip() != "application/json":
        raise UnsupportedMediaType("Send JSON, as application/json.")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if charset not in ("", "utf-8", "utf8"):
        raise UnsupportedMediaType("JSON is UTF-8.")
    return parse(await read_bytes(request))


def parse(data: bytes) -> Any:
    """JSON that can be stored and given back equal. Raises BadRequest; the message never echoes the body."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 (byte {error.start}).") from None
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique)
        dump(value).encode()
    except json.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except UnicodeEncodeError:
        raise BadRequest("A string holds half of a surrogate pair, which is no character.") from None
    except RecursionError:
        raise BadRequest(f"The body is nested deeper than {MAX_DEPTH}.") from None
    except ValueError as error:
        # Python's own limit on digits, and what the hooks below refuse.
        raise BadRequest(str(error) if isinstance(error, _NotKeptError) else "A number has too many digits.") from None
    _check_depth(value)
    return value


def dump(value: Any) -> str:
    """The text of parsed JSON, as it is stored."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class _NotKeptError(ValueError):
    """What JSON text can say but cannot be given back as it came."""


def _no_constant(name: str) -> NoReturn:
    raise _NotKeptError(f"{name} is not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotKeptError("A number is too large for a double.")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotKeptError("An object has the same key twice; one of the values would be lost.")
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise BadRequest(f"The body is nested deeper than {MAX_DEPTH}.")
