"""The commands about the deployment that the other commands work with."""

from typing import Annotated

import typer

from longrun import config
from longrun.cli_session import session
from longrun.deployment import Deployment

Stack = Annotated[str | None, typer.Option(metavar="NAME", help="A CloudFormation stack; else the chosen one.")]
Region = Annotated[str | None, typer.Option(metavar="REGION", help="Its AWS region; else your credentials' default.")]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="The profile of your AWS credentials.")]

settings = typer.Typer(no_args_is_help=True, help="Choose the deployment that all commands work with.")


@settings.command()
def use(
    ctx: typer.Context,
    *,
    stack: Annotated[str, typer.Option(metavar="NAME", help="Its CloudFormation stack.", show_default=False)],
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Read a stack's outputs and remember them: LONGRUN_URL is not needed any more (it and --url still win)."""
    output = session(ctx).output
    deployment = Deployment.of(stack, region, profile)
    url = deployment.output("ApiUrl")
    config.choose(deployment.place)
    if output.machine:
        output.document(deployment.place)
    else:
        output.note(f"{stack} is used from now on: {url}")
        output.note("your key is not kept here: it stays in LONGRUN_API_KEY")


@settings.command()
def show(ctx: typer.Context) -> None:
    """Show the chosen deployment, and where the choice is kept."""
    output = session(ctx).output
    place = config.chosen()
    if output.machine:
        output.document({"path": str(config.path()), "chosen": place})
    elif place is None:
        output.note("none is chosen; choose one with `longrun config use --stack NAME`")
    else:
        facts = {"stack": place.stack, "region": place.region or "", "profile": place.profile or "", **place.outputs}
        output.facts([*facts.items(), ("kept in", str(config.path()))])
