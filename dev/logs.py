"""One readable stream out of all that the parts of the stack write."""

import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from dev import MARK

COLOURS = {"api": "green", "worker": "cyan", "sweeper": "magenta", "deadletters": "yellow", "longrun": "bold blue"}
WIDTH = max(map(len, COLOURS))
LEVEL_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}

#: What Powertools adds to each line and nobody on a laptop needs.
HIDDEN = {
    "level", "location", "message", "timestamp", "service", "cold_start", "function_name", "function_memory_size",
    "function_arn", "function_request_id", "xray_trace_id", "sampling_rate", "exception", "exception_name",
    "stack_trace", "taskName",
}  # fmt: skip

#: What makes a record one of a request; told as uvicorn would tell it.
REQUEST = {"method", "path", "status"}

#: Everybody without a key is this owner.
UNSURPRISING = [("owner", "local")]

UVICORN = re.compile(r"^(?P<level>INFO|WARNING|ERROR|CRITICAL):\s+(?P<message>.*)$")
#: What uvicorn says at each start and stop; the reload's own line says it once.
CHATTER = re.compile(r"^(Started server|Waiting for|Application (startup|shutdown)|Uvicorn running|Shutting|Finished)")
FUNCTION = re.compile(r"-(\w+)Function-")


class Stream:
    """Prints lines of several writers, one at a time. Safe to call from any thread."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._lock = threading.Lock()

    def say(self, message: str, style: str = "bold") -> None:
        """A line of the local stack itself."""
        self._print([line("longrun", message, style)])

    def api(self, text: str) -> None:
        self._print(render("api", text))

    def emulator(self, text: str) -> None:
        """A line of the emulator's process: of a function, when it is marked with the function's name."""
        if text.startswith(MARK):
            _, name, text = text.split(MARK, 2)
            self._print(render(short_name(name), text))
        elif text.strip():
            self._print([line("longrun", text, "dim")])

    def _print(self, lines: Any) -> None:
        with self._lock:
            for each in lines:
                self.console.print(each)


def short_name(function_name: str) -> str:
    """`longrun-WorkerFunction-73C1` is `worker`."""
    found = FUNCTION.search(function_name)
    return found[1].lower() if found else function_name


def render(source: str, text: str) -> Iterator[Text]:
    """What to print for one line that a part wrote: a JSON record, a line of uvicorn's, or anything else."""
    record = as_record(text)
    if record is not None:
        yield from render_record(source, record)
    elif (found := UVICORN.match(text)) is None:
        yield line(source, text)
    elif not CHATTER.match(found["message"]):
        yield line(source, found["message"], LEVEL_STYLES.get(found["level"], ""))


def render_record(source: str, record: dict[str, Any]) -> Iterator[Text]:
    if "_aws" in record:  # a metric, in the form that CloudWatch collects from logs
        return
    message, hidden = as_text(record["message"]), HIDDEN
    if record.keys() >= REQUEST:
        if record["path"] == "/health":
            return
        message, hidden = f"{record['method']} {record['path']} {record['status']}", HIDDEN | REQUEST
    text = line(source, message, LEVEL_STYLES.get(record.get("level", ""), ""))
    for key, value in record.items():
        if key not in hidden and (key, value) not in UNSURPRISING:
            text.append(f"  {key}=", "dim").append(as_text(value), "bold" if key.startswith("job") else "")
    yield text
    for row in str(record.get("exception") or "").splitlines():
        yield line(source, f"  {row}", "dim")


def line(source: str, message: str, style: str = "") -> Text:
    text = Text(f"{datetime.now().astimezone():%H:%M:%S} ", "dim")
    return text.append(f"{source:<{WIDTH}} ", COLOURS.get(source, "white")).append(message, style)


def as_record(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) and ("message" in record or "_aws" in record) else None


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
