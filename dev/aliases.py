"""The alias by which API and worker are called, once their settings or code were changed behind CloudFormation's back."""

from collections.abc import Iterable
from typing import Any

from dev.emulator import Emulator


def follow_latest(emulator: Emulator, functions: Iterable[str]) -> None:
    """Has every alias run what was uploaded last, from now on; old versions' processes would stay."""
    client = emulator.client("lambda")
    for function, alias in aliases(client, functions):
        client.update_alias(FunctionName=function, Name=alias, FunctionVersion="$LATEST")


def publish(emulator: Emulator, functions: Iterable[str]) -> None:
    """Has every alias run a version of what is there now, as a deployment does."""
    client = emulator.client("lambda")
    for function, alias in aliases(client, functions):
        version = client.publish_version(FunctionName=function)["Version"]
        client.get_waiter("published_version_active").wait(FunctionName=function, Qualifier=version)
        client.update_alias(FunctionName=function, Name=alias, FunctionVersion=version)


def aliases(client: Any, functions: Iterable[str]) -> list[tuple[str, str]]:
    return [
        (function, alias["Name"])
        for function in functions
        for alias in client.list_aliases(FunctionName=function)["Aliases"]
    ]
