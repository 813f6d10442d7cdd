"""The command that listens for webhooks on this machine, verifies them and shows what came."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated

import typer
from rich.text import Text

from longrun.cli_errors import failure
from longrun.cli_output import Output
from longrun.cli_session import session
from longrun.cli_text import cleaned, shortened
from longrun.client import Client
from longrun.errors import Conflict, InvalidInput, InvalidRequest, LongrunError
from longrun.webhooks_receiver import Received, Receiver

#: How long the old secret signs beside a new one, in seconds: where an address of somebody's is told, and where none is.
OVERLAP, SHORT_OVERLAP = 86_400, 60
#: What ends it besides Ctrl-C; Windows has no SIGHUP.
ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def listen(
    ctx: typer.Context,
    *,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where, on 127.0.0.1; 0 for any free port.")] = 9000,
    secret: Annotated[
        str | None, typer.Option(envvar="LONGRUN_WEBHOOK_SECRET", metavar="whsec_…", help="What signs the messages.")
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Be your endpoint for as long as it listens (a local stack only).")
    ] = False,
    fail: Annotated[int, typer.Option(min=0, metavar="N", help="Answer the first N tries of each with 500.")] = 0,
) -> None:
    """Receive webhooks on this machine, verify them, and write what comes; with --json, a line of JSON for each.

    The first line of JSON says where it listens. Ctrl-C ends it.
    """
    client, output = session(ctx)
    if secret is None and not register:
        raise typer.BadParameter("give the secret that signs, or --register", param_hint="--secret")
    try:
        receiver = Receiver(port, fail)
    except OSError as error:
        raise typer.BadParameter(f"port {port}: {error.strerror}", param_hint="--port") from error
    if secret is not None:
        receiver.verify_with(secret)
    with ended_by_signals(), receiver.listening():
        if register:
            with registered(client, output, receiver.url, secret) as made:
                receiver.verify_with(secret or made)
                show_all(output, receiver, made=None if secret else made)
        else:
            show_all(output, receiver)


def show_all(output: Output, receiver: Receiver, made: str | None = None) -> None:
    """Write what comes, for ever; first where it is listened, and the secret if that was `made` for this."""
    output.note(f"listening on {receiver.url}; Ctrl-C ends it", "green")
    if output.machine:
        typer.echo(json.dumps({"listening": receiver.url} | ({"secret": made} if made else {})))
    for received in receiver.messages():
        if output.machine:
            typer.echo(json.dumps(received.as_json()))
        else:
            output.out.print(received_text(received), soft_wrap=True)


@contextmanager
def registered(client: Client, output: Output, url: str, secret: str | None) -> Iterator[str]:
    """Makes `url` the caller's endpoint for as long as the block takes, and puts back what was there.

    Gives the secret that signs: the one that was given, or one that was made. Raises InvalidRequest in a deployment.
    """
    before = client.webhook()
    there = before.url if before.url != url else None  # One that was killed could not put it back.
    try:
        yield _enter(client, output, url, secret, overlap=OVERLAP if there else SHORT_OVERLAP)
    finally:
        try:
            _put_back(client, output, url, there)
        except LongrunError as error:
            error.add_note(f"your endpoint is still {url}: `longrun webhooks {_back(there)}` puts it back")
            output.failure(failure(error))


def _enter(client: Client, output: Output, url: str, secret: str | None, overlap: int) -> str:
    try:
        made = client.set_webhook(url).secret
        if made is None and secret is None:
            made = client.rotate_webhook_secret(overlap).secret
            output.note(
                "a new secret signs, as the old one is not shown again; "
                f"that one signs as well for {'a day' if overlap == OVERLAP else 'a minute'}"
            )
    except InvalidRequest as error:
        error.add_note(
            f"a deployment cannot call this machine: open a tunnel that leads to {url}, "
            "`longrun webhooks set` its https address, and listen with --secret"
        )
        raise
    except Conflict as error:
        error.add_note("give the latest with --secret, or end the old ones: `longrun webhooks rotate --overlap 0`")
        raise
    output.note(f"your endpoint is {url} as long as this goes on")
    if secret is not None:
        return secret
    if made is None:
        raise InvalidInput("the service showed no secret; give it with --secret")
    output.note(f"the secret: {made} (next time, give it in LONGRUN_WEBHOOK_SECRET)")
    return made


def _put_back(client: Client, output: Output, url: str, there: str | None) -> None:
    if client.webhook().url != url:
        return  # It was refused, or somebody has set another.
    if there:
        client.set_webhook(there)
        output.note(f"your endpoint is {there} again, and enabled")
    else:
        client.remove_webhook()
        output.note("your endpoint is removed again")


def _back(there: str | None) -> str:
    return f"set {there}" if there else "remove"


def received_text(received: Received) -> Text:
    """A message on one line."""
    mark, style = ("✓ verified", "green") if received.verified else (f"✗ {received.error}", "bold red")
    # Whoever can reach the port can say anything: none of it is long, or steers the terminal.
    what = f"{received.type or '?'}  {received.id or '?'}  job {received.job or '?'} {received.status or '?'}"
    number = f"try {received.number} → {received.answered}"
    return Text.assemble((cleaned(mark), style), f"  {cleaned(shortened(what, 200))}  ", (number, "dim"))


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Ends the command in good order on other signals than Ctrl-C too, with 128 and their number."""

    def end(number: int, _frame: FrameType | None) -> None:
        for ending in ENDINGS:
            signal.signal(ending, signal.SIG_IGN)  # What is being put back shall not be cut off.
        raise typer.Exit(128 + number)

    before = {}
    with suppress(ValueError):  # Not in the main thread: then nobody sends any.
        before = {number: signal.signal(number, end) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
