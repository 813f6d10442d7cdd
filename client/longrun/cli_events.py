"""The command that prints a job's log."""

from typing import Annotated

import typer

from longrun.cli_jobs import JobId
from longrun.cli_session import session
from longrun.cli_text import event_text, time_text
from longrun.cli_watch import resumable


def events(
    ctx: typer.Context,
    job_id: JobId,
    *,
    after: Annotated[int, typer.Option(min=0, metavar="N", help="Only those with numbers over N.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
) -> None:
    """Print what happened in a job: a line for each event, of JSON with --json."""
    client, output = session(ctx)
    with resumable(output, job_id):
        for event in client.events(job_id, after=after, follow=follow, progress=False):
            if output.machine:
                output.json_line(event)
            else:
                output.line(f"{event.seq:>5}  {time_text(event.at)}  {event.type:<11}  {event_text(event)}".rstrip())
