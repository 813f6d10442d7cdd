"""`make run` as a developer uses it: up, reloading, stopped, killed, and up again. It runs in a copy of the sources."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.emulator import until
from tests.e2e.deployment import ROOT, wait_for_end

#: Seconds; several times what it takes, since other tests' machines are slow.
START_LIMIT, STOP_LIMIT = 60, 30

Start = Callable[..., "Run"]


class Run:
    """One `python -m dev.run`, and what it has written."""

    def __init__(self, sources: Path, port: int, *options: str) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dev.run", "--port", str(port), *options],
            cwd=sources,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, text: str) -> None:
        try:
            until(lambda: text in self.output, seconds=START_LIMIT, what=f"the line {text!r}")
        except TimeoutError:
            pytest.fail(f"{text!r} is not among:\n{self.output}")

    def complete(self, value: str) -> dict[str, Any]:
        """A job, completed."""
        accepted = self.http.post("/jobs", json={"task": "echo", "input": {"value": value}})
        return wait_for_end(self.http, accepted.raise_for_status().json()["id"], seconds=START_LIMIT)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_LIMIT)

    def close(self) -> None:
        self.http.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()  # its children notice
        self.process.wait(STOP_LIMIT)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for folder in ("common", "dev", "functions", "tasks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "template.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def start(sources: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as runs:

        def start_one(port: int | None = None, *options: str) -> Run:
            run = Run(sources, port or free_port(), *options)
            runs.callback(run.close)
            return run

        yield start_one


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_jobs_are_kept_from_one_run_to_the_next(start: Start) -> None:
    first = start()
    first.wait_for("Ready on http://localhost:")
    job = first.complete("kept")
    assert job["status"] == "completed"
    first.wait_for(job["id"])  # the worker's own line names the job
    assert first.stop() == 0

    second = start()
    second.wait_for("Ready on http://localhost:")
    assert second.http.get(f"/jobs/{job['id']}").json()["result"] == {"value": "kept"}
    assert second.complete("new")["status"] == "completed"
    assert second.stop(signal.SIGTERM) == 0
    assert "afresh" not in second.output


def test_a_change_of_a_task_and_of_the_api_is_seen_at_once(start: Start, sources: Path) -> None:
    run = start()
    run.wait_for("Ready on http://localhost:")
    run.complete("warm")
    replace_in(sources / "tasks" / "echo.py", "return input.", 'return {"edited": True} | input.')
    run.wait_for("Reloaded after tasks/echo.py")
    assert run.complete("again")["result"] == {"edited": True, "value": "again"}

    # The API waits through its own reload, and a mistake is shown, and forgiven when it is mended.
    application = sources / "functions" / "api" / "application.py"
    text = application.read_text()
    application.write_text("this is a mistake\n" + text)
    run.wait_for("SyntaxError")
    application.write_text(text)
    run.wait_for("Reloaded after functions/api/application.py")
    assert run.http.get("/health").json() == {"status": "ok"}


def test_a_killed_run_does_not_hinder_the_next(start: Start) -> None:
    killed = start()
    killed.wait_for("Ready on http://localhost:")
    for pid in (*children(killed.process.pid), killed.process.pid):
        os.kill(pid, signal.SIGKILL)
    killed.process.wait(STOP_LIMIT)

    run = start()
    run.wait_for("killed before it could save")
    run.wait_for("Ready on http://localhost:")
    assert run.complete("afresh")["status"] == "completed"
    assert run.stop() == 0


def test_a_killed_run_leaves_no_processes_behind(start: Start) -> None:
    run = start()
    run.wait_for("Ready on http://localhost:")
    run.complete("one")
    left = children(run.process.pid)
    assert left
    run.process.kill()
    until(lambda: not any(map(is_alive, left)), seconds=STOP_LIMIT, what="the end of its children")


def test_a_taken_port_is_named_with_the_way_out(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        run = start(other.getsockname()[1])
        assert run.process.wait(START_LIMIT) == 1
    assert "make run PORT=" in run.output
    assert "Traceback" not in run.output


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def children(pid: int) -> list[int]:
    rows = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True, timeout=10)
    pairs = (map(int, row.split()) for row in rows.stdout.splitlines())
    return [child for child, parent in pairs if parent == pid]


def is_alive(pid: int) -> bool:
    """Not counting those that have ended and wait for their end to be noticed."""
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, timeout=10, check=False
    )
    return shown.returncode == 0 and not shown.stdout.strip().startswith("Z")


def test_time_is_bounded() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="never"):
        until(lambda: False, seconds=0.2, what="never")
    assert time.monotonic() - started < 5
