"""The commands about webhooks: where they go, what became of each, and trying them again."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.progress import track
from rich.text import Text

from longrun.cli_output import Output
from longrun.cli_session import session
from longrun.cli_text import shortened, time_text
from longrun.cli_webhooks_listen import listen
from longrun.client import Client
from longrun.errors import Conflict, NotFound
from longrun.webhooks import Delivery, Endpoint

#: Seconds of each unit that a length of time can have.
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: The longest time that an old secret can go on, in seconds.
MAX_OVERLAP = 7 * 86_400
#: Characters of an error that a table shows.
SHORT = 100
STYLES = {"pending": "cyan", "delivered": "green", "exhausted": "red"}

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]

webhooks = typer.Typer(no_args_is_help=True, help="Be told when jobs end, and see what became of each message.")


def seconds_of(text: str) -> int:
    """The seconds of `90`, `90s`, `15m`, `24h` or `7d`. Raises BadParameter."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no length of time: write 90s, 15m, 24h or 7d")
    seconds = int(found[1]) * UNITS[found[2] or "s"]
    if seconds > MAX_OVERLAP:
        raise typer.BadParameter("it is 7d at the most")
    return seconds


@webhooks.command()
def show(ctx: typer.Context) -> None:
    """Show where webhooks go, and whether they are taken there."""
    client, output = session(ctx)
    endpoint = client.webhook()
    if output.machine:
        output.document(endpoint)
        return
    output.facts(_facts(endpoint))
    if endpoint.url is None:
        output.note("tell an address of every job's end with `longrun webhooks set URL`")
    elif not endpoint.enabled:
        output.note(f"enable it again with `longrun webhooks set {endpoint.url}`")


@webhooks.command("set")
def set_url(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="An https address with a public name.", show_default=False)],
) -> None:
    """Tell this address of every job's end from now on. Writes the signing secret, if it is new."""
    client, output = session(ctx)
    endpoint = client.set_webhook(url)
    output.note(f"every job's end is told to {endpoint.url}", "green")
    _hand_over(output, endpoint)


@webhooks.command()
def remove(ctx: typer.Context) -> None:
    """Tell nobody any more. The secret stays, for the callback addresses of jobs."""
    client, output = session(ctx)
    client.remove_webhook()
    if output.machine:
        output.document({"url": None})
    else:
        output.note("no address is told of every job's end any more")


@webhooks.command()
def rotate(
    ctx: typer.Context,
    overlap: Annotated[
        int | None,
        typer.Option(
            metavar="24h|SECONDS",
            parser=seconds_of,
            help="How long the old secret signs as well, 7d at the most; 0 ends it at once. A day unless said.",
        ),
    ] = None,
) -> None:
    """Make a new signing secret, and write it."""
    client, output = session(ctx)
    endpoint = client.rotate_webhook_secret(overlap)
    _hand_over(output, endpoint)
    ends = [secret.signs_until for secret in endpoint.secrets if secret.signs_until]
    if ends:
        output.note(f"the old one signs as well until {time_text(max(ends))}")


@webhooks.command()
def deliveries(ctx: typer.Context, job_id: JobId) -> None:
    """Show a job's webhooks with each of their tries."""
    client, output = session(ctx)
    found = client.deliveries(job_id)
    if output.machine:
        output.document({"deliveries": found})
        return
    columns = ("ID", "TYPE", "TO", "STATUS", "TRY", "AT", "TOOK", "ANSWER")
    output.table(columns, (row for delivery in found for row in _rows(delivery)))
    if not found:
        output.note("none: the job has not ended, or nobody was to be told")


@webhooks.command()
def undelivered(ctx: typer.Context) -> None:
    """List the webhooks that were given up, the latest first."""
    client, output = session(ctx)
    found = client.undelivered()
    if output.machine:
        output.document({"deliveries": tuple(found)})
        return
    output.table(
        ("JOB", "ID", "TYPE", "TO", "CREATED", "TRIED", "WHY"),
        (
            (each.job, each.id, each.type, each.to, time_text(each.created_at), str(each.tried), each.reason or "")
            for each in found
        ),
    )


