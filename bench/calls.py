"""What a job costs in AWS calls: the real handlers on moto, every call of our code counted. Counted, never timed.

usage: python -m bench.calls [--json]       exit code 1 when a budget is exceeded

Without --json it writes what it counted to client/longrun/counted.json, of which `longrun cost` makes money.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from moto import mock_aws
from rich.console import Console
from rich.table import Table

from bench.stack import RESOURCES, ROOT, Counted, Stack
from bench.units import item_bytes

#: What `longrun cost` knows of a job.
COUNTED = ROOT / "client" / "longrun" / "counted.json"
#: Log bytes are rounded up to so many: times in them differ by a digit from run to run.
ROUND = 50


@dataclass(frozen=True)
class Row:
    """What one part of a job's life took, by which function (none: it is a part of another's), and what it may call."""

    what: str
    function: str | None
    counted: Counted
    budget: dict[str, int] | None = None

    @property
    def is_kept(self) -> bool:
        return self.budget is None or dict(self.counted.calls) == self.budget


def main() -> int:
    rows, more = measure()
    facts = described(rows) | more
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        show(rows)
        COUNTED.write_text(json.dumps(facts, indent=2) + "\n")
    return 0 if all(row.is_kept for row in rows) else 1


def show(rows: list[Row]) -> None:
    operations = sorted({name for row in rows for name in row.counted.calls})
    table = Table(title="AWS calls of our code")
    table.add_column("what")
    for name in [*operations, "in all", "write units", "read units", "log bytes"]:
        table.add_column(name, justify="right")
    table.add_column("budget")
    for row in rows:
        verdict = "" if row.budget is None else "kept" if row.is_kept else f"EXCEEDED: {row.budget}"
        it = row.counted
        counts = [str(it.calls[name] or "") for name in operations]
        sums = (it.calls.total(), it.write_units, it.read_units, rounded(it.log_bytes))
        table.add_row(row.what, *counts, *map(str, sums), verdict)
    Console(width=220).print(table)


def described(rows: list[Row]) -> dict[str, Any]:
    return {
        row.what: {
            "function": row.function,
            "calls": dict(sorted(row.counted.calls.items())),
            "write_units": row.counted.write_units,
            "read_units": row.counted.read_units,
            "log_bytes": rounded(row.counted.log_bytes),
        }
        for row in rows
    }


def measure() -> tuple[list[Row], dict[str, Any]]:
    """The rows, and what else is known of a job: its bytes in table, answers and access log, and the metrics made."""
    with mock_aws():
        stack = Stack()
        key = {"authorization": f"Bearer {stack.services.keys.create('bench', 'bench', 0)[0]}"}
        stack.api("GET", "/tasks", headers=key)  # looks the key up; believed for a minute
        submission = {"task": "echo", "input": {}}
        submit = stack.count(lambda: stack.api("POST", "/jobs", submission, key))
        job, begun = json.loads(submit.value["body"])["id"], stack.records
        early = stack.count(lambda: stack.api("GET", f"/jobs/{job}", headers=key))
        work = stack.count(stack.work)
        ended, minute = stack.records[-1]["dynamodb"]["NewImage"], [*begun, *stack.records]
        untold = stack.count(stack.notify)
        unlisted = stack.count(lambda: stack.enlist(minute))
        first = stack.count(lambda: stack.api("GET", f"/jobs/{job}", headers=key))
        known = key | {"if-none-match": first.value["headers"]["etag"]}
        polled = stack.count(lambda: stack.api("GET", f"/jobs/{job}", headers=known))
        assert polled.value["statusCode"] == 304
        assert json.loads(first.value["body"])["status"] == "completed"
        replay = key | {"idempotency-key": "k"}
        stack.api("POST", "/jobs", submission, replay)
        replayed = stack.count(lambda: stack.api("POST", "/jobs", submission, replay))
        stack.work()
        listed = stack.count(lambda: stack.api("GET", "/jobs", headers=key))
        swept = stack.count(stack.sweep)
        whole = replace(submit, calls=submit.calls + work.calls, write_units=submit.write_units + work.write_units)
        rows = [
            Row("submission", "api", submit, {"PutItem": 1, "SendMessage": 1}),
            Row("attempt of a no-op job", "worker", work, {"UpdateItem": 2}),
            Row("whole no-op job, no polls", None, whole, {"PutItem": 1, "SendMessage": 1, "UpdateItem": 2}),
            Row("poll of an unchanged job (304)", "api", polled, {"GetItem": 1}),
            Row("repeated submission, same key", "api", replayed, {"PutItem": 1}),
            Row("poll of a job that changed", "api", first, {"GetItem": 1}),
            Row("ending that nobody is told of", "notifier", untold, {"GetItem": 1}),
            Row("job that ended within the minute", "stragglers", unlisted, {}),
            Row("straggler", "stragglers", _straggler(stack, key, work), {"UpdateItem": 1}),
            *_during(stack, key),
            Row("list of jobs", "api", listed),
            Row("sweep with nothing overdue", "sweeper", swept),
            *_told(stack, key),
        ]
        answers = [submit, early, first, polled]
        metrics = {series for each in (submit, work, untold) for series in series_of(each.log)}
    return rows, {
        "item_bytes": item_bytes(ended),
        "answer_bytes": rounded(max(len(each.value["body"]) for each in answers) + HEADERS),
        "access_log_bytes": rounded(access_log_bytes()),
        "metrics": len(metrics),
        "queues_that_functions_read": sum(
            event["Type"] == "SQS"
            for resource in RESOURCES.values()
            for event in resource.get("Properties", {}).get("Events", {}).values()
            if resource["Type"] == "AWS::Serverless::Function"
        ),
        "alarms": sum(
            len([each for each in resource["Properties"].get("Metrics", [1]) if each == 1 or "MetricStat" in each])
            for resource in RESOURCES.values()
            if resource["Type"] == "AWS::CloudWatch::Alarm"
        ),
    }


def _straggler(stack: Stack, key: dict[str, str], usual: Counted) -> Counted:
    """What a job takes that has not ended within the minute: its entry in the index, and the end's write that takes it out."""
    stack.count(lambda: stack.api("POST", "/jobs", {"task": "echo", "input": {}}, key))
    begun = stack.records
    enlisted = stack.count(lambda: stack.enlist(begun))
    end = stack.count(stack.work)
    return replace(enlisted, write_units=enlisted.write_units + end.write_units - usual.write_units)


