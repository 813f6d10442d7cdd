"""`longrun cost`: the bill of a month, from what `make bench` counted and the table of prices."""

import json
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.units import Index, item_bytes, table_units
from longrun.cli import app
from longrun.costs import MEMORY, MINUTES, SERVICES, WINDOW, Traffic, bill, counted, parts, prices
from tests.aws import RESOURCES

MILLION = Traffic(jobs=1e6)
#: DynamoDB's calls are paid by units, and those of a function's own to Lambda are none of these.
BY_UNITS = {"GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "TransactWriteItems"}


def quantities(traffic: Traffic) -> dict[str, float]:
    """How much of each price a month's traffic needs, beside what is paid without any."""
    found: dict[str, float] = defaultdict(float)
    for part in parts(traffic):
        found[part.price] += 0 if part.floor else part.quantity
    return found


def usd(traffic: Traffic, **options: Any) -> float:
    return sum(line.usd for line in bill(traffic, **options))


def test_a_job_is_paid_call_by_call() -> None:
    found = quantities(MILLION)
    jobs = 1e6
    assert found["api_requests"] == 3 * jobs  # it is submitted, and asked for twice
    assert (
        found["lambda_requests"] == 5 * jobs + MINUTES
    )  # these, the attempt, the ending; and a look at each minute's jobs
    assert found["sqs_requests"] == 3 * jobs  # sent, received, deleted
    units = sum(counted()[row]["write_units"] for row in ("submission", "attempt of a no-op job"))
    late = MILLION.wait / WINDOW * counted()["straggler"]["write_units"]
    assert found["dynamodb_writes"] == pytest.approx((units + late) * jobs)
    assert found["dynamodb_reads"] == (2 * 0.5 + 1) * jobs


def test_nothing_but_the_floor_is_paid_without_traffic() -> None:
    lines = bill(Traffic(jobs=0))
    assert sum(line.usd for line in lines if not line.part.floor) == 0
    standing = {line.part.what: line.usd for line in lines if line.part.floor}
    assert standing["Key of the signing secrets"] == 1
    assert standing["Schedule of the sweeper"] == pytest.approx(MINUTES / 1e6)
    assert (
        usd(Traffic(jobs=0))
        > usd(Traffic(jobs=0, alarms=False))
        > usd(Traffic(jobs=0, alarms=False), free_tier=True)
        >= 1
    )


@pytest.mark.parametrize(
    "more",
    [
        {"jobs": 2e6},
        {"polls": 3},
        {"seconds": 30},
        {"progress": 1},
        {"events": 1},
        {"steps": 1},
        {"webhooks": True},
        {"fair": True},
        {"wait": 60},
        {"memory": 2048},
        {"architecture": "x86_64"},
        {"call_ms": 20},
    ],
)
def test_more_costs_more(more: dict[str, Any]) -> None:
    assert usd(replace(MILLION, **more)) > usd(MILLION)


def test_a_batch_shares_its_invocation() -> None:
    alone, ten = quantities(replace(MILLION, seconds=60)), quantities(replace(MILLION, seconds=60, batch=10))
    assert ten["lambda_requests"] == 3e6 + 2e5 + MINUTES
    assert alone["lambda_arm64"] > 9 * ten["lambda_arm64"]
    assert alone["dynamodb_writes"] == ten["dynamodb_writes"]


def test_jobs_that_are_submitted_together_share_a_call() -> None:
    alone, ten = quantities(MILLION), quantities(replace(MILLION, together=10))
    assert (alone["api_requests"], ten["api_requests"]) == (3e6, 2.1e6)
    assert alone["lambda_requests"] - ten["lambda_requests"] == 9e5
    assert alone["dynamodb_writes"] == ten["dynamodb_writes"]
    assert alone["lambda_arm64"] > ten["lambda_arm64"]


def test_calls_are_what_was_counted() -> None:
    lines = [line for line in bill(MILLION) if line.is_call]
    assert {line.part.price for line in lines if line.usd} == {
        *("api_requests", "lambda_requests", "sqs_requests", "dynamodb_writes", "dynamodb_reads")
    }


def calls(traffic: Traffic) -> float:
    """What the calls cost, in US dollars."""
    return sum(line.usd for line in bill(traffic) if line.is_call)


def test_the_calls_of_a_million_no_op_jobs_polled_twice_are_under_eight_dollars() -> None:
    assert calls(MILLION) <= 8
    assert calls(replace(MILLION, fair=True)) == pytest.approx(calls(MILLION) + 0.30)
    assert calls(replace(MILLION, together=10, batch=10)) < 6


def test_only_a_job_that_nobody_has_had_for_a_minute_is_surely_a_straggler() -> None:
    def enlisted(traffic: Traffic) -> float:
        return sum(part.quantity for part in parts(traffic) if part.what == "DynamoDB writes, stragglers")

    units = counted()["straggler"]["write_units"]
    assert enlisted(replace(MILLION, wait=600)) == units * 1e6
    assert enlisted(replace(MILLION, wait=0, seconds=600)) == pytest.approx(units * 1e6 / 3)
    assert enlisted(replace(MILLION, wait=0)) == 0


def test_time_is_memory_times_seconds() -> None:
    work = replace(MILLION, memory=512, wait=WINDOW)  # stragglers they are, then, however long they take
    short, long = quantities(work), quantities(replace(work, seconds=2))
    assert long["lambda_arm64"] - short["lambda_arm64"] == pytest.approx(1e6 * 2 * 0.5)


def test_the_free_tier_is_given_once() -> None:
    paid, free = bill(MILLION), bill(MILLION, free_tier=True)
    saved = sum(line.usd for line in paid if line.part.price == "lambda_requests") - sum(
        line.usd for line in free if line.part.price == "lambda_requests"
    )
    assert saved == pytest.approx(0.20)


def test_every_counted_call_has_a_price() -> None:
    rows = [row for row in counted().values() if isinstance(row, dict)]
    assert {call for row in rows for call in row["calls"]} <= BY_UNITS | SERVICES.keys()
    table = prices()["us-east-1"]
    assert {part.price for part in parts(replace(MILLION, webhooks=True))} <= table.keys()
    assert all(price["usd"] > 0 and price["per"] > 0 for price in table.values())
    assert all(price["page"].startswith("https://aws.amazon.com/") for price in table.values())


def test_the_window_is_the_template_s() -> None:
    stream = RESOURCES["StragglersFunction"]["Properties"]["Events"]["Changes"]["Properties"]
    assert stream["MaximumBatchingWindowInSeconds"] == WINDOW


def test_the_memory_is_the_template_s() -> None:
    functions = {
        resource["Properties"]["Handler"].split(".")[1]: resource["Properties"]["MemorySize"]
        for resource in RESOURCES.values()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert {name: functions[name] for name in MEMORY} == MEMORY


def test_the_command_shows_the_parts_and_their_sum() -> None:
    ran = CliRunner().invoke(app, ["cost", "--json", "--jobs", "1e6"])
    assert ran.exit_code == 0
    found = json.loads(ran.stdout)
    sums = found["usd_a_month"]
    assert sums["total"] == pytest.approx(sum(part["usd"] for part in found["parts"]), abs=0.01)
    assert found["assumed"]["prices_as_of"] == prices()["as_of"]
    for_people = CliRunner().invoke(app, ["cost"])
    assert f"{sums['traffic']:.2f}" in for_people.stdout
    assert "API Gateway requests" in for_people.stdout


def test_prices_of_elsewhere_are_not_made_up() -> None:
    ran = CliRunner().invoke(app, ["cost", "--region", "eu-central-1"])
    assert ran.exit_code == 2
    assert "us-east-1" in ran.output


KEY = {"pk": {"S": "job#1"}, "sk": {"S": "job"}}
INDEX = Index(key=("due", "wake_at"), others=("wakes",))


def item(**values: Any) -> dict[str, Any]:
    return KEY | {name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in values.items()}


@pytest.mark.parametrize(
    ("old", "new", "table", "index"),
    [
        (None, item(text="x"), 1, 0),  # not in the index: it has none of its key
        (None, item(due="due#1", wake_at=1), 1, 1),
        (item(due="due#1", wake_at=1), item(due="due#1", wake_at=1, text="x"), 1, 0),  # the index has no text
        (item(due="due#1", wake_at=1), item(due="due#1", wake_at=1, wakes=1), 1, 1),
        (item(due="due#1", wake_at=1), item(due="due#1", wake_at=2), 1, 2),  # deleted, and put anew
        (item(due="due#1", wake_at=1), item(text="x"), 1, 1),
        (item(due="due#1", wake_at=1), None, 1, 1),
        (item(text="x" * 2000), item(text="x"), 2, 0),  # the larger of both
    ],
)
def test_a_write_s_units_are_dynamodb_s(old: Any, new: Any, table: int, index: int) -> None:
    assert table_units(old, new) == table
    assert INDEX.units(old, new) == index


def test_an_item_s_size_is_that_of_names_and_values() -> None:
    assert item_bytes({"pk": {"S": "äb"}}) == 2 + 3
    assert item_bytes({"n": {"N": "1795341600000"}}) == 1 + 8
    assert item_bytes({"m": {"M": {"a": {"S": "b"}}}, "l": {"L": [{"BOOL": True}]}}) == (1 + 3 + 1 + 2) + (
        1 + 3 + 1 + 1
    )
