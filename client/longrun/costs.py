"""What a month of traffic costs: counted calls (`make bench`), times list prices, and said assumptions about time."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

#: Minutes of a month, and the seconds of one.
MINUTES = 43_800
MONTH = MINUTES * 60
GB = 1e9
#: Bytes that DynamoDB adds to each item, and to each entry of an index, when it bills storage.
OVERHEAD = 100
#: What an entry of the index of an owner's jobs has, in bytes.
ENTRY = 350
#: An idle queue's receives a minute: Lambda keeps five calls waiting, of 20 s each.
EMPTY_RECEIVES = 15
#: MB of each function but the worker, as the template has it.
MEMORY = {"api": 1024, "notifier": 512, "webhooks": 512, "sweeper": 256, "stragglers": 256}
#: What a worker does beside the job, every so many seconds.
EVERY = {"renewal of a lease": 20, "look for a cancellation": 4}
#: Seconds for which the stragglers' function gathers what it looks at.
WINDOW = 60
#: Each API that is called, and what pays for the calls that are not DynamoDB's (those are paid by units).
SERVICES = {
    "SendMessage": "sqs_requests",
    "SendMessageBatch": "sqs_requests",
    "ChangeMessageVisibility": "sqs_requests",
    "PutObject": "s3_puts",
    "ListObjectsV2": "s3_puts",
    "GetObject": "s3_gets",
    "Decrypt": "key_requests",
    "GenerateDataKey": "key_requests",
}


@dataclass(frozen=True)
class Traffic:
    """A month. Of each job: `polls` of its state, `seconds` that its task takes, writes of progress, pages of events, steps.

    `together` jobs are submitted in one call, `batch` messages are handled by an invocation, and a job waits for `wait` seconds
    before it is begun. `fair` is the parameter FairQueues. `call_ms` is what an AWS call
    takes, `own_ms` the code of an invocation beside its calls, `start_ms` a cold start, which the share `cold` of
    invocations has.
    """

    jobs: float
    polls: float = 2
    seconds: float = 0
    progress: float = 0
    events: float = 0
    steps: float = 0
    webhooks: bool = False
    memory: int = 1024
    architecture: str = "arm64"
    together: float = 1
    batch: float = 1
    fair: bool = False
    wait: float = 0.5
    call_ms: float = 6
    own_ms: float = 4
    cold: float = 0.005
    start_ms: float = 800
    alarms: bool = True


@dataclass(frozen=True)
class Part:
    """A line of the bill: so much of what one price is for. `floor`: paid without traffic, too."""

    what: str
    price: str
    quantity: float
    floor: bool = False


@dataclass(frozen=True)
class Line:
    """A part in US dollars."""

    part: Part
    unit: str
    usd: float

    @property
    def is_call(self) -> bool:
        """Paid by the call, or by what a call writes and reads: counted, every one."""
        return not self.part.floor and self.unit in ("requests", "write units", "read units")


@dataclass(frozen=True)
class Visit:
    """One invocation of a function and all that it does; `share` of an invocation, where it has others' messages, too.

    Those that share it are handled side by side, in the same time; or `in_turn`.
    """

    what: str
    function: str
    rows: tuple[tuple[str, float], ...]
    times: float
    share: float = 1
    seconds: float = 0
    in_turn: bool = False


@cache
def prices() -> dict[str, Any]:
    """The dated table of prices."""
    found: dict[str, Any] = json.loads(files("longrun").joinpath("prices.json").read_text())
    return found


@cache
def counted() -> dict[str, Any]:
    """What `make bench` counted."""
    found: dict[str, Any] = json.loads(files("longrun").joinpath("counted.json").read_text())
    return found


def bill(traffic: Traffic, region: str = "us-east-1", *, free_tier: bool = False) -> list[Line]:
    """The parts of a month's bill; with `free_tier`, without what every account has free each month."""
    table = prices()[region]
    left = {name: price.get("free", 0) if free_tier else 0 for name, price in table.items()}
    lines = []
    for part in parts(traffic):
        free = min(part.quantity, left[part.price])
        left[part.price] -= free
        price = table[part.price]
        lines.append(Line(part, price["unit"], (part.quantity - free) * price["usd"] / price["per"]))
    return lines


def parts(traffic: Traffic) -> list[Part]:
    """What is paid for, that of no traffic first."""
    minute = Visit("sweeper", "sweeper", (("sweep with nothing overdue", 1),), MINUTES)
    return [
        *(replace(part, floor=True) for part in (*_standing(traffic), *_invoked([minute], traffic))),
        *_requested(traffic),
        *_invoked(_visits(traffic), traffic),
        *_queued(traffic),
        *_stored(traffic),
        # Paid by the hour, in those that have traffic. Of one task: each more makes about half as many again.
        Part("Metrics", "metrics", counted()["metrics"] if traffic.jobs else 0),
    ]


