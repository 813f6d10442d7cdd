"""The commands about jobs and tasks."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from longrun.cli_session import session
from longrun.cli_text import as_json, as_text, attempt_text, facts, length_text, status_text, time_text
from longrun.cli_watch import finish, report
from longrun.models import JobPage, Status

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.", show_default=False)]
TaskFilter = Annotated[str | None, typer.Option("--task", help="Only jobs of this task.")]
StatusFilter = Annotated[Status | None, typer.Option("--status", help="Only jobs in this status.")]


def tasks(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Show this task alone, with the schema of its input.")] = None,
) -> None:
    """Show what can be run."""
    client, output = session(ctx)
    if name is not None:
        output.document(client.task(name))
        return
    found = client.tasks()
    if output.machine:
        output.document({"tasks": found})
        return
    output.table(
        ("TASK", "TIME LIMIT", "ATTEMPTS", "WHAT IT DOES"),
        (
            (
                task.name,
                "" if task.timeout_seconds is None else f"{task.timeout_seconds:g} s",
                str(task.max_attempts or ""),
                (task.description or "").strip().partition("\n")[0],
            )
            for task in found
        ),
    )


def submit(
    ctx: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="What to run, see `longrun tasks`.", show_default=False)],
    *,
    given: Annotated[
        str, typer.Option("--input", "-i", metavar="JSON|@FILE|@-", help="The input: JSON, a file, or stdin.")
    ] = "{}",
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end and write the result.")] = False,
    timeout_seconds: Annotated[int | None, typer.Option(help="Seconds that each attempt may take.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="How often it is tried.")] = None,
    delay_seconds: Annotated[int | None, typer.Option(help="Seconds before it may start.")] = None,
    ttl_seconds: Annotated[int | None, typer.Option(help="Seconds that it is kept after its end.")] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high.")] = None,
    callback_url: Annotated[str | None, typer.Option(help="Where to send a webhook when it ends.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A label; may be repeated.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="IDEMPOTENCY_KEY", help="The same key always gives the same job.")
    ] = None,
) -> None:
    """Submit a job, and write its id (or with --wait, its result)."""
    client, output = session(ctx)
    job = client.submit(
        task,
        read_input(given),
        timeout_seconds=timeout_seconds,
        max_attempts=max_attempts,
        delay_seconds=delay_seconds,
        ttl_seconds=ttl_seconds,
        callback_url=callback_url,
        metadata=read_labels(metadata),
        priority=priority,
        idempotency_key=key,
    )
    if wait:
        output.note(f"submitted {job.id}")
        finish(client, output, job.id)
    elif output.machine:
        output.document(job)
    else:
        output.line(job.id)
        output.note(f"watch it with `longrun watch {job.id}`")


def watch(ctx: typer.Context, job_id: JobId) -> None:
    """Watch a job live until it ends, and write its result; with --json, a line of JSON for each event."""
    client, output = session(ctx)
    if output.machine:
        report(client, output, job_id)
    else:
        finish(client, output, job_id)


def list_jobs(
    ctx: typer.Context,
    *,
    status: StatusFilter = None,
    task: TaskFilter = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, the newest first.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on from an earlier list's `next_cursor`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
) -> None:
    """List jobs, the newest first."""
    client, output = session(ctx)
    if every:
        page = JobPage(jobs=tuple(client.jobs(status=status, task=task)))
    else:
        page = client.list(status=status, task=task, limit=limit, cursor=cursor)
    if output.machine:
        output.document({"jobs": page.jobs, "next_cursor": page.next_cursor})
        return
    output.table(
        ("ID", "TASK", "STATUS", "ATTEMPT", "CREATED", "TOOK"),
        (
            (job.id, job.task, status_text(job.status), attempt_text(job), time_text(job.created_at), length_text(job))
            for job in page.jobs
        ),
    )
    if page.next_cursor:
        output.note("there are more: --limit shows up to 100, --all shows all")


def show(ctx: typer.Context, job_id: JobId) -> None:
    """Show all that is known of a job."""
    client, output = session(ctx)
    job = client.get(job_id)
    if output.machine:
        output.document(job)
    else:
        output.facts(facts(job))


def result(
    ctx: typer.Context,
    job_id: JobId,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, writable=True, help="Write it to this file.")
    ] = None,
) -> None:
    """Write a job's result: text as it is, everything else as JSON; with --json, always JSON."""
    client, output = session(ctx)
    found = client.result(job_id)
    if file is None:
        output.value(found)
        return
    text = as_json(found) if output.machine else as_text(found)
    try:
        file.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--output") from error
    output.note(f"written to {file}")


def cancel(ctx: typer.Context, job_id: JobId) -> None:
    """Ask a job to stop."""
    client, output = session(ctx)
    job = client.cancel(job_id)
    if output.machine:
        output.document(job)
    else:
        output.note(f"job {job.id} is {job.status}" + ("" if job.is_final else ", and was asked to stop"))


def delete(ctx: typer.Context, job_id: JobId) -> None:
    """Forget a finished job and all that is stored for it."""
    client, output = session(ctx)
    client.delete(job_id)
    if output.machine:
        output.document({"deleted": job_id})
    else:
        output.note(f"job {job_id} is forgotten")


def read_input(given: str) -> Any:
    """The input that `--input` names: JSON, `@file`, or `@-` for stdin."""
    try:
        if given == "@-":
            given = sys.stdin.read()
        elif given.startswith("@"):
            given = Path(given[1:]).read_text(encoding="utf-8-sig")
        return json.loads(given)
    except OSError as error:
        raise typer.BadParameter(f"{given[1:]}: {error.strerror}", param_hint="--input") from error
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--input") from error


def read_labels(labels: list[str] | None) -> dict[str, str] | None:
    """The metadata that `--metadata k=v` names."""
    pairs = [label.partition("=") for label in labels or ()]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise typer.BadParameter(f"not of the form k=v: {name!r}", param_hint="--metadata")
    return {name: value for name, _, value in pairs} or None
