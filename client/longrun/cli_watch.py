"""Waiting for a job at a terminal: a live bar, or a line for each change where there is no terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
from rich.progress import Task as Bar
from rich.table import Column
from rich.text import Text

from longrun.calls import OnChange
from longrun.cli_errors import ExitCode, interrupted
from longrun.cli_output import Output
from longrun.cli_text import attempt_text, change_text, cleaned, count_text, length_text, remark_text
from longrun.client import Client
from longrun.errors import RateLimited, Unavailable, Unreachable
from longrun.models import Job, Status


def finish(client: Client, output: Output, job_id: str) -> None:
    """Wait for the job and write its result. Raises JobFailed, JobCancelled; exits with 130 on Ctrl-C."""
    job = follow(client, output, job_id)
    if output.machine and job.status != Status.COMPLETED:
        output.document(job)  # Machines get the job however it ended; why it did goes to stderr.
    result = client.result(job)
    output.note(f"completed in {length_text(job)} (attempt {attempt_text(job)})", "green")
    if output.machine:
        output.document(job.model_copy(update={"result": result}))
    else:
        output.value(result)


def follow(client: Client, output: Output, job_id: str) -> Job:
    """The job once it has ended, its progress shown on the way."""
    try:
        with watching(output) as on_change:
            return client.wait(job_id, on_change=on_change)
    except KeyboardInterrupt:
        output.failure(interrupted(job_id))
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (Unreachable, Unavailable, RateLimited) as error:
        error.add_note(f"watch it again with `longrun watch {job_id}`")
        raise


@contextmanager
def watching(output: Output) -> Iterator[OnChange | None]:
    """What to call with a job that has changed; `None` for machines, which see only its end."""
    if output.machine:
        yield None
    elif output.err.is_terminal:
        with _live(output.err) as show:
            yield show
    else:
        yield lambda job: output.note(change_text(job))


@contextmanager
def _live(console: Console) -> Iterator[OnChange]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[count]}", markup=False),
        _Elapsed(),
        TextColumn("{task.fields[message]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("asking", total=None, count="", message="", job=None)

        def show(job: Job) -> None:
            done, total = _share(job)
            bars.update(
                bar,
                description=cleaned(f"{job.task} {job.status}"),
                completed=done,
                total=total,
                count=count_text(job) or (f"{done:g}%" if total else ""),
                message=cleaned(remark_text(job)),
                job=job,
            )

        yield show


class _Elapsed(ProgressColumn):
    def render(self, task: Bar) -> Text:
        job: Job | None = task.fields["job"]
        return Text(length_text(job) if job else "", "dim")


def _share(job: Job) -> tuple[float, float | None]:
    """How much is done, of how much; of `None` when nobody knows, which makes the bar pulse."""
    said = job.progress
    if said is not None and said.percent is not None:
        return said.percent, 100
    if said is not None and said.current is not None and said.total:
        return said.current, said.total
    return 0, None
