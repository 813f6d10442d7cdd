"""What the roles of functions were asked for on the emulator, and whether they had it: a line of JSON for each."""

import json
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ASKED: ContextVar[Any] = ContextVar("asked", default=None)


@dataclass(frozen=True)
class Decision:
    role: str
    action: str
    resource: str
    allowed: bool


def tell(evaluator: Any, path: Path) -> None:
    """Has the emulator's evaluator of policies write down what it decides."""
    evaluate, enforce = evaluator.evaluate, evaluator.enforce

    def seen(context: Any, *policies: Any) -> Any:
        _ASKED.set(context)
        return evaluate(context, *policies)

    def told(*arguments: Any, **options: Any) -> Any:
        _ASKED.set(None)
        denied = enforce(*arguments, **options)
        if (asked := _ASKED.get()) is not None and ":assumed-role/" in asked.principal_arn:
            role = asked.principal_arn.split("/")[1]
            with path.open("a") as file:
                file.write(json.dumps([role, asked.action, asked.resource_arn, denied is None]) + "\n")
        return denied

    evaluator.evaluate, evaluator.enforce = seen, told


def read(path: Path) -> list[Decision]:
    return [Decision(*json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
