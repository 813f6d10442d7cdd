"""The live view of a job at a terminal: how far it is, what it thinks, the tools that it calls, what it writes."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
from rich.progress import Task as Bar
from rich.table import Column
from rich.text import Text

from longrun import models
from longrun.cli_durable_answers import Open
from longrun.cli_text import call_text, cleaned, count_text, length_text, remark_text, result_text, shortened
from longrun.models import FINAL, Event, Job, Status

#: How much is shown: tool calls, lines of a thought, and lines of streamed text.
TOOLS, THOUGHT_LINES, OUTPUT_LINES = 4, 3, 8
#: As much streamed text as can be shown, in characters, and of a call.
TAIL, CALL = 4_000, 200


@dataclass
class Tool:
    """A call, and in short what came of it."""

    name: str
    id: str | None
    call: str
    result: str | None = None


class View:
    """What is shown now; `show` takes each event as it comes."""

    def __init__(self, job: Job) -> None:
        self._job = job.model_copy(update={"progress": None} if job.is_final else {})
        self._thought, self._output = "", ""
        self._tools: deque[Tool] = deque(maxlen=TOOLS)
        self._open = Open(job.id)
        message = TextColumn(
            "{task.fields[message]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")
        )
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}", markup=False),
            _Elapsed(),
            message,
        )
        self._bar = self._bars.add_task("asking", total=None, count="", message="", job=self._job)
        self._update_bar()

    def show(self, event: Event) -> None:
        """Take in what happened."""
        data = event.data
        self._open.take(event)
        match event.type:
            case "status":
                self._change(str(data.get("status", "")), data.get("attempt"), event.at)
            case "progress":
                self._progress(event)
            case "thought":
                self._thought = str(data.get("text", ""))
            case "output":
                self._output = (self._output + str(data.get("text", "")))[-TAIL:]
            case "tool_call":
                call = shortened(call_text(event), CALL)
                self._tools.append(Tool(str(data.get("name")), data.get("id"), call))
            case "tool_result":
                self._result(event)
        self._update_bar()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self._bars.get_renderable()
        for tool in tuple(self._tools):
            mark, style = ("…", "cyan") if tool.result is None else ("✓", "dim")
            result = "" if tool.result is None else f" → {tool.result}"
            yield Text(cleaned(f" {mark} {tool.call}{result}"), style, no_wrap=True, overflow="ellipsis")
        width = max(1, options.max_width - 2)
        if self._thought:
            thought = Text(cleaned(" ".join(self._thought.split())), "italic")
            yield from (Text("  ") + line for line in thought.wrap(console, width)[:THOUGHT_LINES])
        if self._output:
            lines = Text(cleaned(self._output)).wrap(console, width)
            yield from (Text("│ ", "dim") + line for line in lines[-OUTPUT_LINES:])
        for question, command in self._open.lines():
            yield from (Text("? ", "bold magenta") + line for line in _bold(question).wrap(console, width))
            yield Text(cleaned(f"  answer it with `{command}`"), "magenta")

    def _change(self, status: str, attempt: object, at: datetime) -> None:
        update: dict[str, object] = {"status": status, "attempt": attempt if isinstance(attempt, int) else 0}
        if status == Status.RUNNING:
            # Another attempt begins from the start, and what the last one had under way will not come.
            self._tools.clear()
            self._thought = self._output = ""
            update |= {"progress": None, "started_at": self._job.started_at or at}
        # One that had ended does not stand still any more when its owner had it retried.
        update["finished_at"] = at if status in FINAL else None
        self._job = self._job.model_copy(update=update)

    def _progress(self, event: Event) -> None:
        try:
            said = models.Progress.model_validate(event.data)
        except ValidationError:
            return
        self._job = self._job.model_copy(update={"progress": said})

    def _result(self, event: Event) -> None:
        call = (str(event.data.get("name")), event.data.get("id"), None)
        waiting = [tool for tool in self._tools if (tool.name, tool.id, tool.result) == call]
        if waiting:
            waiting[0].result = shortened(result_text(event), CALL)

    def _update_bar(self) -> None:
        job = self._job
        done, total = _share(job)
        self._bars.update(
            self._bar,
            description=cleaned(f"{job.task} {job.status}"),
            completed=done,
            total=total,
            count=count_text(job) or (f"{done:g}%" if total else ""),
            message=cleaned(remark_text(job)),
            job=job,
        )


def _bold(text: str) -> Text:
    return Text(cleaned(text), "bold magenta")


class _Elapsed(ProgressColumn):
    def render(self, task: Bar) -> Text:
        job: Job = task.fields["job"]
        return Text(length_text(job), "dim")


def _share(job: Job) -> tuple[float, float | None]:
    """How much is done, of how much; of `None` when nobody knows, which makes the bar pulse."""
    said = job.progress
    if said is not None and said.percent is not None:
        return said.percent, 100
    if said is not None and said.current is not None and said.total:
        return said.current, said.total
    return 0, None
