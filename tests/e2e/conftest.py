"""One deployment for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dev.emulator import Emulator
from dev.logs import Stream
from tests.e2e.deployment import RUNTIME, Deployment, build, deploy, lambda_python, runtime


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two halves that `make e2e` runs side by side, since they wait more than they work."""
    for item in items:
        if "built" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.deployment)


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The functions' interpreter."""
    if runtime() is None:
        pytest.skip(f"no {RUNTIME} on this machine: the functions can be neither built nor run as in Lambda")
    return lambda_python(tmp_path_factory.mktemp("lambda"))


@pytest.fixture(scope="session")
def built(python: str) -> Path:
    """The template with what `sam build` has made of the functions."""
    return build()


@pytest.fixture(scope="session")
def deployment(built: Path, python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    emulator = Emulator(tmp_path_factory.mktemp("emulator"), roles=True, python=python, on_line=Stream().emulator)
    try:
        emulator.start()
        emulator.wait_until_ready()
        yield deploy(built, emulator)
    finally:
        emulator.stop()


@pytest.fixture(scope="session")
def acme(deployment: Deployment) -> Iterator[httpx.Client]:
    with deployment.http("acme") as http:
        yield http


@pytest.fixture(scope="session")
def stranger(deployment: Deployment) -> Iterator[httpx.Client]:
    with deployment.http("stranger") as http:
        yield http
