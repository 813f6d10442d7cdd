"""What may run at a time, measured on the emulator: from the times in the jobs themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.limits import Limits, OwnerLimits
from dev.keys import main as keys
from dev.limits import main as limits
from tests.e2e.deployment import Deployment, wait_for_end
from tests.e2e.test_run import Run, free_port, sources  # noqa: F401  # a fixture

#: The owner's jobs, how long each takes in seconds, and how many of them may run at a time.
JOBS, SECONDS, LIMIT = 6, 3, 2
#: Seconds; several times what all of it takes.
PATIENCE = 180


@pytest.fixture
def run(sources: Path) -> Iterator[Run]:  # noqa: F811
    run = Run(sources, free_port())
    try:
        run.wait_for("Ready on http://localhost:")
        yield run
    finally:
        run.close()


def as_owner(run: Run, owner: str, home: Path, capsys: pytest.CaptureFixture[str]) -> httpx.Client:
    assert keys(["create", "--owner", owner, "--home", str(home)]) == 0
    key = capsys.readouterr().out.strip()
    return httpx.Client(base_url=run.http.base_url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def span(job: dict[str, Any]) -> tuple[float, float]:
    """When it ran, in seconds since 1970."""
    start, end = (datetime.fromisoformat(job[name]).timestamp() for name in ("started_at", "finished_at"))
    return start, end


def most_at_once(jobs: list[dict[str, Any]]) -> int:
    moments = sorted([(span(job)[0], 1) for job in jobs] + [(span(job)[1], -1) for job in jobs])
    running = [sum(step for _, step in moments[: n + 1]) for n in range(len(moments))]
    return max(running)


def test_an_owner_s_limit_holds_and_another_s_job_goes_through(
    run: Run,
    sources: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = sources / ".longrun"
    assert limits(["--owner", "limited", "--running", str(LIMIT), "--home", str(home)]) == 0
    capsys.readouterr()
    with ExitStack() as clients:
        limited = clients.enter_context(as_owner(run, "limited", home, capsys))
        other = clients.enter_context(as_owner(run, "other", home, capsys))
        submission = {"task": "echo", "input": {"seconds": SECONDS}}
        accepted = limited.post("/jobs:batch", json={"jobs": [submission] * JOBS}).raise_for_status().json()
        single = other.post("/jobs", json=submission).raise_for_status().json()
        single = wait_for_end(other, single["id"], seconds=PATIENCE)
        jobs = [wait_for_end(limited, one["job"]["id"], seconds=PATIENCE) for one in accepted["results"]]

    assert {job["status"] for job in (single, *jobs)} == {"completed"}
    assert {job["attempt"] for job in jobs} == {1}  # waiting uses up no attempts
    assert most_at_once(jobs) == LIMIT
    assert span(single)[1] < max(span(job)[1] for job in jobs)  # the other's did not wait for them


def test_limits_and_priorities_need_no_right_that_the_template_does_not_give(deployment: Deployment) -> None:
    table = deployment.emulator.client("dynamodb")
    own = Limits(table, deployment.outputs["TableName"], OwnerLimits(), overrides=True)
    own.write("narrow", running=1, per_minute=100)
    with deployment.http("narrow") as narrow:
        # Longer than the first contact (4 s): the message is hidden, and the slot renewed, in each queue.
        jobs = [{"task": "echo", "input": {"seconds": 6}, "priority": name} for name in ("low", "normal", "high")]
        accepted = narrow.post("/jobs:batch", json={"jobs": jobs}).raise_for_status().json()["results"]
        ended = [wait_for_end(narrow, one["job"]["id"], seconds=PATIENCE) for one in accepted]
    assert [(job["status"], job["attempt"]) for job in ended] == [("completed", 1)] * 3
    assert [job["priority"] for job in ended] == ["low", "normal", "high"]
    assert most_at_once(ended) == 1


def test_a_quota_is_told_from_every_process(run: Run, sources: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    home = sources / ".longrun"
    assert limits(["--owner", "limited", "--per-minute", "2", "--home", str(home)]) == 0
    capsys.readouterr()
    with as_owner(run, "limited", home, capsys) as limited:
        answers = [limited.post("/jobs", json={"task": "echo", "input": {}}) for _ in range(6)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 2  # a new minute may have begun in between
    assert {answer.status_code for answer in answers} == {202, 429}
    assert refused[0].json()["quota"] == "submissions_per_minute"
    assert 1 <= int(refused[0].headers["Retry-After"]) <= 60
