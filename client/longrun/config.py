"""The deployment that was chosen with `longrun config use`, kept among the user's own settings. No secrets are."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

import typer

from longrun.errors import InvalidInput


@dataclass(frozen=True)
class Place:
    """A CloudFormation stack and how to reach it; `outputs` are its outputs, by name."""

    stack: str
    region: str | None = None
    profile: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)


def path() -> Path:
    """Where the choice is kept: `~/.config/longrun/config.json`, or what the platform has instead."""
    return Path(typer.get_app_dir("longrun")) / "config.json"


def chosen() -> Place | None:
    """The chosen deployment, if there is one. Raises InvalidInput for a file that cannot be understood."""
    try:
        return Place(**json.loads(path().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        error_here = InvalidInput(f"{path()} cannot be read: {error}")
        error_here.add_note("write it anew with `longrun config use --stack NAME`, or delete it")
        raise error_here from None


def choose(place: Place) -> None:
    """Remember this deployment. Whoever reads meanwhile sees the old choice or the new one, whole."""
    path().parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path().parent, delete=False
    ) as file:  # readable by its owner alone
        json.dump(asdict(place), file, indent=2)
    os.replace(file.name, path())
