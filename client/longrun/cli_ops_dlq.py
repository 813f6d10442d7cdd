"""The commands about dead letters: messages that no function could handle."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from longrun.cli_ops_config import Profile, Region, Stack
from longrun.cli_output import Output
from longrun.cli_session import session
from longrun.cli_text import status_text
from longrun.deadletters import LOSSES, DeadLetters, Kind, Letter
from longrun.deployment import Deployment

#: How each kind's letters go back.
WAYS = {
    Kind.JOBS: "to the workers' queues",
    Kind.WEBHOOKS: "to the webhooks' queue",
    Kind.SCHEDULES: "to the scheduled function",
}

One = Annotated[Kind | None, typer.Option("--queue", help="Whose dead letters; else everybody's.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

letters = typer.Typer(
    no_args_is_help=True, help="Look at the messages that no function could handle, and hand them back."
)


@letters.command("list")
def list_queues(
    ctx: typer.Context, *, queue: One = None, stack: Stack = None, region: Region = None, profile: Profile = None
) -> None:
    """Count them, and say how old they are."""
    output = session(ctx).output
    depths = [each.depth() for each in _queues(queue, stack, region, profile)]
    if output.machine:
        output.document({"queues": depths})
        return
    columns = ("QUEUE", "MESSAGES", "BEING HANDLED", "OLDEST")
    output.table(columns, ((each.queue, str(each.visible), str(each.hidden), age_text(each.age)) for each in depths))


@letters.command()
def show(
    ctx: typer.Context,
    *,
    queue: One = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many of each queue.")] = 10,
    body: Annotated[bool, typer.Option("--body", help="Show what they say, too.")] = False,
    stack: Stack = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Show some of them, with their jobs. They stay where they are."""
    output = session(ctx).output
    found = [(each, letter) for each in _queues(queue, stack, region, profile) for letter in each.look(limit)]
    rows = [(letter, dead.status_of(letter.job) if letter.job else None) for dead, letter in found]
    if output.machine:
        output.document({"messages": [_described(letter, status, body=body) for letter, status in rows]})
        return
    columns = ("MESSAGE", "QUEUE", "RECEIVES", "AGE", "JOB", "STATUS", *(("BODY",) if body else ()))
    output.table(columns, (_row(letter, status, body=body) for letter, status in rows))


@letters.command()
def redrive(
    ctx: typer.Context,
    *,
    queue: One = None,
    yes: Yes = False,
    stack: Stack = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Hand them back to where they came from, to be handled again."""
    output = session(ctx).output
    full = list(_full(_queues(queue, stack, region, profile)))
    _confirm(output, (f"{dead.kind}: {count} go back {WAYS[dead.kind]}" for dead, count in full), yes=yes)
    done = [dead.redrive() for dead, _ in full]
    if output.machine:
        output.document({"redriven": done})
        return
    for each in done:
        output.line(f"{each.queue}: {each.moved} handed back")
        for message, reason in each.left:
            output.note(f"{message} stays: {reason}", "yellow")
    if not done:
        output.note("there are none")


@letters.command()
def purge(
    ctx: typer.Context,
    *,
    queue: Annotated[Kind, typer.Option("--queue", help="Whose dead letters.", show_default=False)],
    message: Annotated[str | None, typer.Option(metavar="ID", help="This one alone; see `longrun dlq show`.")] = None,
    yes: Yes = False,
    stack: Stack = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Delete them for good."""
    output = session(ctx).output
    (dead,) = _queues(queue, stack, region, profile)
    if message is None:
        full = list(_full([dead]))
        _confirm(output, (f"{dead.kind}: {count} are deleted. {LOSSES[dead.kind]}" for dead, count in full), yes=yes)
        count = sum(count for _, count in full)
        if full:
            dead.purge()
    else:
        _confirm(output, [f"message {message} is deleted. {LOSSES[queue]}"], yes=yes)
        count = int(dead.purge_one(message))
    if output.machine:
        output.document({"queue": queue, "deleted": count})
    else:
        output.line(f"{queue}: {count} deleted")


def age_text(seconds: float | None) -> str:
    """For example `3 min`."""
    if seconds is None:
        return ""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _queues(queue: Kind | None, stack: str | None, region: str | None, profile: str | None) -> list[DeadLetters]:
    deployment = Deployment.named_or_chosen(stack, region, profile)
    return [DeadLetters(deployment, kind) for kind in Kind if queue in (None, kind)]


def _full(queues: Iterable[DeadLetters]) -> Iterator[tuple[DeadLetters, int]]:
    """Those that are not empty, and how much is in them."""
    for each in queues:
        depth = each.depth()
        if count := depth.visible + depth.hidden:
            yield each, count


def _confirm(output: Output, about: Iterable[str], *, yes: bool) -> None:
    """Says what is to be done, and asks. Raises Abort, or BadParameter where nobody can be asked."""
    said = list(about)
    for each in said:
        output.note(each, "")
    if not said or yes:
        return
    if output.machine:
        raise typer.BadParameter("with --json nobody is asked: give --yes, too", param_hint="--yes")
    typer.confirm("Go on?", abort=True, err=True)


def _described(letter: Letter, status: str | None, *, body: bool) -> dict[str, Any]:
    hidden = {"receipt", "source", "group"} if body else {"receipt", "source", "group", "body"}
    return {name: value for name, value in asdict(letter).items() if name not in hidden} | {"status": status}


def _row(letter: Letter, status: str | None, *, body: bool) -> tuple[Any, ...]:
    job = (letter.job or "none", status_text(status or ("" if letter.job is None else "forgotten")))
    said = (letter.body,) if body else ()
    return (letter.id, letter.queue, str(letter.receives), age_text(letter.age), *job, *said)
