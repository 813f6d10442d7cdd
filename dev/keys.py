"""API keys from the command line: `make key OWNER=acme`, `make keys OWNER=acme`, `make revoke OWNER=acme KEY_ID=…`.

With --stack the keys are a deployment's, reached with your AWS credentials; without, the local stack's (`make run`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from common.keys import CACHE_LIFE, Keys, NotAnOwner

HOME = Path(__file__).parent.parent / ".longrun"


class NoStack(Exception):
    """There is nothing to make keys or limits for."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        return _run(options, _keys(options.stack, options.home))
    except (NoStack, NotAnOwner, BotoCoreError, ClientError) as error:
        Console(stderr=True).print(f"[red]{error}[/red]")
        return 1


def _run(options: argparse.Namespace, keys: Keys) -> int:
    console = Console()
    match options.command:
        case "create":
            key, info = keys.create(options.owner, options.name, time.time())
            Console(stderr=True).print(f"A key for {info.owner}, id {info.id}. It is shown this once; keep it safe:")
            sys.stdout.write(f"{key}\n")
        case "list":
            table = Table("id", "name", "created", title=f"API keys of {options.owner}")
            for found in keys.list(options.owner):
                created = datetime.fromtimestamp(found.created_at, UTC).isoformat(timespec="seconds")
                table.add_row(found.id, found.name, created)
            console.print(table)
        case "revoke":
            if not keys.revoke(options.owner, options.key_id):
                Console(stderr=True).print(f"[red]{options.owner} has no key {options.key_id}.[/red] Try: make keys")
                return 1
            console.print(f"Revoked. It may work for up to {CACHE_LIFE} s more.")
    return 0


def _keys(stack: str | None, home: Path) -> Keys:
    client, outputs = reach(stack, home)
    return Keys(client, outputs["TableName"])


def reach(stack: str | None, home: Path) -> tuple[Any, dict[str, str]]:
    """A client of the database of a deployment, or of the local stack, and the stack's outputs. Raises NoStack."""
    if stack:
        session = boto3.session.Session()
        described = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
        return session.client("dynamodb"), outputs
    from dev.emulator import root

    try:
        memory: dict[str, Any] = json.loads((home / "stack.json").read_text())
        outputs, port = dict(memory["outputs"]), memory["port"]
    except (OSError, ValueError, KeyError):
        outputs, port = {}, 0
    if "TableName" not in outputs:
        raise NoStack("There is no local stack. Start it with `make run`, or name a deployment: STACK=…")
    return boto3.session.Session().client("dynamodb", endpoint_url=f"http://127.0.0.1:{port}", **root()), outputs


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.keys", description=__doc__)
    parser.add_argument("command", choices=["create", "list", "revoke"])
    parser.add_argument("--owner", required=True, help="whose keys")
    parser.add_argument("--name", default="", help="what a new key is for, to tell keys apart")
    parser.add_argument("--key-id", default="", help="which key to revoke")
    parser.add_argument("--stack", help="the CloudFormation stack of a deployment")
    parser.add_argument("--home", type=Path, default=HOME, help="where the local stack is kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
