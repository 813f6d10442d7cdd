"""Reading asks nobody, and costs nothing until something is read."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys

import pytest

from tasks.kit.reading import read
from tests.unit.reading.cases import CASES, ROOT, read_case


def test_reading_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a parser wants to use the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    read("text/html", b'<html><base href="http://example.com"><link rel=stylesheet href=x.css><img src=y.png><p>Text.')
    for path in CASES.iterdir():
        read_case(path.name)


@pytest.mark.parametrize("module", ["reading", "analysis"])
def test_a_task_module_costs_nothing_to_import(module: str) -> None:
    spec = importlib.util.find_spec(f"tasks.kit.{module}")
    assert spec
    code = f"import runpy, sys; runpy.run_path({spec.origin!r}); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    heavy = {
        "pypdf",
        "resiliparse",
        "markdown_it",
        "numpy",
        "networkx",
        "yake",
        "py3langid",
        "sentencex",
        "rjieba",
        "regex",
    }
    assert not heavy & set(loaded)
