"""The doctor's checks of what goes on: queues, dead letters, the sweeper, and jobs that do not move."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from longrun.deadletters import OUTPUTS, Kind
from longrun.doctor import Finding, Level, Patient, judged

#: Seconds after which the sweeper, which runs every minute, must have moved what is overdue.
PATIENCE = 300
#: Seconds after which a waiting message means a backlog: twice as long as a worker may be at one.
OLD = 1800
#: Partitions of the index of unfinished items, as the store makes them.
SHARDS = 4
#: Most job ids that are named.
NAMED = 5

#: Outputs that name the queues of work, and the alarm's page that says what to do about a backlog.
QUEUES = {
    "QueueUrl": "jobs-age",
    "QueueUrlHigh": "high-jobs-age",
    "QueueUrlLow": "low-jobs-age",
    "WebhookQueueUrl": "webhooks-age",
}


def check_depths(patient: Patient) -> Iterator[Finding]:
    """How much waits, and for how long?"""
    for output, page in QUEUES.items():
        name, waiting, running = _counts(patient, output)
        age = _oldest(patient, name)
        says = f"{waiting} waiting, {running} being handled" + (f", the oldest for {age:.0f} s" if age else "")
        yield judged(name, age <= OLD, says, says, f"see docs/runbook.md#{page}", Level.WARNING)


def check_dead_letters(patient: Patient) -> Iterator[Finding]:
    """What could nobody handle?"""
    for kind in Kind:
        name, waiting, running = _counts(patient, OUTPUTS[kind])
        count = waiting + running
        do = f"see why with `longrun dlq show --queue {kind}`, then `longrun dlq redrive --queue {kind}`"
        yield judged(name, not count, "empty", f"{count} dead letters of {kind}", do)


def check_sweeper(patient: Patient) -> Iterator[Finding]:
    """Did it run?"""
    function = patient.deployment.resources.get("SweeperFunction", "")
    if not function:
        yield Finding("sweeper", Level.FAILURE, "the stack has no SweeperFunction", "deploy the template again")
        return
    # A minute's numbers come some minutes late.
    runs = _metric(patient, "AWS/Lambda", "Invocations", "Sum", FunctionName=function, seconds=2 * PATIENCE)
    silent = "it did not run in the last minutes: jobs of dead workers stay where they are"
    yield judged(
        "sweeper", sum(runs) > 0, f"ran {sum(runs):.0f} times in ten minutes", silent, "see docs/runbook.md#sweeper"
    )


def check_stuck(patient: Patient) -> Iterator[Finding]:
    """Which jobs and webhooks should have moved long ago, and did not?"""
    now = patient.clock()
    table = patient.deployment.output("TableName")
    stuck: list[str] = []
    for shard in range(SHARDS):
        answer = patient.deployment.ask(
            "dynamodb",
            "query",
            TableName=table,
            IndexName="due",
            KeyConditionExpression="due = :due AND wake_at <= :late",
            ExpressionAttributeValues={
                ":due": {"S": f"due#{shard}"},
                ":late": {"N": str(int((now - PATIENCE) * 1000))},
            },
            Limit=100,
        )
        stuck += [item["pk"]["S"].partition("#")[2] for item in answer["Items"]]
    ids = list(dict.fromkeys(stuck))
    more = ", …" if len(ids) > NAMED else ""
    late = f"{len(stuck)} jobs or webhooks are overdue for over five minutes: {', '.join(ids[:NAMED])}{more}"
    do = "the sweeper must move these: see docs/runbook.md#sweeper, and its log"
    yield judged("stuck jobs", not stuck, "none", late, do)


def _counts(patient: Patient, output: str) -> tuple[str, int, int]:
    """A queue's name, and how many of its messages wait and are being handled."""
    url = patient.deployment.output(output)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = patient.deployment.ask("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=names)["Attributes"]
    return url.rpartition("/")[2], *(int(counts[name]) for name in names)  # type: ignore[return-value]


def _oldest(patient: Patient, queue: str) -> float:
    """The age of a queue's oldest message, in seconds, as CloudWatch had it last; 0 without one."""
    ages = _metric(
        patient, "AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", QueueName=queue, seconds=2 * PATIENCE
    )
    return ages[-1] if ages else 0.0


def _metric(
    patient: Patient, namespace: str, name: str, statistic: str, *, seconds: int, **dimension: str
) -> list[float]:
    """A metric's numbers of the last `seconds`, a minute each, oldest first."""
    now = datetime.fromtimestamp(patient.clock(), UTC)
    answer: dict[str, Any] = patient.deployment.ask(
        "cloudwatch",
        "get_metric_statistics",
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimension.items()],
        StartTime=now - timedelta(seconds=seconds),
        EndTime=now,
        Period=60,
        Statistics=[statistic],
    )
    return [point[statistic] for point in sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])]
