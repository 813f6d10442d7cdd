"""A thousand clients that send byte by byte, or wait as long as they may, hold nobody else up, and get their answers too."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.e2e import test_run
from tests.e2e.test_run import Run, Start

sources, start = test_run.sources, test_run.start  # pytest's

#: Who drips a request's head, who its body, and who waits for a job that does not start.
HEADS, BODIES, WAITING = 350, 350, 300
#: Seconds between two bytes; all of them together send some hundreds a second.
DRIP = 1.0
#: Seconds that anything may take; it tells hanging from working.
PATIENCE = 120

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Slow: " + b"x" * 400 + b"\r\n\r\n"
REFUSED = json.dumps({"task": "no-such-task", "input": {"v": "x" * 400}}).encode()
BODY = (
    b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(REFUSED)
)


@pytest.fixture
def run(start: Start) -> Run:
    found: Run = start()
    found.wait_for("Ready on")
    return found


async def dripped(port: int, at_once: bytes, slowly: bytes, hurry: asyncio.Event) -> int:
    """Sends a byte a second, and the rest when told to hurry; the answer's status."""
    answers, request = await asyncio.open_connection("127.0.0.1", port)
    request.write(at_once)
    sent = 0
    while not hurry.is_set() and sent < len(slowly) - 1:
        request.write(slowly[sent : sent + 1])
        sent += 1
        await request.drain()
        await asyncio.sleep(DRIP)
    request.write(slowly[sent:])
    line = await answers.readline()
    request.close()
    return int(line.split()[1])


async def waited(http: httpx.AsyncClient, job_id: str, hurry: asyncio.Event) -> int:
    """Asks for a job's end again and again; the last answer's status."""
    while True:
        answer = await http.get(f"/jobs/{job_id}", params={"wait": 20})
        if hurry.is_set() or answer.status_code != 200:
            return answer.status_code


async def crowd(port: int, job_id: str) -> tuple[list[dict[str, Any]], Counter[int]]:
    """What a client in no hurry got while all the others were there, and the statuses that these got in the end."""
    # The server closes connections that were idle, and a request may meet that: each has one of its own.
    hurry, limits = asyncio.Event(), httpx.Limits(max_connections=None, max_keepalive_connections=0)
    base = f"http://127.0.0.1:{port}"
    async with (
        httpx.AsyncClient(base_url=base, timeout=PATIENCE, limits=limits) as waiting,
        httpx.AsyncClient(base_url=base, timeout=PATIENCE, limits=limits) as http,
        asyncio.TaskGroup() as tasks,
    ):
        others = [tasks.create_task(dripped(port, b"", HEAD, hurry)) for _ in range(HEADS)]
        others += [tasks.create_task(dripped(port, BODY, REFUSED, hurry)) for _ in range(BODIES)]
        others += [tasks.create_task(waited(waiting, job_id, hurry)) for _ in range(WAITING)]
        await asyncio.sleep(5 * DRIP)  # each of them has begun
        assert not any(other.done() for other in others)
        served = []
        for n in range(5):
            accepted = await http.post("/jobs", json={"task": "echo", "input": {"n": n}})
            job = accepted.raise_for_status().json()
            while job["status"] not in ("completed", "failed"):
                job = (await http.get(f"/jobs/{job['id']}", params={"wait": 5})).raise_for_status().json()
            served.append(job)
        assert not any(other.done() for other in others)
        hurry.set()
        return served, Counter(await asyncio.gather(*others))


def test_slow_clients_hold_nobody_up(run: Run) -> None:
    later = run.http.post("/jobs", json={"task": "echo", "input": {}, "delay_seconds": 3600}).raise_for_status().json()

    async def bounded() -> tuple[list[dict[str, Any]], Counter[int]]:
        async with asyncio.timeout(PATIENCE):
            return await crowd(int(run.http.base_url.port or 80), later["id"])

    served, others = asyncio.run(bounded())
    assert [(job["status"], job["result"]) for job in served] == [("completed", {"n": n}) for n in range(5)]
    assert others == {200: HEADS + WAITING, 422: BODIES}
    assert run.complete("after")["result"] == {"value": "after"}
