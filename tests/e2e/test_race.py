"""Fifty equal submissions at once, against an emulator whose conditional writes are really atomic."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import httpx
import pytest

from common.settings import AuthMode, Settings
from common.wiring import services
from dev.emulator import root
from functions.api.application import create_app
from tests.e2e.deployment import Deployment, wait_for_end

RACERS = 50

#: The emulator starts a process for every call that comes while all others are busy: fifty would take minutes.
PROCESSES = 6

SUBMISSION = {"task": "echo", "input": {"word": "once"}}

Submit = Callable[[], httpx.Response]


def race(submit: Submit) -> str:
    """The id of the one job that all of them got."""
    start = threading.Barrier(RACERS)

    def run(_: int) -> httpx.Response:
        start.wait(timeout=30)
        return submit()

    with ThreadPoolExecutor(RACERS) as racers:
        answers = list(racers.map(run, range(RACERS)))
    assert Counter(answer.status_code for answer in answers) == {202: RACERS}
    # All but the one that made it say so.
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == RACERS - 1
    (job_id,) = {answer.json()["id"] for answer in answers}
    return str(job_id)


def assert_done_once(acme: httpx.Client, job_id: str) -> None:
    job = wait_for_end(acme, job_id, seconds=60)
    assert (job["status"], job["attempt"]) == ("completed", 1)


def test_equal_submissions_by_many_processes_make_one_job(deployment: Deployment, acme: httpx.Client) -> None:
    lanes = httpx.Limits(max_connections=PROCESSES)
    with httpx.Client(base_url=deployment.url, headers=acme.headers, limits=lanes, timeout=120) as http:
        job_id = race(lambda: http.post("/jobs", json=SUBMISSION, headers={"Idempotency-Key": '"processes"'}))
    assert_done_once(acme, job_id)


def test_equal_submissions_by_many_threads_make_one_job_and_one_message(
    deployment: Deployment, acme: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", deployment.emulator.url)
    session = boto3.session.Session(**root())
    sent: list[Any] = []
    session.events.register("before-send.sqs.*", lambda **call: sent.append(call["request"]))
    outputs = deployment.outputs
    settings = Settings(outputs["TableName"], outputs["QueueUrl"], outputs["BucketName"], AuthMode.API_KEYS)
    app = create_app(services(settings, session=session))

    async def submit() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=acme.headers) as http:
            return await http.post("/jobs", json=SUBMISSION, headers={"Idempotency-Key": '"threads"'})

    job_id = race(lambda: asyncio.run(submit()))
    assert len(sent) == 1
    assert_done_once(acme, job_id)