def _visits(traffic: Traffic) -> Iterator[Visit]:
    """Every invocation that a month's jobs make."""
    jobs, share = traffic.jobs, 1 / traffic.batch
    work = [("attempt of a no-op job", 1.0)]
    work += [(row, traffic.seconds // seconds) for row, seconds in EVERY.items()]
    work += [("write of progress", traffic.progress), ("page of events", traffic.events), ("step", traffic.steps)]
    ending = "ending that a webhook tells of" if traffic.webhooks else "ending that nobody is told of"
    yield Visit("submissions", "api", (("submission", 1),), jobs, 1 / traffic.together, in_turn=True)
    yield Visit("polls", "api", (("poll of a job that changed", 1),), jobs * traffic.polls)
    yield Visit("attempts", "worker", tuple(work), jobs, share, traffic.seconds)
    yield Visit("endings", "notifier", ((ending, 1),), jobs, share)
    # One invocation a minute, in each minute that has a job. A job that is under way when the minute is over is a straggler,
    # unless it was there already: its first renewal puts it there.
    late = min(traffic.wait + min(traffic.seconds, EVERY["renewal of a lease"]), WINDOW) / WINDOW
    looks = (("job that ended within the minute", 1 - late), ("straggler", late))
    yield Visit("stragglers", "stragglers", looks, jobs, min(1, MINUTES / jobs) if jobs else 1, in_turn=True)
    if traffic.webhooks:
        yield Visit("webhooks", "webhooks", (("webhook that is taken at once", 1),), jobs, share)


def _invoked(visits: Iterable[Visit], traffic: Traffic) -> Iterator[Part]:
    """Lambda, and what its functions call and log."""
    compute, memory = f"lambda_{traffic.architecture}", MEMORY | {"worker": traffic.memory}
    for visit in visits:
        calls, writes, reads, log = Counter[str](), 0.0, 0.0, 0.0
        for name, times in visit.rows:
            row = counted()[name]
            calls.update({call: count * times for call, count in row["calls"].items()})
            writes, reads, log = (
                sum_ + row[each] * times
                for sum_, each in ((writes, "write_units"), (reads, "read_units"), (log, "log_bytes"))
            )
        waiting = traffic.call_ms * sum(calls.values()) / (visit.share if visit.in_turn else 1)
        busy = visit.seconds + (traffic.own_ms + waiting + traffic.cold * traffic.start_ms) / 1e3
        yield Part(f"Lambda requests, {visit.what}", "lambda_requests", visit.times * visit.share)
        gigabytes = memory[visit.function] / 1024
        yield Part(f"Lambda time, {visit.what}", compute, visit.times * visit.share * busy * gigabytes)
        yield Part(f"DynamoDB writes, {visit.what}", "dynamodb_writes", visit.times * writes)
        yield Part(f"DynamoDB reads, {visit.what}", "dynamodb_reads", visit.times * reads)
        yield Part(f"Logs, {visit.what}", "logs", visit.times * log / GB)
        for price, count in _by_price(calls).items():
            yield Part(f"{'SQS sends' if price == 'sqs_requests' else price}, {visit.what}", price, visit.times * count)


def _by_price(calls: Mapping[str, float]) -> Counter[str]:
    found = Counter[str]()
    for call, count in calls.items():
        if call in SERVICES:
            found[SERVICES[call]] += count  # type: ignore[assignment]
    return found


def _requested(traffic: Traffic) -> Iterator[Part]:
    """The gateway in front of the API."""
    calls = traffic.jobs * (1 / traffic.together + traffic.polls)
    yield Part("API Gateway requests", "api_requests", calls)
    yield Part("Access log", "logs", calls * counted()["access_log_bytes"] / GB)
    yield Part("Data sent to clients", "data_out", calls * counted()["answer_bytes"] / GB)


def _queued(traffic: Traffic) -> Iterator[Part]:
    """What Lambda receives and deletes on the functions' behalf, and what fair queues cost more for all three calls."""
    queues = 2 if traffic.webhooks else 1
    taken = traffic.jobs * queues * 2 / traffic.batch
    yield Part("SQS receives and deletes", "sqs_requests", taken)
    if traffic.fair:
        yield Part("SQS fair queues", "sqs_fair", taken + traffic.jobs * queues)


def _stored(traffic: Traffic) -> Iterator[Part]:
    """A job is kept for a day, unless said otherwise."""
    size = counted()["item_bytes"] + ENTRY + 2 * OVERHEAD
    month = traffic.jobs * size * 86_400 / MONTH / GB
    yield Part("DynamoDB storage", "dynamodb_storage", month)
    yield Part("DynamoDB point-in-time recovery", "dynamodb_backup", month)


def _standing(traffic: Traffic) -> Iterator[Part]:
    """What is paid each month whether there is traffic or not."""
    yield Part("Key of the signing secrets", "keys", 1)
    yield Part("Schedule of the sweeper", "scheduler", MINUTES)
    receives = counted()["queues_that_functions_read"] * EMPTY_RECEIVES * MINUTES
    yield Part("SQS receives of idle queues", "sqs_requests", receives)
    yield Part("Alarms", "alarms", counted()["alarms"] if traffic.alarms else 0)