@webhooks.command()
def redeliver(
    ctx: typer.Context,
    job_id: Annotated[str | None, typer.Argument(metavar="JOB", help="The job's id.")] = None,
    delivery_id: Annotated[
        str | None, typer.Argument(metavar="DELIVERY", help="One of its webhooks, whatever became of it.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All that were given up, of all jobs.")] = False,
) -> None:
    """Have webhooks tried again, with the same id and body: one, or all of a job that were given up."""
    client, output = session(ctx)
    if every == (job_id is not None):
        raise typer.BadParameter("name a job, or give --all", param_hint="JOB")
    if job_id is not None and delivery_id is not None:
        begun = [client.redeliver(job_id, delivery_id)]
    else:
        given_up = client.undelivered() if job_id is None else _exhausted(client, job_id)
        begun = list(_redelivered(client, output, given_up))
    if output.machine:
        output.document({"deliveries": begun})
        return
    output.note(f"{len(begun)} to be tried again" if begun else "nothing was given up")


webhooks.command()(listen)


def _exhausted(client: Client, job_id: str) -> Iterator[Delivery]:
    return (delivery for delivery in client.deliveries(job_id) if delivery.status == "exhausted")


def _redelivered(client: Client, output: Output, given_up: Iterable[Delivery]) -> Iterator[Delivery]:
    """Each as it is begun again; what was forgotten or is being tried meanwhile is left out."""
    is_silent = output.machine or not output.err.is_terminal
    for each in track(tuple(given_up), "trying again", console=output.err, transient=True, disable=is_silent):
        try:
            yield client.redeliver(each.job, each.id)
        except (NotFound, Conflict) as error:
            output.note(f"{each.id}: {error}", "yellow")


def _hand_over(output: Output, endpoint: Endpoint) -> None:
    """The secret alone on stdout, for pipes; for machines, the whole answer."""
    if output.machine:
        output.document(endpoint)
    elif endpoint.secret:
        output.line(endpoint.secret)
        output.note("keep this secret, it is not shown again: with it your receiver verifies what comes")
    else:
        output.note("the secret stays as it was; if you do not have it, `longrun webhooks rotate` makes a new one")


def _facts(endpoint: Endpoint) -> Iterator[tuple[str, str | Text]]:
    yield "endpoint", endpoint.url or "none"
    if endpoint.url is not None:
        yield "state", Text("enabled", "green") if endpoint.enabled else Text("disabled", "red")
        yield "since", time_text(endpoint.created_at if endpoint.enabled else endpoint.disabled_at)
    if endpoint.disabled_reason:
        yield "why", endpoint.disabled_reason
    if endpoint.failing_since:
        yield "failing since", time_text(endpoint.failing_since)
    for secret in endpoint.secrets:
        until = f", signs until {time_text(secret.signs_until)}" if secret.signs_until else ""
        yield "secret", f"of {time_text(secret.created_at)}{until}"


def _rows(delivery: Delivery) -> Iterator[tuple[str | Text, ...]]:
    """One for each try; what is to come, or why there is no more, is the last."""
    tries: list[tuple[str, str, str, str]] = []
    for number, each in enumerate(delivery.tries, delivery.tried - len(delivery.tries) + 1):
        answer = shortened(each.error or str(each.status), SHORT)
        tries.append((str(number), time_text(each.at), f"{each.seconds:.2f} s", answer))
    if delivery.next_try_at:
        tries.append(("next", time_text(delivery.next_try_at), "", ""))
    if delivery.reason:
        tries.append(("", "", "", shortened(delivery.reason, SHORT)))
    status = Text(delivery.status, STYLES.get(delivery.status, ""))
    first: tuple[str | Text, ...] = (delivery.id, delivery.type, delivery.to, status)
    for row in tries or [("", "", "", "")]:
        yield (*first, *row)
        first = ("", "", "", "")
