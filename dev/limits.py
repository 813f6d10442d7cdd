"""An owner's own limits from the command line: `make limits OWNER=acme RUNNING=5 PER_MINUTE=100`.

Without numbers it shows what the owner has; FORGET=1 makes the deployment's limits the owner's again. With --stack the
limits are a deployment's, reached with your AWS credentials; without, the local stack's (`make run`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from common.keys import NotAnOwner, check_owner
from common.limits import CACHE_LIFE, Limits, OwnerLimits
from dev.keys import HOME, NoStack, reach

#: What an owner has no limit of its own of, before the deployment's are known.
UNSAID = -1


class NotLookedAt(Exception):
    """The deployment looks for nobody's own limits."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        check_owner(options.owner)
        limits = _limits(options.stack, options.home)
        _run(options, limits)
    except (NoStack, NotAnOwner, NotLookedAt, BotoCoreError, ClientError) as error:
        Console(stderr=True).print(f"[red]{error}[/red]")
        return 1
    return 0


def _run(options: argparse.Namespace, limits: Limits) -> None:
    console = Console()
    before = limits.read(options.owner) or OwnerLimits(UNSAID, UNSAID)
    if options.forget:
        limits.forget(options.owner)
    elif options.running is not None or options.per_minute is not None:
        limits.write(
            options.owner,
            running=_kept(options.running, before.running),
            per_minute=_kept(options.per_minute, before.per_minute),
        )
    else:
        console.print(_told(options.owner, before))
        return
    console.print(_told(options.owner, limits.read(options.owner) or OwnerLimits(UNSAID, UNSAID)))
    console.print(f"It may take {CACHE_LIFE} s until every function knows.")


def _kept(given: int | None, before: int) -> int | None:
    if given is not None:
        return given
    return None if before == UNSAID else before


def _told(owner: str, limits: OwnerLimits) -> str:
    words = {UNSAID: "as the deployment says", 0: "any number"}
    running, per_minute = (words.get(n, str(n)) for n in (limits.running, limits.per_minute))
    return f"{owner}: running at a time: {running}; submissions a minute: {per_minute}"


def _limits(stack: str | None, home: Path) -> Limits:
    """Raises NoStack, NotLookedAt."""
    client, outputs = reach(stack, home)
    if outputs.get("OwnerOverrides") != "On":
        raise NotLookedAt(f"{stack} looks for nobody's own limits: deploy it with the parameter OwnerOverrides=On.")
    return Limits(client, outputs["TableName"], OwnerLimits(UNSAID, UNSAID), overrides=True)


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError("a limit is 0 (any number) to 1,000,000")
    return number


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.limits", description=__doc__)
    parser.add_argument("--owner", required=True, help="whose limits")
    parser.add_argument("--running", type=_count, help="jobs that may run at a time; 0 for any number")
    parser.add_argument("--per-minute", type=_count, help="submissions a minute; 0 for any number")
    parser.add_argument("--forget", action="store_true", help="no limits of its own any more")
    parser.add_argument("--stack", help="the CloudFormation stack of a deployment")
    parser.add_argument("--home", type=Path, default=HOME, help="where the local stack is kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
