"""What runs inside the emulator's process: MiniStack on a loopback socket that was opened for it.

It is started by `dev.emulator`, in a clean environment, and ends itself when whoever started it is gone.
"""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app  # type: ignore[import-untyped]
from ministack.core import iam_evaluator, lambda_runtime  # type: ignore[import-untyped]
from ministack.services import eventbridge  # type: ignore[import-untyped]

from dev import MARK
from dev.decisions import tell
from dev.firings import telling_the_time


class LiveWorker(lambda_runtime.Worker):  # type: ignore[misc]
    """A function's process whose log lines come out as they are written, not when the invocation ends."""

    def invoke(self, *arguments: Any, **options: Any) -> Any:
        response = super().invoke(*arguments, **options)
        for line in (response.get("trace") or "").splitlines():  # Lambda's own runtime would log it
            self._show(line)
        return response

    def _read_stderr(self) -> None:
        for line in self._proc.stderr:
            self._show(line.rstrip("\n"))
            self._stderr_queue.put(line.rstrip("\n"))

    def _show(self, line: str) -> None:
        print(f"{MARK}{self.func_name}{MARK}{line}", flush=True)


def main(listener: int, function_python: str, saved: Path) -> None:
    quiet()
    # MiniStack runs functions with its own interpreter, whichever that is said to be.
    sys.executable = function_python
    lambda_runtime.Worker = LiveWorker
    if decisions := os.environ.get("DECISIONS"):
        tell(iam_evaluator, Path(decisions))
    eventbridge._invoke_target = telling_the_time(eventbridge._invoke_target)
    raise_file_limit()
    asyncio.run(serve_until_told(listener, saved))


async def serve_until_told(listener: int, saved: Path) -> None:
    config = Config()
    config.bind = [f"fd://{listener}"]
    config.loglevel = "WARNING"
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    await serve(app, config, shutdown_trigger=told_to_stop().wait)
    saved.touch()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # the functions, and ourselves
    os._exit(0)  # a plain exit would wait for the threads of invocations that are under way


def told_to_stop() -> asyncio.Event:
    """Set by SIGTERM, SIGINT, or the end of standard input: the last is how a killed parent is noticed."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(sys.stdin, stop.set)
    return stop


def quiet() -> None:
    """Only what went wrong. (Not by LOG_LEVEL: functions would inherit it, and Powertools obeys it.)"""
    handler = logging.getLogger().handlers[0]
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    # A failed invocation is told with all that the function wrote, which has been shown already.
    handler.addFilter(first_line_only)
    logging.getLogger("samtranslator").setLevel(logging.ERROR)


def first_line_only(record: logging.LogRecord) -> bool:
    record.msg, record.args = record.getMessage().split("\n", 1)[0], None
    return True


def raise_file_limit() -> None:
    """Each function's process holds three pipes; the default limit of some systems is 256."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
