"""The command line `longrun`: its commands, its global options, and how it ends."""

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from longrun import (
    __version__,
    cli_documents,
    cli_durable,
    cli_events,
    cli_jobs,
    cli_ops_config,
    cli_ops_cost,
    cli_ops_dlq,
    cli_ops_doctor,
    cli_schedules,
    cli_webhooks,
)
from longrun.cli_errors import MEANINGS, ExitCode, Failure, failure
from longrun.cli_output import Output
from longrun.cli_session import Session, default_url, session
from longrun.client import DEFAULT_URL, Client
from longrun.errors import LongrunError

EPILOG = "\n".join(
    (
        "Global options may stand anywhere. Results go to stdout; progress, notes and errors go to stderr.",
        "",
        "Exit codes:",
        *(f"{code:>5}  {meaning}" for code, meaning in MEANINGS.items()),
    )
)


class Longrun(TyperGroup):
    """The whole command, which tells machines of errors in JSON and ends with a code of `ExitCode`."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run and exit."""
        ours, others = split_globals(sys.argv[1:] if args is None else args)
        machine = "--json" in ours
        if machine:
            options["standalone_mode"] = False  # Else typer itself shows wrong usage, to people.
        try:
            code = super().main(ours + others, *rest, **options)
        except LongrunError as error:
            _fail(failure(error), machine=machine)
        except typer.TyperException as error:
            _fail(Failure(ExitCode.INVALID, "UsageError", error.format_message()), machine=machine)
        sys.exit(code)


app = typer.Typer(
    cls=Longrun,
    name="longrun",
    help="Run jobs for AI agents, and follow them.",
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # A traceback with local variables would show the key.
    pretty_exceptions_enable=False,
)


@app.callback()
def root(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="LONGRUN_URL",
            help=f"Where the service is; else the deployment of `longrun config use`, or {DEFAULT_URL}.",
        ),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="LONGRUN_API_KEY", help="Your key; better set in the environment.")
    ] = None,
    machine: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, errors as JSON.")] = False,
) -> None:
    """Run jobs for AI agents, and follow them."""
    # `config` mends a choice that cannot be read, so it goes without.
    client = Client(url or (DEFAULT_URL if ctx.invoked_subcommand == "config" else default_url()), api_key)
    ctx.call_on_close(client.close)
    ctx.obj = Session(client, Output.standard(machine=machine))


app.command()(cli_jobs.tasks)
app.command()(cli_jobs.submit)
app.command()(cli_jobs.watch)
app.command()(cli_events.events)
app.command("list")(cli_jobs.list_jobs)
app.command()(cli_jobs.show)
app.command()(cli_jobs.result)
app.command()(cli_jobs.cancel)
app.command()(cli_durable.ask)
app.command("questions", hidden=True)(cli_durable.ask)
app.command()(cli_durable.answer)
app.command()(cli_durable.retry)
app.command()(cli_durable.tree)
app.command()(cli_jobs.delete)
app.add_typer(cli_documents.documents, name="documents")
app.add_typer(cli_webhooks.webhooks, name="webhooks")
app.add_typer(cli_schedules.schedules, name="schedule")
app.add_typer(cli_ops_config.settings, name="config")
app.add_typer(cli_ops_dlq.letters, name="dlq")
app.command()(cli_ops_doctor.doctor)
app.command()(cli_ops_cost.cost)


@app.command()
def health(ctx: typer.Context) -> None:
    """Ask the service whether it is well."""
    client, output = session(ctx)
    found = client.health()
    if output.machine:
        output.document({"status": found.status, "url": client.url})
    else:
        output.line(f"{found.status}  {client.url}")


@app.command()
def version(ctx: typer.Context) -> None:
    """Show the version of this client."""
    output = session(ctx).output
    if output.machine:
        output.document({"version": __version__})
    else:
        output.line(f"longrun {__version__}")


def split_globals(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """The global options, wherever they stand, and everything else."""
    ours: list[str] = []
    others: list[str] = []
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            others += [argument, *left]
        elif argument == "--json" or argument.startswith(("--url=", "--api-key=")):
            ours.append(argument)
        elif argument in ("--url", "--api-key"):
            ours += [argument, *(value for value in [next(left, None)] if value is not None)]
        else:
            others.append(argument)
    return ours, others


def _fail(failed: Failure, *, machine: bool) -> NoReturn:
    Output.standard(machine=machine).failure(failed)
    sys.exit(failed.code)


def main() -> None:
    """Run the command line."""
    app(prog_name="longrun")
