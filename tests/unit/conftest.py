"""The client and the command line against a scripted service."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from longrun import Client
from tests.unit.scripted_service import Caller, ScriptedService

Run = Callable[..., Result]


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with ScriptedService().running() as service:
        yield service


@pytest.fixture(params=["blocking", "async"])
def call(request: pytest.FixtureRequest, service: ScriptedService) -> Caller:
    return Caller(request.param, service.url)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without settings."""
    monkeypatch.setattr("typer.get_app_dir", lambda name: str(tmp_path / name))
    for name in ("LONGRUN_URL", "LONGRUN_API_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(service: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `longrun` with these arguments against the scripted service, without its pauses."""
    from longrun.cli import app  # here: most tests need no command line

    monkeypatch.setattr("longrun.cli.Client", partial(Client, sleep=lambda seconds: None))

    def run(*arguments: str, **options: Any) -> Result:
        runner = CliRunner(env={"LONGRUN_URL": service.url, "LONGRUN_API_KEY": "secret-key"})
        return runner.invoke(app, list(arguments), catch_exceptions=False, **options)

    return run
