"""A job's parts as short texts for people."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.text import Text

from longrun.models import Event, Job

STYLES = {
    "pending": "dim",
    "running": "cyan",
    "waiting": "magenta",
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
}

#: Control characters, but for tab and newline: what a model wrote must not steer the reader's terminal.
CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")


def cleaned(text: str) -> str:
    """The text without characters that would steer a terminal."""
    return text.translate(CONTROLS)


def as_json(value: Any) -> str:
    """A value as JSON text for people and machines."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def as_text(value: Any) -> str:
    """A result as text: a string as it is, everything else as JSON."""
    return value if isinstance(value, str) else as_json(value)


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(cleaned(status), STYLES.get(status, ""))


def time_text(time: datetime | None) -> str:
    """A time in UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if time else ""


def length_text(job: Job) -> str:
    """How long the job has been at it; never below zero, as the service's clock may be ahead of ours."""
    start = job.started_at or job.created_at
    if start is None:
        return "?"
    seconds = max(0, int(((job.finished_at or datetime.now(UTC)) - start).total_seconds()))
    return f"{seconds} s" if seconds < 60 else str(timedelta(seconds=seconds))


def attempt_text(job: Job) -> str:
    """For example `2 of 3`."""
    return f"{job.attempt} of {job.max_attempts}" if job.max_attempts else str(job.attempt)


def count_text(job: Job) -> str:
    """For example `2/5`."""
    said = job.progress
    if said is None or said.current is None:
        return ""
    return f"{said.current:g}" if said.total is None else f"{said.current:g}/{said.total:g}"


def progress_text(job: Job) -> str:
    """For example `40%  2/5  reading page 2 of 5`; what the task did not say is left out."""
    said = job.progress
    percent = "" if said is None or said.percent is None else f"{said.percent:g}%"
    return _joined(percent, count_text(job), _message(job))


def remark_text(job: Job) -> str:
    """What stands behind the bar: what the task says, and the attempt when it is not the first."""
    return _joined(_message(job), again_text(job))


def again_text(job: Job) -> str:
    """The attempt when it is not the first."""
    return f"attempt {attempt_text(job)}" if job.attempt > 1 else ""


def event_text(event: Event) -> str:
    """What happened, on one line."""
    return _joined(*map(_on_one_line, _parts(event)))


def call_text(event: Event) -> str:
    """For example `search({"query": "tides"})`."""
    return f"{event.data.get('name')}({_compact(event.data.get('arguments', event.data.get('json')))})"


def result_text(event: Event) -> str:
    """What a tool gave back."""
    result = event.data.get("result", event.data.get("json"))
    return result if isinstance(result, str) else _compact(result)


def shortened(text: str, most: int) -> str:
    """The text on one line, and no longer than `most` characters."""
    line = _on_one_line(text)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def facts(job: Job) -> Iterator[tuple[str, str | Text]]:
    """All that is known of a job, name by name."""
    yield "id", job.id
    yield "task", job.task
    yield "status", status_text(job.status)
    if job.cancel_requested and not job.is_final:
        yield "cancel", "asked for"
    if progress := progress_text(job):
        yield "progress", progress
    yield "attempt", attempt_text(job)
    yield from _course(job)
    times = {"created": job.created_at, "started": job.started_at, "finished": job.finished_at}
    yield from ((name, time_text(time)) for name, time in (times | {"forgotten": job.expires_at}).items() if time)
    if job.callback_url:
        yield "callback", job.callback_url
    if job.metadata:
        yield "metadata", json.dumps(job.metadata, ensure_ascii=False)
    if job.usage and job.usage != type(job.usage)():
        yield "usage", f"{job.usage.input_tokens} tokens in, {job.usage.output_tokens} out, ${job.usage.cost_usd:g}"
    if job.input is not None:
        yield "input", as_json(job.input)
    if job.error:
        yield "error", Text(cleaned(f"{job.error.type}: {job.error.message}"), "red")
    if job.result_link:
        yield "result", f"large; `longrun result {job.id}` fetches it"
    elif job.result is not None:
        yield "result", as_text(job.result)


def _course(job: Job) -> Iterator[tuple[str, str | Text]]:
    """Where it comes from, how it goes on, and what it asks."""
    if job.continuations:
        yield "continued", f"{job.continuations} times, in other invocations"
    if job.priority not in (None, "normal"):
        yield "priority", job.priority or ""
    if job.parent:
        yield "parent", job.parent
    if job.has_children:
        yield "children", f"`longrun tree {job.id}` shows them"
    for question in job.questions:
        yield "asks", Text(cleaned(f"{question.question}  ({question.id})"), STYLES["waiting"])


def _parts(event: Event) -> tuple[str, ...]:
    """What an event says; of one that we do not know, all of it."""
    data = event.data
    parts: tuple[str, ...] = (_compact(data),)
    match event.type:
        case "status":
            error = data.get("error")
            why = f"{error.get('type')}: {error.get('message')}" if isinstance(error, dict) else ""
            parts = str(data.get("status", "")), f"attempt {data.get('attempt')}", why, _reason(data)
        case "step" if "name" in data:
            parts = (str(data["name"]),)
        case "question" if "question" in data:
            parts = (str(data["question"]),)
        case "thought" | "output" if "text" in data:
            parts = (str(data["text"]),)
        case "log":
            rest = {name: value for name, value in data.items() if name != "message"}
            parts = str(data.get("message", "")), _compact(rest) if rest else ""
        case "tool_call":
            parts = (call_text(event),)
        case "tool_result":
            parts = (f"{data.get('name')} → {result_text(event)}",)
        case "progress":
            percent = data.get("percent")
            count = "/".join(str(data[name]) for name in ("current", "total") if data.get(name) is not None)
            parts = "" if percent is None else f"{percent}%", count, str(data.get("message") or "")
    return parts


def _reason(data: dict[str, Any]) -> str:
    """Why a job that goes on later is laid down, or taken up again."""
    if isinstance(data.get("waits_for"), list):
        return "for " + ", ".join(map(str, data["waits_for"]))
    if "answered" in data:
        return f"{data['answered']} was answered"
    return f"children of {data['ended']} ended" if "ended" in data else str(data.get("reason") or "")


def _message(job: Job) -> str:
    """What the task says, on one line."""
    return _on_one_line(job.progress.message) if job.progress and job.progress.message else ""


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _joined(*parts: str) -> str:
    return "  ".join(part for part in parts if part)
