"""Sixty-four submissions under one idempotency key at the same time, each a thread with events of its own.

`tests/e2e/test_race.py` has the like against the emulator; here all of them are in one process, as are their differences.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from common.wiring import Services
from tests.aws import client, message_count
from tests.handlers import Answer, Api, Worker

RACERS = 64


@pytest.fixture
def race(api: Api) -> Callable[[Callable[[int], Any]], list[Answer]]:
    """The answers to submissions that begin at one moment, each with the input of its number."""

    def run(input_of: Callable[[int], Any]) -> list[Answer]:
        start = threading.Barrier(RACERS)

        def submit(number: int) -> Answer:
            mine = Api(api.handler, api.headers)
            body = {"task": "echo", "input": input_of(number)}
            start.wait(timeout=30)
            return mine("POST", "/jobs", json=body, headers={"idempotency-key": "one"})

        with ThreadPoolExecutor(RACERS) as racers:
            return list(racers.map(submit, range(RACERS)))

    return run


def jobs_of(services: Services) -> list[str]:
    found = client("dynamodb").scan(TableName=services.settings.table_name)["Items"]
    return [item["pk"]["S"].partition("#")[2] for item in found if item["sk"]["S"] == "job"]


def test_equal_submissions_make_one_job_and_one_message(
    race: Callable[[Callable[[int], Any]], list[Answer]], api: Api, services: Services, worker: Worker
) -> None:
    answers = race(lambda number: {"word": "once"})
    assert Counter(answer.status for answer in answers) == {202: RACERS}
    assert sum(answer.headers.get("idempotent-replayed") == "true" for answer in answers) == RACERS - 1
    (job_id,) = {answer.json()["id"] for answer in answers}
    assert jobs_of(services) == [job_id]
    assert message_count(services) == 1
    assert worker() == []
    assert (api.job(job_id)["status"], api.job(job_id)["attempt"]) == ("completed", 1)


def test_of_different_submissions_one_is_taken_and_the_others_are_told(
    race: Callable[[Callable[[int], Any]], list[Answer]], api: Api, services: Services, worker: Worker
) -> None:
    answers = race(lambda number: {"number": number})
    assert Counter(answer.status for answer in answers) == {202: 1, 422: RACERS - 1}
    winner = next(number for number, answer in enumerate(answers) if answer.status == 202)
    problems = [answer.json() for answer in answers if answer.status == 422]
    assert {problem["type"] for problem in problems} == {"urn:longrun:problem:key-reused"}
    job_id = answers[winner].json()["id"]
    assert jobs_of(services) == [job_id]
    assert message_count(services) == 1
    assert worker() == []
    assert api.job(job_id)["result"] == {"number": winner}
