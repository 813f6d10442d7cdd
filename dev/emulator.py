"""MiniStack, an emulator of AWS, as a child process: started, reached, stopped."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from dev.package import ROOT, RUNTIME

REGION = "us-east-1"
#: Whoever calls with these is the account's root; a function has its role's own.
ROOT_KEY, ROOT_SECRET = "test", "test"

#: Seconds that a start may take (0.3 measured), and a stop, which saves the state.
START_LIMIT, STOP_LIMIT = 30, 15


class EmulatorFailed(Exception):
    """The emulator did not start, or stopped by itself."""


class Emulator:
    """One MiniStack on the loopback interface, with its files under `home`.

    `port` 0 takes a free one. `roles` enforces the functions' IAM roles. `python` is the interpreter that functions
    run in. Lines that functions and the emulator write go to `on_line`.
    """

    def __init__(
        self,
        home: Path,
        *,
        port: int = 0,
        roles: bool = False,
        python: str = sys.executable,
        on_line: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.home = home.resolve()
        self.roles = roles
        self.python = python
        self.on_line = on_line
        self.listener = listen(port)
        self.port: int = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[str] | None = None

    @property
    def saved(self) -> Path:
        """Exists only while the state on disk is whole: written at a clean stop, removed at the start."""
        return self.home / "saved"

    @property
    def decisions(self) -> Path:
        """With roles enforced, all that they were asked for."""
        return self.home / "decisions.jsonl"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, keep_open: IO[str] | None = None) -> None:
        """Returns at once; `keep_open` is a file that the emulator holds open, and so locked, until it ends."""
        scratch = self.home / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)  # what the functions of a killed run have left
        scratch.mkdir(parents=True)
        self.saved.unlink(missing_ok=True)
        fd = self.listener.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dev.emulated", str(fd), self.python, str(self.saved)],
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=[fd, keep_open.fileno()] if keep_open else [fd],
            # Ctrl-C must reach it through us, after the work is stopped; and its group can be ended as one.
            start_new_session=True,
        )
        threading.Thread(target=self._pass_lines_on, daemon=True).start()
        # The socket listens already, so connecting waits for the emulator by itself.
        self.listener.close()

    def wait_until_ready(self) -> None:
        try:
            self.call("/_ministack/health", timeout=START_LIMIT)
        except OSError as error:
            raise EmulatorFailed(f"The emulator did not start: {error}") from error

    def stop(self) -> None:
        """Ask it to save its state and stop; then end what is left of it and of the functions."""
        process, self._process = self._process, None
        self.listener.close()
        if process is None:
            return
        try:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_LIMIT)
        finally:  # also when an impatient Ctrl-C ends the waiting
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_LIMIT)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def client(self, service: Any) -> Any:
        """A boto3 client of the account's root."""
        import boto3  # slow, and a kept stack that needs no change does without

        return boto3.session.Session().client(service, endpoint_url=self.url, **root())

    def call(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, *, timeout: float = 10
    ) -> bytes:
        """The answer to an unsigned request; `OSError` if it is an error."""
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body, headers or {}), timeout=timeout) as a:
            return bytes(a.read())

    def function_pids(self, function_name: str) -> list[int]:
        """The processes that run a function now. Each one's code lies in a folder named after the function."""
        mark = re.compile(rf"ministack-lambda-{re.escape(function_name)}-\w+/_worker\.py")
        listing = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,pgid=,command="], capture_output=True, text=True, check=True, timeout=10
        ).stdout
        rows = [line.split(None, 2) for line in listing.splitlines() if mark.search(line)]
        return [int(pid) for pid, group, _ in rows if int(group) == self.pid]

    def _pass_lines_on(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.on_line(line.rstrip("\n"))

    def _environment(self) -> dict[str, str]:
        """All that the emulator is told. Functions inherit it, so nothing of the caller's own is in it."""
        return {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(RUNTIME),
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
            "AUTH": "true" if self.roles else "false",
            **({"DECISIONS": str(self.decisions)} if self.roles else {}),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.home / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.home / "s3"),
            # Doors that Longrun does not use. The Docker one would remove other emulators' containers at the start.
            "BIND_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": "unix:///nonexistent",
        }


def listen(port: int) -> socket.socket:
    """A listening loopback socket; `OSError` if the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(256)
    except OSError:
        listener.close()
        raise
    return listener


def root() -> dict[str, Any]:
    """What boto3 needs to call the emulator as the account's root."""
    return {"region_name": REGION, "aws_access_key_id": ROOT_KEY, "aws_secret_access_key": ROOT_SECRET}


def until(condition: Callable[[], Any], *, seconds: float, what: str, every: float = 0.1) -> Any:
    """Ask until the answer is true, and return it; `TimeoutError` names what did not happen."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(every)
    return answer
