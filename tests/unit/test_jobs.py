"""What a job is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.jobs import TRANSITIONS, Job, Payload, Status, derived_id, froms, is_id, new_id

JOB = Job(
    id="0" * 32,
    owner="acme",
    task="echo",
    status=Status.RUNNING,
    input=Payload(size=2, inline="{}"),
    created_at=0,
    updated_at=0,
    max_attempts=3,
    timeout_seconds=300,
    ttl_seconds=60,
    fingerprint="",
    token="",
    run_at=0,
    lease_until=100,
)


def test_the_three_endings_are_final() -> None:
    assert {status for status in Status if status.is_final} == {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


def test_every_status_has_its_moves_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(Status)
    reached = set().union(*TRANSITIONS.values())
    assert reached == set(Status)


def test_only_what_runs_or_waits_to_run_can_start() -> None:
    assert set(froms(Status.RUNNING)) == {Status.PENDING, Status.WAITING, Status.RUNNING}
    assert froms(Status.COMPLETED) == [Status.RUNNING]


@pytest.mark.parametrize(
    ("now", "leased", "seen"),
    [(99.9, True, Status.RUNNING), (100, False, Status.PENDING), (500, False, Status.PENDING)],
)
def test_a_job_runs_while_its_lease_lives(now: float, leased: bool, seen: Status) -> None:
    assert JOB.is_leased(now) is leased
    assert JOB.seen_status(now) is seen


def test_a_job_expires_when_it_says_so() -> None:
    ended = replace(JOB, expires_at=100)
    assert [ended.is_expired(now) for now in (99, 100, 101)] == [False, True, True]
    assert not JOB.is_expired(1e12)


def test_ids_are_ids() -> None:
    assert is_id(new_id())
    assert new_id() != new_id()
    assert is_id(derived_id("acme", "k"))
    assert derived_id("acme", "k") == derived_id("acme", "k")
    # The line break cannot be in an owner's name, so no two pairs meet.
    assert len({derived_id("a", "bc"), derived_id("ab", "c"), derived_id("abc", "")}) == 3
    assert not any(map(is_id, ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32]))
