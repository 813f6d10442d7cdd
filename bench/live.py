"""How long a thought is on its way, from a task's ctx.thought() to a subscriber's WebSocket, on a local stack of its own.

usage: python -m bench.live [--thoughts N]       exit code 1 when the median is over the goal

The thoughts are further apart than the worker's rhythm, so that none waits for the one before it. An event says itself when it
happened, and task and subscriber read the same machine's clock.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
from rich.console import Console
from websockets.sync.client import ClientConnection, connect

from dev import interruptible
from dev.demo import local_stack
from dev.logs import Stream

#: Seconds between two thoughts: a worker writes what its tasks say at most once a second.
BETWEEN = 1.3
#: The median that is to be kept, in milliseconds.
GOAL = 300
#: Seconds without any message after which something must be wrong.
PATIENCE = 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-live", description=__doc__)
    parser.add_argument("--thoughts", type=int, default=40)
    options = parser.parse_args()
    interruptible()
    console = Console(highlight=False)
    with (
        local_stack(console, Stream(Console(file=io.StringIO()))) as url,
        httpx.Client(base_url=url, timeout=30) as api,
    ):
        console.print(f"{options.thoughts} thoughts, {BETWEEN:g} s apart, watched over a WebSocket …")
        delays = measure(api, options.thoughts)
    low, median, high = min(delays), statistics.median(delays), statistics.quantiles(delays, n=20)[-1]
    console.print(f"from ctx.thought() to the subscriber: min {low:.0f} ms, median {median:.0f} ms, p95 {high:.0f} ms")
    console.print(f"the goal, a median under {GOAL} ms, is {'kept' if median < GOAL else 'MISSED'}")
    return 0 if median < GOAL else 1


def measure(api: httpx.Client, thoughts: int) -> list[float]:
    """The delay of each thought of one job, in milliseconds."""
    warm_up = submit(api, {})
    ticket = api.post("/live-ticket", json={}).raise_for_status().json()
    with connect(f"{ticket['url']}?ticket={ticket['ticket']}") as socket:
        list(events(socket, warm_up))
        job = submit(api, {"seconds": thoughts * BETWEEN, "thoughts": thoughts})
        delays = [
            (arrived - datetime.fromisoformat(event["at"]).timestamp()) * 1000
            for arrived, event in events(socket, job)
            if event["type"] == "thought"
        ]
    assert len(delays) == thoughts, f"{len(delays)} of {thoughts} thoughts came"
    return delays


def submit(api: httpx.Client, given: dict[str, Any]) -> str:
    return str(api.post("/jobs", json={"task": "echo", "input": given}).raise_for_status().json()["id"])


def events(socket: ClientConnection, job: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """The job's events to its end, each with the moment of its arrival."""
    socket.send(json.dumps({"action": "subscribe", "job": job, "after": 0}))
    while "end" not in (message := json.loads(socket.recv(PATIENCE))):
        arrived = time.time()
        assert "problem" not in message, message
        yield from ((arrived, event) for event in message.get("events", []))


if __name__ == "__main__":
    sys.exit(main())
