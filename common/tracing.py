"""One trace from a request through the queue to the answers of models, with OpenTelemetry, shown by X-Ray.

Whether a request is recorded X-Ray's sampling rules decide, and Lambda says with each invocation; without the template's
`Tracing` it says no. The record of a job that such a request makes holds its place in the trace, so its worker finds that
with the claim, whoever sent the message. Of anything else nothing is traced, and then OpenTelemetry is not imported either.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from common.telemetry import follow

#: A W3C `traceparent`: the trace, and the span in it.
_W3C = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
#: What Lambda says of the invocation.
_XRAY = re.compile(r"Root=1-([0-9a-f]{8})-([0-9a-f]{24});Parent=([0-9a-f]{16});Sampled=1")

_here: ContextVar[str | None] = ContextVar("traceparent", default=None)


def here() -> str | None:
    """The `traceparent` of the span that this runs in; None where nothing is traced."""
    return _here.get()


def of_request(traceparent: str | None) -> str | None:
    """What a request's span follows: the caller's `traceparent` if it has one, else Lambda's own; None if it is not recorded.

    The caller says which trace it belongs to, not whether that is recorded: this is for those to decide who pay for it.
    """
    lambdas = _XRAY.search(os.environ.get("_X_AMZN_TRACE_ID", ""))
    if lambdas is None:
        return None
    callers = _W3C.fullmatch(traceparent or "")
    trace, span = callers.groups() if callers else (lambdas[1] + lambdas[2], lambdas[3])
    return f"00-{trace}-{span}-01"


@contextmanager
def entered(parent: str | None, name: str, kind: str, **attributes: Any) -> Iterator[dict[str, Any]]:
    """A span that goes on with a trace from elsewhere: see `span`. Later lines of the log name the trace."""
    token = _here.set(parent)
    try:
        if parent is not None:
            follow(trace_id=parent.split("-")[1])
        with span(name, kind, **attributes) as more:
            yield more
    finally:
        _here.reset(token)


@contextmanager
def span(name: str, kind: str = "INTERNAL", **attributes: Any) -> Iterator[dict[str, Any]]:
    """A span below the one that this runs in; nothing where nothing is traced.

    It has these attributes, and those that are put into the dict. Like a line of the log it says of an error what it is,
    not its message.
    """
    parent = here()
    if parent is None:
        yield {}
        return
    from common.spans import begun

    with begun(parent, name, kind, attributes) as (made, more):
        token = _here.set(made)
        try:
            yield more
        finally:
            _here.reset(token)
