"""What a scripted service says of a job's events, and what the command line says of an error."""

import json
from typing import Any

from typer.testing import Result

from tests.unit.scripted_service import Reply

EVENTS = "GET /jobs/j1/events"
#: No waiting between tries or polls.
AT_ONCE = {"Retry-After": "0"}


def event(kind: str, seq: int | None = None, /, **data: Any) -> dict[str, Any]:
    """An event as the service shows it."""
    number = {} if seq is None else {"seq": seq}
    return number | {"at": "2026-01-31T12:00:00Z", "type": kind, "data": data}


def sse(*events: dict[str, Any], status: str | None = None) -> Reply:
    """An answer of Server-Sent Events; with a status, the last of its job."""
    names = ["" if "seq" in one else "event: progress\n" for one in events]
    text = "".join(f"{name}data: {json.dumps(one)}\n\n" for name, one in zip(names, events, strict=True))
    last = max([one["seq"] for one in events if "seq" in one], default=0)
    if status is not None:
        text += f"event: end\ndata: {json.dumps({'status': status, 'last_event': last})}\n\n"
    return Reply(200, text.encode(), {"Content-Type": "text/event-stream"})


def error_of(result: Result) -> dict[str, Any]:
    """What `--json` says on stderr."""
    error: dict[str, Any] = json.loads(result.stderr)["error"]
    return error
