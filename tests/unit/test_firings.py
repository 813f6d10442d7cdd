"""The times that the local stack's scheduler tells its targets."""

from __future__ import annotations

from typing import Any

import pytest

from dev.firings import due_at, telling_the_time


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("at(2026-11-22T10:00:59)", "2026-11-22T10:00:59Z"),
        ("cron(* * * * ? *)", "2026-11-22T10:01:00Z"),
        ("rate(1 minute)", "2026-11-22T10:01:08Z"),
    ],
)
def test_a_firing_says_when_it_was_due(expression: str, due: str) -> None:
    assert due_at(expression, 1_795_341_668.9) == due


def test_only_schedules_are_told() -> None:
    seen: list[Any] = []
    invoke = telling_the_time(lambda target, event, rule: seen.append(target["Input"]))
    target, rule = {"Input": '{"at": "<aws.scheduler.scheduled-time>"}'}, {"ScheduleExpression": "rate(1 minute)"}
    invoke(target, {"Source": "aws.scheduler", "Time": 1_795_341_668}, rule)
    invoke(target, {"Source": "aws.events", "Time": 1_795_341_668}, rule)
    assert seen == ['{"at": "2026-11-22T10:01:08Z"}', target["Input"]]
