"""The alarms: that each leads to a page of the runbook, and watches what there is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from common.metrics import NAMESPACE, WHOLE, Metric
from tests.aws import RESOURCES, ROOT

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
ALARMS = {name: each["Properties"] for name, each in RESOURCES.items() if each["Type"] == "AWS::CloudWatch::Alarm"}

OWN_DIMENSION = [{"Name": next(iter(WHOLE)), "Value": {"Ref": "AWS::StackName"}}]


def metrics(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """What it watches: namespace, name and dimensions of each."""
    return (
        [each["MetricStat"]["Metric"] for each in alarm["Metrics"] if "MetricStat" in each]
        if "Metrics" in alarm
        else [alarm]
    )


def test_every_alarm_has_its_page_of_the_runbook_and_no_page_is_left_over() -> None:
    pages = set(re.findall(r"^## ([a-z-]+)$", RUNBOOK, re.MULTILINE))
    named = {alarm["AlarmDescription"].rpartition("docs/runbook.md#")[2] for alarm in ALARMS.values()}
    assert named == pages
    assert {alarm["AlarmName"]["Fn::Sub"] for alarm in ALARMS.values()} == {
        f"${{AWS::StackName}}-{page}" for page in pages
    }


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_when_it_begins_and_when_it_is_over(name: str) -> None:
    assert ALARMS[name]["AlarmActions"] == ALARMS[name]["OKActions"] == [{"Ref": "AlarmTopic"}]
    assert RESOURCES[name]["Condition"] == "HasAlarms"


def test_only_the_sweeper_s_silence_is_bad() -> None:
    silent = [name for name, alarm in ALARMS.items() if alarm["TreatMissingData"] == "breaching"]
    assert silent == ["SweeperAlarm"]


@pytest.mark.parametrize(
    ("metric", "queues"),
    [
        ("ApproximateNumberOfMessagesVisible", {name for name in RESOURCES if name.endswith("DeadLetterQueue")}),
        ("ApproximateAgeOfOldestMessage", {"Queue", "HighQueue", "LowQueue", "WebhookQueue"}),
    ],
)
def test_every_queue_is_watched(metric: str, queues: set[str]) -> None:
    dimensions = [alarm["Dimensions"] for alarm in ALARMS.values() if alarm.get("MetricName") == metric]
    named = [{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}} for queue in queues]
    assert sorted(map(str, dimensions)) == sorted(str([each]) for each in named)


def test_what_the_functions_say_themselves_is_told_apart_by_stack_alone() -> None:
    watched = [metric for alarm in ALARMS.values() for metric in metrics(alarm)]
    own = [metric for metric in watched if not metric["Namespace"].startswith("AWS/")]
    assert {metric["Namespace"] for metric in own} == {NAMESPACE}
    assert {metric["MetricName"] for metric in own} == {
        Metric.JOBS_FAILED,
        Metric.JOBS_FINISHED,
        Metric.QUEUE_DELAY,
        Metric.WEBHOOKS_GIVEN_UP,
    }
    assert all(metric["Dimensions"] == OWN_DIMENSION for metric in own)
