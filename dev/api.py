"""The API's process: loaded while the stack comes up, told where that is, started anew when its code changes."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

from dev.package import ROOT, RUNTIME

#: Seconds that requests under way may take to finish when the API is stopped or reloaded.
GRACE = 3


class Api:
    """The API under uvicorn. Its socket is ours, so callers wait through a reload instead of being refused."""

    def __init__(self, listener: socket.socket, on_line: Callable[[str], object]) -> None:
        self.listener = listener
        self.on_line = on_line
        self._process: subprocess.Popen[str] | None = None
        self._settings: dict[str, str] | None = None

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def load(self) -> None:
        """Start the process, which imports what does not depend on the settings."""
        self._settings = None
        fd = self.listener.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dev.serve", str(fd), str(GRACE)],
            cwd=ROOT,
            # The caller's own AWS account must not be reached by mistake.
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(RUNTIME)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=[fd],
            start_new_session=True,
        )
        threading.Thread(target=self._pass_lines_on, args=[self._process], daemon=True).start()

    def prepare(self, settings: dict[str, str]) -> None:
        """Have the application imported, with these settings; anew if that was done with others."""
        if self._settings == settings:
            return
        if self._settings is not None:
            self.stop()
            self.load()
        self._settings = settings
        self._tell(json.dumps(settings))

    def serve(self) -> None:
        self._tell("")

    def _tell(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has died, and its traceback has been shown
            print(line, file=self._process.stdin, flush=True)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE + 2)
        finally:
            process.kill()
            process.wait(GRACE)

    def _pass_lines_on(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.on_line(line.rstrip("\n"))


@contextlib.contextmanager
def loaded(api: Api) -> Iterator[Api]:
    try:
        api.load()
        yield api
    finally:
        api.stop()
