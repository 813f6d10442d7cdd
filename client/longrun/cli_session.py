"""What every command is given: the client and the output that the global options describe."""

from typing import NamedTuple

import typer

from longrun.cli_output import Output
from longrun.client import Client


class Session(NamedTuple):
    """The client to ask, and where to write."""

    client: Client
    output: Output


def session(ctx: typer.Context) -> Session:
    """The session of this command."""
    found: Session = ctx.find_root().obj
    return found
