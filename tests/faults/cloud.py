"""Every call of AWS: where the schedule may switch, and where faults strike.

Calls reach moto (the table, the bucket, the keys) or the queues of `queues.py`; botocore's own retries are above all this.
"""

from __future__ import annotations

import copy
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from botocore.endpoint import Endpoint
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from tests.faults.queues import QueueModel, answer
from tests.faults.virtual import Process, World

_THROTTLED = {
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "sqs": ("RequestThrottled", 400),
    "s3": ("SlowDown", 503),
    "kms": ("ThrottlingException", 400),
}

SERVICES = tuple(_THROTTLED)
#: How long a service is in trouble at the most, in seconds: its callers' tries take longer than most of it.
LONGEST_STORM = 60


@dataclass(frozen=True)
class Rates:
    """How likely each fault is, of one call, unless it says otherwise."""

    throttled: float = 0.0
    #: The request never arrives.
    refused: float = 0.0
    #: It does its work, and the answer never arrives.
    lost: float = 0.0
    #: It arrives after its sender has given it up.
    late: float = 0.0
    killed: float = 0.0
    #: Of which function sandboxes are killed; empty for all.
    victims: str = ""
    frozen: float = 0.0
    #: How long a sandbox stands still, in seconds: from, to.
    thaws: tuple[float, float] = (1_200, 3_600)
    #: Of one turn of a mapping: a message delivered twice, an invocation throttled, its answer lost.
    twice: float = 0.0
    uninvoked: float = 0.0
    unanswered: float = 0.0
    #: Of a try of a webhook.
    receiver: float = 0.0
    #: The most that a clock is wrong, in seconds.
    skew: float = 0.0
    #: How likely a call of a service fails while that service is in trouble.
    storm: float = 0.0

    @property
    def is_gentle(self) -> bool:
        """No worker is lost, and all clocks agree."""
        return not (self.killed or self.frozen or self.skew or self.storm)

    @property
    def only_kills(self) -> bool:
        """So a job that a killed worker had must go on in time."""
        return self == Rates(killed=self.killed, victims=self.victims)


#: Nothing fails.
QUIET = Rates()
#: Calls, messages and receivers fail, but workers live and their clocks agree: none may be taken for dead.
LOSSY = Rates(
    throttled=0.02,
    refused=0.02,
    lost=0.03,
    late=0.01,
    twice=0.15,
    uninvoked=0.05,
    unanswered=0.15,
    receiver=0.3,
)
#: Lambda forgets what functions answered, and queues what they have given: everything is seen again and again.
FORGETFUL = Rates(twice=0.3, unanswered=0.4)
#: The table does what it is told, and its answers do not come through, for longer than one call is tried.
UNHEARD = Rates(lost=0.4)
#: Submissions die halfway, between the put and the message, so only the table knows of their jobs.
HALFWAY = Rates(killed=0.1, victims="api")
#: Sandboxes stand still for so long that others take their jobs over, and go on.
FROZEN = Rates(frozen=0.03, thaws=(60, 300))
#: Workers are killed, and nothing else fails: so it can be told how long a job may stand still.
DEADLY = Rates(killed=0.06, victims="worker")
#: Everything at once.
ROUGH = Rates(
    throttled=0.01,
    refused=0.01,
    lost=0.015,
    late=0.005,
    killed=0.006,
    frozen=0.002,
    twice=0.02,
    uninvoked=0.03,
    unanswered=0.03,
    receiver=0.3,
    skew=60,
    storm=0.9,
)


