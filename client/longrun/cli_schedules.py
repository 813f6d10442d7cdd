"""The commands about schedules."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from longrun.cli_jobs import read_input, read_labels
from longrun.cli_output import Output
from longrun.cli_session import session
from longrun.cli_text import as_json, cleaned, time_text
from longrun.schedules import Schedule

STYLES = {"active": "green", "paused": "yellow", "fired": "dim", "missed": "red", "arming": "cyan"}

ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The schedule's id.", show_default=False)]

schedules = typer.Typer(no_args_is_help=True, help="Have jobs submitted again and again, or at a time.")


@schedules.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it.", show_default=False)],
    task: Annotated[str, typer.Argument(metavar="TASK", help="What to run, see `longrun tasks`.", show_default=False)],
    *,
    cron: Annotated[
        str | None, typer.Option(metavar="FIELDS", help="Six of them: '0 9 ? * MON-FRI *' is nine on weekdays.")
    ] = None,
    rate: Annotated[str | None, typer.Option(metavar="N UNIT", help="'5 minutes', '1 hour', '7 days'.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Once: 2027-01-31T09:00:00, or with Z or +01:00.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Of --cron and --at, Europe/Berlin say; UTC unless said.")
    ] = None,
    given: Annotated[
        str, typer.Option("--input", "-i", metavar="JSON|@FILE|@-", help="The input: JSON, a file, or stdin.")
    ] = "{}",
    timeout_seconds: Annotated[int | None, typer.Option(help="Seconds that each attempt may take.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="How often each job is tried.")] = None,
    ttl_seconds: Annotated[int | None, typer.Option(help="Seconds that each job is kept after its end.")] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high.")] = None,
    callback_url: Annotated[str | None, typer.Option(help="Where to send a webhook when a job ends.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A label; may be repeated.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="IDEMPOTENCY_KEY", help="The same key always gives the same schedule.")
    ] = None,
) -> None:
    """Make a schedule with one of --cron, --rate and --at, and write its id."""
    client, output = session(ctx)
    if sum(when is not None for when in (cron, rate, at)) != 1:
        raise typer.BadParameter("give one of --cron, --rate and --at", param_hint="--cron")
    schedule = client.create_schedule(
        task,
        read_input(given),
        cron=cron,
        rate=rate,
        at=at,
        timezone=timezone,
        name=name,
        callback_url=callback_url,
        timeout_seconds=timeout_seconds,
        max_attempts=max_attempts,
        ttl_seconds=ttl_seconds,
        priority=priority,
        metadata=read_labels(metadata),
        idempotency_key=key,
    )
    if output.machine:
        output.document(schedule)
    else:
        output.line(schedule.id)
        output.note(f"{schedule.task}, {when_text(schedule)}")


@schedules.command("list")
def list_schedules(ctx: typer.Context) -> None:
    """List the schedules."""
    client, output = session(ctx)
    found = client.schedules()
    if output.machine:
        output.document({"schedules": tuple(found)})
        return
    output.table(
        ("ID", "NAME", "STATUS", "WHEN", "TASK", "LAST FIRED"),
        (
            (
                each.id,
                each.name or "",
                status_text(each),
                when_text(each),
                each.task,
                time_text(each.last_fired_at),
            )
            for each in found
        ),
    )


@schedules.command()
def show(ctx: typer.Context, schedule_id: ScheduleId) -> None:
    """Show all that is known of a schedule."""
    client, output = session(ctx)
    schedule = client.schedule(schedule_id)
    if output.machine:
        output.document(schedule)
    else:
        output.facts(_facts(schedule))


@schedules.command()
def pause(ctx: typer.Context, schedule_id: ScheduleId) -> None:
    """Have it submit nothing until it is resumed."""
    client, output = session(ctx)
    _tell(output, client.pause_schedule(schedule_id))


@schedules.command()
def resume(ctx: typer.Context, schedule_id: ScheduleId) -> None:
    """Have it submit again."""
    client, output = session(ctx)
    _tell(output, client.resume_schedule(schedule_id))


@schedules.command()
def delete(ctx: typer.Context, schedule_id: ScheduleId) -> None:
    """Forget a schedule; the jobs that it has submitted stay."""
    client, output = session(ctx)
    client.delete_schedule(schedule_id)
    if output.machine:
        output.document({"deleted": schedule_id})
    else:
        output.note(f"schedule {schedule_id} is forgotten")


def when_text(schedule: Schedule) -> str:
    """For example `every 5 minutes`."""
    if schedule.rate is not None:
        return f"every {schedule.rate}"
    if schedule.at is not None:
        return f"at {time_text(schedule.at)}"
    return f"{schedule.cron} {schedule.timezone}"


def status_text(schedule: Schedule) -> Text:
    """Its status in its colour."""
    return Text(cleaned(schedule.status), STYLES.get(schedule.status, ""))


def _tell(output: Output, schedule: Schedule) -> None:
    if output.machine:
        output.document(schedule)
    else:
        output.note(f"schedule {schedule.id} is {schedule.status}")


def _facts(schedule: Schedule) -> Iterator[tuple[str, str | Text]]:
    yield "id", schedule.id
    if schedule.name:
        yield "name", schedule.name
    yield "status", status_text(schedule)
    yield "when", when_text(schedule)
    yield "task", schedule.task
    times = {"created": schedule.created_at, "last fired": schedule.last_fired_at}
    yield from ((name, time_text(time)) for name, time in times.items() if time)
    if schedule.last_job:
        yield "last job", schedule.last_job
    for name in ("timeout_seconds", "max_attempts", "ttl_seconds", "priority", "callback_url"):
        if (value := getattr(schedule, name)) is not None:
            yield name.replace("_", " "), str(value)
    if schedule.metadata:
        yield "metadata", as_json(schedule.metadata)
    yield "input", as_json(schedule.input)
