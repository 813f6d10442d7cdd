"""The command that says what a month of given traffic costs."""

import typer


def cost(ctx: typer.Context) -> None:
    """Say what a month of given traffic costs."""
