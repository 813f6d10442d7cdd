"""One run: the real entry points, their clients and a receiver of webhooks, on one clock, from one seed."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import functions.api.application
import functions.worker.children
import functions.worker.execution
import functions.worker.outbox
import functions.worker.steps
import functions.worker.trying
from common import wiring
from common.settings import Settings
from common.wiring import services as wire
from functions.webhooks.delivering import Courier
from tests.aws import RESOURCES, SESSION
from tests.faults import table
from tests.faults.audit import Audit
from tests.faults.clients import Client, Plan
from tests.faults.cloud import ROUGH, Cloud, Rates
from tests.faults.interpreter import take_over
from tests.faults.invariants import Ledger, Violation
from tests.faults.lambdas import Function, Handler, InvocationFailed, QueueMapping, StreamMapping
from tests.faults.queues import QueueModel
from tests.faults.receiver import Receiver
from tests.faults.virtual import START, Process, World
from tests.faults.workload import Journal, register
from tests.handlers import anywhere
from tests.streams import filters

OWNERS = ("acme", "globex")
#: Each function, and what it is called in the template.
FUNCTIONS = {
    "api": "ApiFunction",
    "worker": "WorkerFunction",
    "notifier": "NotifierFunction",
    "webhooks": "WebhooksFunction",
    "deadletters": "DeadLettersFunction",
    "sweeper": "SweeperFunction",
    "stragglers": "StragglersFunction",
}
HOUR = 3_600
WISHES = (
    ("plain", 5),
    ("stepped", 5),
    ("sleepy", 2),
    ("asking", 2),
    ("parent", 2),
    ("flaky", 2),
    ("failing", 1),
    ("poison", 1),
)


@dataclass(frozen=True)
class Scenario:
    """`faulty` is how long faults strike, in seconds; after that everything must come to rest within `patience`."""

    name: str = "rough"
    rates: Rates = ROUGH
    jobs: int = 24
    faulty: float = 1.5 * HOUR
    #: Longer than a question stays open: without a key, a submission that nobody heard of makes a job that nobody answers.
    patience: float = 30 * HOUR
    #: What clients want, and how much of it.
    wishes: tuple[tuple[str, int], ...] = WISHES
    #: Most children of a job.
    largest: int = 12

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Report:
    """What came of a run."""

    scenario: str
    seed: int
    jobs: int
    endings: dict[str, int]
    calls: int
    faults: dict[str, int]
    violations: list[Violation]
    hours: float
    trace: list[str] = field(repr=False, default_factory=list)


def simulate(settings: Settings, scenario: Scenario, seed: int) -> Report:
    """Must be the only one in its interpreter. `settings` names moto's table, bucket and key."""
    return Simulation(settings, scenario, seed).run()