@dataclass
class Cloud:
    """`watch` is told of each call of the table that arrives: what it gives is called when it has had its effect."""

    world: World
    rates: Rates
    queues: dict[str, QueueModel]
    watch: Callable[[Process, str, dict[str, Any]], Callable[[], None]]
    #: Told whether a process hears what came of the call that was watched last.
    answered: Callable[[Process, bool], None] = lambda process, is_lost: None
    #: Who is told that the table may have changed.
    on_write: list[Callable[[], None]] = field(default_factory=list)
    last_kill: float = 0
    #: When the last sandbox that stood still goes on.
    last_thaw: float = 0
    calls: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    #: What happened, in order: a seed must give the same again.
    trace: list[str] = field(default_factory=list)
    #: From then on nothing fails any more, in seconds since 1970.
    calm_from: float = float("inf")
    _storms: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    _made: dict[str, Any] = field(default_factory=dict)

    def install(self) -> None:
        endpoint: Any = Endpoint
        real, cloud = endpoint._do_get_response, self

        def respond(self: Any, request: Any, model: Any, context: Any) -> Any:
            service = model.service_model.service_name
            request = _as_sent(request)

            def effect() -> Any:
                if service == "sqs":
                    return cloud._of_queue(model.name, json.loads(request.body))
                if service != "dynamodb":
                    return real(self, request, model, context)
                return cloud._of_table(
                    model.name, json.loads(request.body), lambda: real(self, request, model, context)
                )

            if cloud.world.threads:
                return cloud._call(service, model.name, request.url, effect)
            return real(self, request, model, context)

        endpoint._do_get_response = respond
        URLLib3Session.__init__ = _nothing  # type: ignore[method-assign]  # there is no network, and TLS takes long to set up

    def strikes(self, fault: str, chance: float | None = None) -> bool:
        """Whether that fault happens now; counted if it does."""
        likely = getattr(self.rates, fault) if chance is None else chance
        if self.world.now >= self.calm_from or not likely or self.world.random.random() >= likely:
            return False
        self.faults[fault] += 1
        self.note(f"! {fault}")
        return True

    def note(self, text: str) -> None:
        self.trace.append(f"{self.world.now:.6f} {self.world.who} {text}")

    def _call(self, service: str, operation: str, url: str, effect: Callable[[], Any]) -> Any:
        self.calls[f"{service}.{operation}"] += 1
        self.note(f"{service}.{operation}")
        process = self.world.current.process
        self._die(process)
        self.world.sleep(self.world.random.uniform(0.001, 0.01))
        if self._is_in_trouble(service, "throttled") or self.strikes("throttled"):
            code, status = _THROTTLED[service]
            return _answered({"Error": {"Code": code, "Message": "Slow down."}}, status), None
        if self.strikes("refused"):
            self.world.sleep(2)
            return None, ConnectTimeoutError(endpoint_url=url)
        if self.strikes("late"):
            ghost = Process(f"{process.name}'s packet", self.world, process.skew)

            def arrive() -> None:
                self.world.sleep(5 + self.world.random.expovariate(0.2))
                effect()

            self.world.spawn(ghost, arrive)
            self.world.sleep(5)
            return None, ReadTimeoutError(endpoint_url=url)
        answered = effect()
        is_lost = self._is_in_trouble(service, "unheard") or self.strikes("lost")
        self.answered(process, is_lost)
        if is_lost:
            self.world.sleep(5)
            return None, ReadTimeoutError(endpoint_url=url)
        self.world.sleep(self.world.random.uniform(0.001, 0.01))
        self._die(process)
        return answered

    def _die(self, process: Process) -> None:
        if not process.is_lambda:
            return
        if process.name.startswith(self.rates.victims) and self.strikes("killed"):
            self.last_kill = self.world.now
            process.kill()
        if self.strikes("frozen"):
            process.frozen_until = self.world.now + self.world.random.uniform(*self.rates.thaws)
            self.last_thaw = max(self.last_thaw, process.frozen_until)
            self.world.sleep(0)

    def _is_in_trouble(self, service: str, kind: str) -> bool:
        since, until = self._storms.get((service, kind), (0, 0))
        return since <= self.world.now < until and self.strikes("storm")

    def trouble(self) -> None:
        """For a while nearly all calls of one service fail: it takes none, or its answers do not come through."""
        service, kind = self.world.random.choice(SERVICES), self.world.random.choice(["throttled", "unheard"])
        self._storms[service, kind] = self.world.now, self.world.now + self.world.random.uniform(0, LONGEST_STORM)

    def _of_table(self, operation: str, given: dict[str, Any], call: Callable[[], Any]) -> Any:
        # What moto lacks: a transaction that is sent again with its token is not made again.
        token = given.get("ClientRequestToken")
        if token in self._made:
            return self._made[token]
        seen = self.watch(self.world.current.process, operation, given)
        answered, error = call()
        seen()
        for tell in self.on_write:
            tell()
        if token is not None and answered is not None and "Error" not in answered[1]:
            self._made[token] = answered, error
        return answered, error

    def _of_queue(self, operation: str, given: dict[str, Any]) -> Any:
        said = answer(self.queues, operation, given)
        return _answered(said, 400 if "Error" in said else 200), None


def _as_sent(request: Any) -> Any:
    """The request with a body of its own: one that arrives late must not find what a later try has read up."""
    sent = copy.copy(request)
    if hasattr(request.body, "read"):
        sent.body = io.BytesIO(request.body.read())
    return sent


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _answered(parsed: dict[str, Any], status: int) -> tuple[Any, dict[str, Any]]:
    meta = {"HTTPStatusCode": status, "HTTPHeaders": {}, "RequestId": "-"}
    return SimpleNamespace(status_code=status, headers={}, content=b""), parsed | {"ResponseMetadata": meta}