#: About how many bytes an answer's status line and headers are, with those that the gateway adds.
HEADERS = 400


def _during(stack: Stack, key: dict[str, str]) -> Iterator[Row]:
    """What a worker does while a job runs."""
    from common.events import Event
    from common.jobs import Payload, Progress, Report
    from common.steps import Step

    store, now = stack.services.store, stack.services.clock
    answer = stack.api("POST", "/jobs", {"task": "echo", "input": {}}, key)
    stack.forget_messages()
    job = store.claim(json.loads(answer["body"])["id"], token="t", now=now())
    page = [Event("thought", now(), {"text": "What could this mean?"})]
    step = Step("one", "0123456789abcdef", Payload(size=6, inline='"done"'), now(), 1)
    progress = Report(Progress(percent=50, message="half of it"))
    # The first puts the job into the index, the others move it there; what the first takes less, the end's write takes more.
    job = store.renew(job, now())
    yield Row("renewal of a lease", None, stack.count(lambda: store.renew(job, now())), {"UpdateItem": 1})
    yield Row("look for a cancellation", None, stack.count(lambda: store.is_cancel_requested(job)), {"GetItem": 1})
    yield Row("write of progress", None, stack.count(lambda: store.report(job, progress, now())), {"UpdateItem": 1})
    written = stack.count(lambda: store.flush(job, page, Report(), now()))
    yield Row("page of events", None, written, {"TransactWriteItems": 1})
    finished = stack.count(lambda: store.flush(written.value, page, Report(), now(), [step]))
    yield Row("step", None, finished, {"TransactWriteItems": 1})


def _told(stack: Stack, key: dict[str, str]) -> Iterator[Row]:
    """An ending with a webhook, which is taken at once."""
    with receiver() as url:
        assert stack.api("PUT", "/webhook", {"url": url}, key)["statusCode"] == 200
        for _ in range(2):  # the first one's looks at the secret are remembered
            stack.api("POST", "/jobs", {"task": "echo", "input": {}}, key)
            stack.count(stack.work)
            made = stack.count(stack.notify)
            sent = stack.count(stack.deliver)
    yield Row("ending that a webhook tells of", "notifier", made)
    yield Row("webhook that is taken at once", "webhooks", sent)


@contextmanager
def receiver() -> Iterator[str]:
    """Where webhooks are taken, on this machine."""

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def series_of(log: str) -> set[tuple[str, ...]]:
    """The metrics that embedded lines of the log make: each name with each value of its dimensions is one."""
    found = set()
    for line in log.splitlines():
        said = json.loads(line)
        for directive in said.get("_aws", {}).get("CloudWatchMetrics", ()):
            for dimensions in directive["Dimensions"]:
                values = tuple(str(said[name]) for name in dimensions)
                found |= {(directive["Namespace"], each["Name"], *dimensions, *values) for each in directive["Metrics"]}
    return found


def access_log_bytes() -> int:
    """Of one call, about: a value is as long as its variable's name."""
    return len(RESOURCES["HttpApiStage"]["Properties"]["AccessLogSettings"]["Format"]) + 26


def rounded(count: int) -> int:
    return -(-count // ROUND) * ROUND


if __name__ == "__main__":
    sys.exit(main())
