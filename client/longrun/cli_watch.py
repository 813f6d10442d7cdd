"""Watching a job from the command line: a live view at a terminal, else a line for each event, or JSON for machines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.live import Live

from longrun.cli_durable_answers import Open
from longrun.cli_errors import ExitCode, interrupted
from longrun.cli_live import View
from longrun.cli_output import Output
from longrun.cli_text import attempt_text, event_text, length_text
from longrun.client import Client
from longrun.errors import RateLimited, Unavailable, Unreachable
from longrun.models import Event, Job, Status

Show = Callable[[Event], None]


def finish(client: Client, output: Output, job_id: str, *, after: int = 0) -> None:
    """Follow the job, from its event number `after` on, and write its result.

    Raises JobFailed, JobCancelled; exits with 130 on Ctrl-C.
    """
    with resumable(output, job_id):
        job = client.wait(job_id) if output.machine else follow(client, output, job_id, after)
    if output.machine and job.status != Status.COMPLETED:
        output.document(job)  # Machines get the job however it ended; why it did goes to stderr.
    result = client.result(job)
    output.note(f"completed in {length_text(job)} (attempt {attempt_text(job)})", "green")
    if output.machine:
        output.document(job.model_copy(update={"result": result}))
    else:
        output.value(result)


def report(client: Client, output: Output, job_id: str) -> None:
    """Write each event as a line of JSON, until the job ends. Raises JobFailed, JobCancelled."""
    with resumable(output, job_id):
        for event in client.events(job_id):
            output.json_line(event)
        job = client.wait(job_id)
    if job.status != Status.COMPLETED:
        client.result(job)


def follow(client: Client, output: Output, job_id: str, after: int = 0) -> Job:
    """The job once it has ended, what happens in it shown on the way."""
    with watching(output, client.get(job_id)) as show:
        for event in client.events(job_id, after=after):
            show(event)
    return client.wait(job_id)


@contextmanager
def resumable(output: Output, job_id: str) -> Iterator[None]:
    """Says how to go on when watching is interrupted, by Ctrl-C or because the service is not there."""
    try:
        yield
    except KeyboardInterrupt:
        output.failure(interrupted(job_id))
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (Unreachable, Unavailable, RateLimited) as error:
        error.add_note(f"watch it again with `longrun watch {job_id}`")
        raise


@contextmanager
def watching(output: Output, job: Job) -> Iterator[Show]:
    """What to call with each event of the job."""
    if output.err.is_terminal:
        view = View(job)
        with Live(view, console=output.err, transient=True, refresh_per_second=8):
            yield view.show
    else:
        lines = Lines(output, job.id)
        yield lines.show
        lines.finish_output()


class Lines:
    """A line for each event; streamed text by its own lines, not by the pieces that it came in."""

    def __init__(self, output: Output, job_id: str) -> None:
        self._output = output
        self._open = Open(job_id)
        self._text = ""

    def show(self, event: Event) -> None:
        """Write what is complete now."""
        if event.type == "output" and list(event.data) == ["text"]:
            *lines, self._text = (self._text + str(event.data["text"])).split("\n")
            for line in lines:
                self._write("output", line)
        else:
            self.finish_output()
            self._write(event.type, event_text(event))
            self._open.take(event)
            if event.type == "status":
                for question, command in self._open.lines():
                    self._output.note(f"{'asks':<11}  {question}  `{command}`", "bold magenta")

    def finish_output(self) -> None:
        """Write what is left of streamed text."""
        text, self._text = self._text, ""
        if text:
            self._write("output", text)

    def _write(self, kind: str, text: str) -> None:
        self._output.note(f"{kind:<11}  {text}".rstrip())