class Simulation:
    def __init__(self, settings: Settings, scenario: Scenario, seed: int) -> None:
        self.world = World(seed)
        self.scenario, self.seed, self._settings = scenario, seed, settings
        self.journal = Journal(self.world)
        self.ledger = Ledger(self.world, self.journal)
        self.queues = _queues(self.world, settings)
        self.cloud = Cloud(self.world, scenario.rates, self.queues, self.ledger.watch)
        self.ledger.cloud, self.cloud.answered = self.cloud, self.ledger.answered
        self.receiver = Receiver(self.cloud)
        for queue in self.queues.values():
            queue.twice = scenario.rates.twice
        table.quicken()
        register(self.journal)
        self.keys = {owner: wire(settings, session=SESSION).keys.create(owner, "sim", START)[0] for owner in OWNERS}
        worker = functions.worker
        take_over(self.world, (worker.outbox, worker.steps, worker.execution), (worker.children, worker.trying))
        self.cloud.install()
        self._make_functions()
        self.clients = [self._client(number) for number in range(scenario.jobs)]

    def run(self) -> Report:
        world, scenario = self.world, self.scenario
        self.cloud.calm_from = START + scenario.faulty
        root = Process("root", world)
        for one in self.clients:
            world.spawn(Process(f"client {one.plan.number}", world), one.run)
        for stream in self.streams:
            stream.start()
        for mapping in self.mappings:
            mapping.start()
        world.spawn(root, self._every_minute)
        world.spawn(root, self._troubles)
        is_over = world.run(self._is_at_rest, START + scenario.faulty + scenario.patience)
        hours = (world.now - START) / HOUR
        if is_over:
            world.spawn(root, self._look_back)
            world.run(lambda: self.ledger.is_closed, world.now + 40 * 24 * HOUR)
        audit = Audit(self.ledger)
        audit.check(self.clients, self.receiver, self._drained, is_over)
        endings = dict(audit.outcomes())
        return Report(
            scenario.name,
            self.seed,
            sum(endings.values()),
            endings,
            self.cloud.calls.total(),
            dict(self.cloud.faults),
            self.ledger.violations,
            hours,
            self.cloud.trace,
        )

    @property
    def _drained(self) -> list[QueueModel]:
        """The queues that are empty in the end. The webhooks' dead letters are for people: the sweeper sends others."""
        return [queue for name, queue in self.queues.items() if name != "dead-webhooks"]

    def _is_at_rest(self) -> bool:
        return (
            all(one.is_done for one in self.clients)
            and self.world.now > self.cloud.last_thaw + 60  # what was frozen may still submit something
            and all(stream.is_idle for stream in self.streams)
            and not any(queue.messages for queue in self._drained)
            and not any("wake_at" in row for _, row in table.rows())
        )

    def _look_back(self) -> None:
        """All that clients are shown of what is over, and then what they are shown when it has expired."""
        for one in self.clients:
            one.look_back()
        self.world.sleep(max((one.plan.ttl for one in self.clients), default=0) + 120)
        for one in self.clients:
            one.look_after_expiry()
        self.ledger.is_closed = True

    def _every_minute(self) -> None:
        """EventBridge calls the sweeper. One that would find nothing overdue is spared: it moves nothing."""
        while not self._is_at_rest():
            self.world.sleep(60)
            latest = self.world.now + self.scenario.rates.skew
            wakes = [int(row["wake_at"]["N"]) / 1000 for _, row in table.rows() if "due" in row]
            if any(wake_at <= latest for wake_at in wakes):
                self.world.spawn(self.world.current.process, self._sweep)

    def _sweep(self) -> None:
        with contextlib.suppress(InvocationFailed):
            self.functions["sweeper"].invoke({})

    def _troubles(self) -> None:
        """Now and then a service answers next to nothing for a while."""
        while self.scenario.rates.storm and self.world.now < self.cloud.calm_from:
            self.world.sleep(self.world.random.expovariate(1 / 900))
            self.cloud.trouble()

    def _client(self, number: int) -> Client:
        plan = Plan.drawn(self.world.random, number, OWNERS, dict(self.scenario.wishes), self.scenario.largest)
        others = [key for owner, key in self.keys.items() if owner != plan.owner]
        return Client(self.world, self.functions["api"], self.ledger, plan, self.keys[plan.owner], others[0])

    def _make_functions(self) -> None:
        self.functions = {
            name: Function(self.cloud, name, partial(self._sandbox, name), RESOURCES[resource]["Properties"])
            for name, resource in FUNCTIONS.items()
        }
        settings, worker = self._settings, self.functions["worker"]
        self.mappings = [
            QueueMapping(self.cloud, self.queues[url], worker, 10, "worker")
            for url in (settings.queue_url, settings.queue_url_high, settings.queue_url_low)
        ]
        of_webhooks = QueueMapping(
            self.cloud, self.queues[settings.webhook_queue_url], self.functions["webhooks"], 5, "webhooks"
        )
        of_dead = QueueMapping(self.cloud, self.queues["dead"], self.functions["deadletters"], 5, "deadletters")
        self.mappings += [of_webhooks, of_dead]
        self.streams = [self._stream("notifier"), self._stream("stragglers")]

    def _stream(self, name: str) -> StreamMapping:
        properties = RESOURCES[FUNCTIONS[name]]["Properties"]["Events"]["Changes"]["Properties"]
        window = properties.get("MaximumBatchingWindowInSeconds", 0)
        return StreamMapping(
            self.cloud, self.functions[name], filters(FUNCTIONS[name]), properties["BatchSize"], window
        )

    def _sandbox(self, name: str, process: Process) -> Handler:
        """The function's own entry point, run anew, as at a cold start; its services have the sandbox's clock."""
        services = wire(self._settings, session=SESSION, clock=process.clock)
        wiring.from_environment = lambda environ=os.environ: services
        spec = importlib.util.find_spec(f"functions.{name}.app")
        assert spec is not None
        assert spec.loader is not None
        app: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(app)
        if name == "webhooks":
            app.Courier = partial(Courier, ways={"network": self.receiver, "resolve": anywhere})

        def handle(event: Any, context: Any) -> Any:
            asyncio.set_event_loop(asyncio.new_event_loop())  # which Lambda's main thread has, and a thread has not
            return app.handler(event, context)

        return handle


def _queues(world: World, settings: Settings) -> dict[str, QueueModel]:
    """By their URLs; made from the template's own."""
    dead = QueueModel(world, "dead", RESOURCES["DeadLetterQueue"]["Properties"]["VisibilityTimeout"])
    dead_webhooks = QueueModel(world, "dead-webhooks", 30)
    made = {"dead": dead, "dead-webhooks": dead_webhooks}
    urls = {
        settings.queue_url: ("Queue", dead),
        settings.queue_url_high: ("HighQueue", dead),
        settings.queue_url_low: ("LowQueue", dead),
        settings.webhook_queue_url: ("WebhookQueue", dead_webhooks),
    }
    for url, (resource, letters) in urls.items():
        properties = RESOURCES[resource]["Properties"]
        receives = properties["RedrivePolicy"]["maxReceiveCount"]
        made[url] = QueueModel(world, url, properties["VisibilityTimeout"], receives, letters)
    return made
