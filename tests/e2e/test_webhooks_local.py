"""Webhooks on a laptop: a job of `make run` ends, and `longrun webhooks listen --register` has the message, verified."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dev.emulator import until
from tests.e2e import test_run
from tests.e2e.test_run import START_LIMIT, STOP_LIMIT, Run, Start

sources, start = test_run.sources, test_run.start  # pytest's
JsonLines = list[dict[str, Any]]


#: Whatever started us may ignore Ctrl-C, as a shell does for what it runs in the background; and children inherit that.
INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from longrun.cli import main; main()"
)


class Listener:
    """One `longrun webhooks listen --register --json`, and what it has written."""

    def __init__(self, run: Run, *options: str) -> None:
        self.lines: JsonLines = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, "webhooks", "listen", "--register", "--json",
             "--port", "0", *options],
            env=os.environ | {"LONGRUN_URL": str(run.http.base_url), "LONGRUN_WEBHOOK_SECRET": ""},
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, count: int) -> JsonLines:
        until(lambda: len(self.lines) >= count, seconds=START_LIMIT, what=f"line {count} of the listener")
        return self.lines

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_LIMIT)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))


@pytest.fixture
def run(start: Start) -> Iterator[Run]:
    found = start()
    found.wait_for("Ready on http://localhost:")
    yield found
    assert found.stop() == 0


def test_a_listener_gets_what_a_job_s_end_sends_until_it_takes_it(run: Run) -> None:
    listener = Listener(run, "--fail", "1")
    try:
        [first] = listener.wait_for(1)
        assert run.http.get("/webhook").json()["url"] == first["listening"]
        job = run.complete("told")
        _, refused, taken = listener.wait_for(3)
        assert (refused["verified"], refused["answered"], refused["try"]) == (True, 500, 1)
        assert (taken["verified"], taken["answered"], taken["try"]) == (True, 204, 2)
        assert (taken["type"], taken["job"], taken["status"]) == ("job.completed", job["id"], "completed")
        assert taken["id"] == refused["id"]
        assert taken["message"] == refused["message"]
        assert taken["message"]["data"]["job"]["result"] == {"value": "told"}

        def delivered() -> Any:
            found = run.http.get(f"/jobs/{job['id']}/deliveries").json()["deliveries"]
            return found if found[0]["status"] == "delivered" else None

        [delivery] = until(delivered, seconds=START_LIMIT, what="the second try's record")
        assert [each["status"] for each in delivery["tries"]] == [500, 204]
        assert listener.stop() == 130
        assert run.http.get("/webhook").json()["url"] is None
    finally:
        listener.process.kill()
        listener.process.wait(STOP_LIMIT)
