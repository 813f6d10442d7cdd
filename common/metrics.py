"""What CloudWatch counts of jobs: lines of the log in its embedded metric format, so that counting calls nothing.

One line for a submission, one for a claim, one for an end. Each metric is there for the deployment as a whole, which is what
alarms watch, and by task; ends by outcome, too. An end is counted by whoever's write made it, so once, however often its
message comes; a worker that dies right after that write leaves it uncounted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from common.jobs import Job, Status
from common.telemetry import SERVICE
from common.writes import ended_by

NAMESPACE = "Longrun"
#: The dimension that alarms watch: each deployment's own.
WHOLE = {"service": SERVICE}


class Metric(StrEnum):
    JOBS_SUBMITTED = "JobsSubmitted"
    #: However they ended.
    JOBS_FINISHED = "JobsFinished"
    JOBS_FAILED = "JobsFailed"
    #: From when a job could start, or go on, to its claim.
    QUEUE_DELAY = "QueueDelay"
    #: Of a job that was begun: from its first claim to its end, with what it waited in between.
    DURATION = "Duration"
    ATTEMPTS = "Attempts"
    #: What a job used of models, in all its attempts.
    TOKENS = "Tokens"
    COST_USD = "CostUsd"
    WEBHOOKS_GIVEN_UP = "WebhooksGivenUp"


#: Of what is not simply counted. CloudWatch has no unit for money.
UNITS = {Metric.QUEUE_DELAY: "Milliseconds", Metric.DURATION: "Milliseconds", Metric.COST_USD: "None"}


def submitted(job: Job) -> None:
    """A new job was put, by a request, a schedule or its parent."""
    _write(_line({Metric.JOBS_SUBMITTED: 1}, WHOLE, _of(job)))


def claimed(job: Job) -> None:
    """Says nothing of a job that was taken over from a dead worker: that was no wait in a queue."""
    before, claim = job.history[-2:]
    if before.status is not Status.RUNNING:
        delay = max(0.0, claim.at - max(before.at, job.run_at))
        _write(_line({Metric.QUEUE_DELAY: round(delay * 1000)}, WHOLE, _of(job)))


def ended(job: Job, by: str) -> None:
    """Counts the job's end if it was the move with this token that ended it: another's end is counted by that other."""
    if not ended_by(job, by):
        return
    values: dict[Metric, float] = {Metric.JOBS_FINISHED: 1, Metric.ATTEMPTS: job.attempt - job.earlier_attempts}
    if job.status is Status.FAILED:
        values[Metric.JOBS_FAILED] = 1
    if job.started_at is not None and job.finished_at is not None:
        values[Metric.DURATION] = round((job.finished_at - job.started_at) * 1000)
    if job.usage.tokens:
        values |= {Metric.TOKENS: job.usage.tokens, Metric.COST_USD: job.usage.cost_usd}
    outcome = _of(job) | {"outcome": str(job.status)}
    _write(_line(values, WHOLE, _of(job)), _line({Metric.JOBS_FINISHED: 1}, outcome))


def webhook_given_up() -> None:
    _write(_line({Metric.WEBHOOKS_GIVEN_UP: 1}, WHOLE))


def _of(job: Job) -> dict[str, str]:
    return WHOLE | {"task": job.task}


def _line(values: Mapping[Metric, float], first: Mapping[str, str], *more: Mapping[str, str]) -> dict[str, Any]:
    """The metrics, once for each set of dimensions."""
    emf = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, dimension_set=dict(first))
    for metric, value in values.items():
        emf.add_metric(metric, UNITS.get(metric, "Count"), value)
    for dimensions in more:
        emf.add_dimensions(**dimensions)
    return dict(emf.serialize_metric_set())


def _write(*lines: dict[str, Any]) -> None:
    """As one line. It goes where a function's output goes, not through the logger: no level may silence an alarm."""
    whole = {name: value for line in lines for name, value in line.items()}
    directives = [directive for line in lines for directive in line["_aws"]["CloudWatchMetrics"]]
    whole["_aws"] = lines[0]["_aws"] | {"CloudWatchMetrics": directives}
    sys.stdout.write(json.dumps(whole, separators=(",", ":")) + "\n")
    sys.stdout.flush()
