"""`make run`: the API on http://localhost:8000, its queue and functions behind it, all of it reloaded on save."""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import watchfiles

from dev.emulator import listen
from dev.kept import BROKEN, HomeInUse, KeptStack, open_stack
from dev.logs import Stream
from dev.stack import ROOT, SOURCES, TEMPLATE

#: Seconds that requests under way may take to finish when the API is stopped or reloaded.
GRACE = 3


class Api:
    """The API under uvicorn. Its socket is ours, so callers wait through a reload instead of being refused."""

    def __init__(self, listener: socket.socket, stream: Stream) -> None:
        self.listener = listener
        self.stream = stream
        self._process: subprocess.Popen[str] | None = None
        self._settings: dict[str, str] | None = None

    def load(self) -> None:
        """Start the process. It serves once `serve` tells it the settings."""
        self._settings = None
        fd = self.listener.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dev.serve", str(fd), str(GRACE)],
            cwd=ROOT,
            # The caller's own AWS account must not be reached by mistake.
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=[fd],
            start_new_session=True,
        )
        threading.Thread(target=self._pass_lines_on, args=[self._process], daemon=True).start()

    def serve(self, settings: dict[str, str]) -> None:
        """Serve with these settings, anew if it does so with others."""
        if self._settings == settings:
            return
        if self._settings is not None:
            self.stop()
            self.load()
        self._settings = settings
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has died, and its traceback has been shown
            print(json.dumps(settings), file=self._process.stdin, flush=True)

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
            self.stream.api(line.rstrip("\n"))


@contextlib.contextmanager
def loaded(api: Api) -> Iterator[Api]:
    try:
        api.load()
        yield api
    finally:
        api.stop()


def reload_on_save(kept: KeptStack, api: Api, stream: Stream) -> None:
    """Until the emulator is gone: give the functions and the API each change of their files."""
    watched = [*(ROOT / folder for folder in SOURCES), TEMPLATE]
    for changes in watchfiles.watch(*watched, rust_timeout=1000, yield_on_timeout=True, raise_interrupt=True):
        if not kept.emulator.alive():
            raise BROKEN[0]("The emulator stopped by itself.")
        if changes:
            stream.say(f"{named(changes)} changed: reloading")
            try:
                kept.refresh()
            except BROKEN as error:
                stream.say(f"The functions keep their old code: {error}", "red")
            api.stop()
            api.load()
            api.serve(kept.stack.settings())


def named(changes: set[watchfiles.main.FileChange]) -> str:
    """Up to three of the files, without those that an editor made for a moment."""
    paths = sorted({Path(path) for _, path in changes}, key=lambda path: (not path.exists(), path))
    names = [str(path.relative_to(ROOT)) for path in paths if path.exists() or path is paths[0]]
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def announce(port: int, stream: Stream) -> None:
    """Say where the API is once it answers; its own traceback says why if it never does."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30):
        stream.say(f"Ready on http://localhost:{port} (try /docs). Ctrl-C stops it.", "bold green")


def stop_like_ctrl_c(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--home", type=Path, default=ROOT / ".longrun", help="where jobs are kept between runs")
    parser.add_argument("--fresh", action="store_true", help="forget the jobs of earlier runs")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a script's background jobs would ignore the first
        signal.signal(number, stop_like_ctrl_c)
    stream = Stream()
    try:
        listener = listen(options.port)
    except OSError as error:
        stream.say(f"Port {options.port} is taken ({error.strerror}). Take another one: make run PORT=8001", "red")
        return 1
    try:
        with (
            listener,
            loaded(Api(listener, stream)) as api,
            open_stack(
                options.home, fresh=options.fresh, on_line=stream.emulator, say=stream.say, expect=api.serve
            ) as kept,
        ):
            api.serve(kept.stack.settings())
            threading.Thread(target=announce, args=[options.port, stream], daemon=True).start()
            reload_on_save(kept, api, stream)
    except KeyboardInterrupt:
        stream.say("Stopped.")
    except (HomeInUse, *BROKEN) as error:
        stream.say(str(error), "red")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
