"""What every command is given: the client and the output that the global options describe."""

from typing import NamedTuple

import typer

from longrun import config
from longrun.cli_output import Output
from longrun.client import DEFAULT_URL, Client


class Session(NamedTuple):
    """The client to ask, and where to write."""

    client: Client
    output: Output


def session(ctx: typer.Context) -> Session:
    """The session of this command."""
    found: Session = ctx.find_root().obj
    return found


def default_url() -> str:
    """Where the chosen deployment answers, or a laptop's stack. Raises InvalidInput for a choice that cannot be read."""
    place = config.chosen()
    return DEFAULT_URL if place is None else place.outputs.get("ApiUrl", DEFAULT_URL)
