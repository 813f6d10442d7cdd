"""What can be told of a model's error, whoever raised it: Pydantic AI, an SDK under it, httpx or botocore.

They are known by the names of their classes and by what they carry, so none of them is imported here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from common.retries import http_status

_SECRET = re.compile(
    r"\b[sp]k-[\w\-*.]{6,}|(?i:\bbearer\s+\S{6,}|\bkey[=:]\s*\S{6,})|\b(?:AKIA|ASIA)\w{12,}|\barn:\S+|[\w\-]{32,}"
)
_CONVERSE = frozenset({"Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"})
_SDKS = frozenset({"openai", "anthropic"})
_HTTP = frozenset({"httpx", "httpx2"})


def is_of_a_model(error: BaseException) -> bool:
    """Whether a model, its SDK or an agent raised it. A tool's own trouble with HTTP looks the same."""
    kinds = type(error).__mro__
    roots, names = {kind.__module__.partition(".")[0] for kind in kinds}, {kind.__name__ for kind in kinds}
    if "pydantic_ai" in roots:
        return bool(names & {"AgentRunError", "UserError"})
    if roots & _HTTP:
        return bool(names & {"HTTPStatusError", "TransportError", "StreamError"})
    return bool(roots & _SDKS) or ("ClientError" in names and getattr(error, "operation_name", None) in _CONVERSE)


@dataclass(frozen=True)
class Facts:
    """An error, whoever raised it: the names of its classes, and what the provider sent with it."""

    kinds: frozenset[str]
    status: int | None
    code: str
    words: str
    model: str
    wait: float | None

    def has_code(self, *codes: str) -> bool:
        return any(code in self.code for code in codes)

    def says(self, *words: str) -> bool:
        said = f"{self.code} {self.words}".casefold()
        return any(word in said for word in words)


def facts_of(error: BaseException) -> Facts:
    response: Any = getattr(error, "response", None)
    answer = response if isinstance(response, dict) else {}  # botocore's
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") or http_status(error)
    body = answer or getattr(error, "body", None)
    return Facts(
        kinds=frozenset(kind.__name__ for kind in type(error).__mro__),
        status=status if status and status >= 400 else None,  # an error inside of a stream comes after a 200
        code=_redacted(_code(error, answer)),
        words=_redacted(_message(body) or getattr(error, "message", None) or str(error) or type(error).__name__),
        model=_redacted(getattr(error, "model_name", "")),
        wait=_wait(error, answer),
    )


def _code(error: BaseException, answer: Mapping[str, Any]) -> str:
    """The provider's name for the error: `ThrottlingException`, `context_length_exceeded`, `overloaded_error`."""
    names = ("provider_error_code", "code", "provider_error_type", "type")
    codes = [answer.get("Error", {}).get("Code"), *(getattr(error, name, None) for name in names)]
    return next((code for code in codes if isinstance(code, str) and code), "")


def _message(body: Any) -> str:
    """What the provider said, out of what it and the libraries put around it."""
    found = None
    for name in ("error", "Error", "message", "Message"):
        if isinstance(body, Mapping) and body.get(name):
            found = body = body[name]
    return found if isinstance(found, str) else ""


def _redacted(text: str) -> str:
    """Without what looks like a key or names an account: some providers repeat the key that they refuse."""
    return _SECRET.sub("[…]", " ".join(text.split()))


def _wait(error: BaseException, answer: Mapping[str, Any]) -> float | None:
    """Seconds that the provider asked for, in any form of the header; None if it did not."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders") or getattr(error, "headers", None)
    headers = headers or getattr(getattr(error, "response", None), "headers", None) or {}
    sent = {str(name).lower(): str(value) for name, value in dict(headers).items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1)):
        if (wait := _seconds(sent.get(name, ""))) is not None:
            return max(0.0, wait * unit)
    wait = getattr(error, "retry_after", None)
    return float(wait) if isinstance(wait, int | float) else None


def _seconds(value: str) -> float | None:
    try:
        return float(value) if float(value) < float("inf") else None
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
