"""Research with a scripted model, on pages of loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functions.research.researching import Researcher
from tests.functions.scripted import use
from tests.model_server import ModelServer
from tests.page_server import PageServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as server:
        use(monkeypatch, server)
        server.otherwise = Researcher()
        yield server


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[PageServer]:
    monkeypatch.setenv("LONGRUN_LOOPBACK", "allow")
    with PageServer() as server:
        yield server
