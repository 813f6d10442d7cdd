"""A model of a job, as its owner understands it, and what a state machine's rules need to hold a store against it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant
from moto.dynamodb.models import dynamodb_backends

from common.errors import CancelRequested, LeaseLost
from common.items import item_job, job_key
from common.jobs import Failure, Job, Payload, Status, new_id
from common.store import Store
from common.views import log_view
from common.waking import GRACE
from common.wiring import Services
from tests.aws import REGION, RESOURCES, client

#: As docs/design.md has them, not taken from the code: what a move begins with, and what it makes of it.
MOVES = {
    "claim": ({"pending", "waiting", "running"}, "running"),
    "complete": ({"running"}, "completed"),
    "fail": ({"running"}, "failed"),
    "end_cancelled": ({"running"}, "cancelled"),
    "retry": ({"running"}, "pending"),
    "put_back": ({"running"}, "pending"),
    "wait": ({"running"}, "waiting"),
    "answer": ({"waiting", "pending"}, "pending"),
    "wake_parent": ({"waiting"}, "pending"),
    "cancel": ({"pending", "waiting"}, "cancelled"),
    "bury": ({"pending", "running"}, "failed"),
    "revive": ({"failed", "cancelled"}, "pending"),
}
ENDINGS = {"completed", "failed", "cancelled"}
MAX_ATTEMPTS = 3
TTL = 3600

A = TypeVar("A")


@dataclass
class Model:
    """A job as its owner understands it. Times are seconds; `holder` is the claim that may write."""

    born: float
    run_at: float
    status: str = "pending"
    attempt: int = 0
    next_attempt: int = 1
    most: int = MAX_ATTEMPTS
    holder: str | None = None
    leased_until: float = 0
    cancel_requested: bool = False
    waits: set[str] = field(default_factory=set)
    endings: int = 0
    ended_at: float | None = None
    #: Whether the sweeper would find it.
    is_listed: bool = False


class Lossy:
    """A client of boto3 whose next write takes effect twice, as when its answer is lost and botocore repeats it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.loses = False
        #: The latest changes of status that were made, as they were asked for: so many, a job keeps their tokens for longer.
        self.moves: deque[dict[str, Any]] = deque(maxlen=8)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name not in ("put_item", "update_item"):
            return call

        def write(**given: Any) -> Any:
            answer = call(**given)
            if "history" in given.get("ExpressionAttributeNames", {}).values() and name == "update_item":
                self.moves.append(given)
            if self.loses:
                self.loses = False
                return call(**given)
            return answer

        return write


class Modelled(RuleBasedStateMachine):
    """A store with one job, and the model of that. Its rules are a subclass's."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.client = Lossy(services.store._client)
        self.table = make_table()
        self.store = Store(self.client, self.table)  # type: ignore[arg-type]
        self.id = new_id()
        self.now = services.clock()
        self.model: Model | None = None
        self.held: dict[str, Job] = {}
        self.version = 0
        self.made = 0
        self.end: Job | None = None

    # -------------------------------------------------------------- what always holds

    @invariant()
    def the_table_agrees_with_the_model(self) -> None:
        model, item = self.model, self._look()
        if model is None or item is None:
            assert model is None
            assert item is None
            return
        job, is_ended = self.standing, model.status in ENDINGS
        assert (job.status, job.attempt, job.max_attempts) == (model.status, model.attempt, model.most)
        assert job.cancel_requested is model.cancel_requested
        assert (model.holder is not None) is (job.status is Status.RUNNING)
        assert job.version >= self.version
        # Whatever is unfinished is to be woken some time, and is, once it is listed.
        assert ("wake_at" in item) is not is_ended
        assert ("due" in item) is model.is_listed
        assert all((name in item) is is_ended for name in ("finished_at", "expires_at"))
        if is_ended:
            assert (job.result is not None) is (job.status is Status.COMPLETED)
            assert self.end in (None, job)
        self.version, self.end = job.version, job if is_ended else None

    def teardown(self) -> None:
        """The log has every change once, in its order, without a gap, each life one ending, and no line of a loser."""
        if self.model is not None:
            job = self.standing
            log = log_view(job, self.store.said(job, 0, 1000), 0, 1000)
            assert [event["seq"] for event in log] == list(range(1, job.last_event + 1))
            assert sum(event["data"].get("status") in ENDINGS for event in log) == self.model.endings
        self.client.delete_table(TableName=self.table)

    # -------------------------------------------------------------- what the rules are made of

    def _move(
        self, move: str, when: bool, make: Callable[[], A | None], refusal: type[Exception] | None = None
    ) -> A | None:
        """Makes a move, which succeeds if the model allows it; else it raises `refusal`, or gives None."""
        begins_with, ends_with = MOVES[move]
        if self.model is None or self.model.status not in begins_with or not when:
            if refusal is None:
                assert make() is None
            else:
                with pytest.raises(refusal):
                    make()
            return None
        made = make()
        assert made is not None
        self.model.status, self.model.holder = ends_with, None
        if ends_with != "running":  # whoever has it already is found by its first renewal
            self.model.is_listed = ends_with not in ENDINGS
        if ends_with in ENDINGS:
            self.model.endings += 1
            self.model.ended_at = self.now
        return made

    def _move_of(self, token: str, move: str, make: Callable[[Job], Job], refusal: type[Exception] = LeaseLost) -> bool:
        """A worker's move; whether it made it. One that it has made already may be seen as its own, and changes nothing."""
        if self._holds(token):
            return self._move(move, refusal is LeaseLost, lambda: make(self.held[token]), refusal) is not None
        with contextlib.suppress(LeaseLost):
            assert make(self.held[token]) == self.standing
            assert self.standing.token == token
        return False

    def _back(self, token: str, move: str, make: Callable[[Job], Job]) -> bool:
        """A worker gives the job back, which it cannot while the owner wants it stopped."""
        is_unwanted = self._holds(token) and self.model is not None and self.model.cancel_requested
        return self._move_of(token, move, make, CancelRequested if is_unwanted else LeaseLost)

    def _write(self, token: str, write: Callable[[Job, float], Job]) -> bool:
        """A worker's write that is no move; whether it may write."""
        if not self._holds(token):
            with pytest.raises(LeaseLost):
                write(self.held[token], self.now)
            return False
        self.held[token] = write(self.held[token], self.now)
        return True

    def _holds(self, token: str) -> bool:
        return self.model is not None and self.model.holder == token

    def _put(self, delay: float) -> None:
        is_free = self.model is None or (self.model.ended_at is not None and self.model.ended_at + TTL <= self.now)
        job = Job(
            id=self.id,
            owner="acme",
            task="echo",
            status=Status.PENDING,
            input=Payload(size=2, inline="{}"),
            created_at=self.now,
            updated_at=self.now,
            max_attempts=MAX_ATTEMPTS,
            timeout_seconds=300,
            ttl_seconds=TTL,
            fingerprint="",
            token=self._token(),
            run_at=self.now + delay if delay else 0,
            wake_at=self.now + delay + 60,
        )
        found, is_new = self.store.put(job, self.now)
        assert is_new is is_free
        if is_new:
            self._gone()
            self.model = Model(born=self.now, run_at=job.run_at, is_listed=delay > 0)
        assert self.model is not None
        assert found.created_at == self.model.born

    def _gone(self) -> None:
        self.model, self.end, self.version = None, None, 0
        self.client.moves.clear()

    def _woken(self, step: str) -> None:
        assert self.model is not None
        self.model.waits.discard(step)
        self.model.run_at = 0

    def _is_unfinished(self) -> bool:
        return self.model is not None and self.model.status not in ENDINGS

    def _is_leased(self) -> bool:
        """Somebody runs it, for all the sweeper can tell."""
        model = self.model
        return model is not None and model.status == "running" and model.leased_until > self.now - GRACE

    def _look(self) -> dict[str, Any] | None:
        """The job's item, even if it has expired. `standing` is that job; of one that is gone, what was known of it last."""
        # From where moto keeps it: as an answer it would take longer than all the rest.
        item = dynamodb_backends["123456789012"][REGION].get_item(self.table, job_key(self.id))
        if item is None:
            return None
        attributes: dict[str, Any] = item.to_json()["Attributes"]
        self.standing = item_job(attributes)
        return attributes

    def _token(self) -> str:
        self.made += 1
        return f"t{self.made}"


def make_table() -> str:
    """The template's table, new for each example and without a stream: moto copies all of it at every transaction."""
    names = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    properties = RESOURCES["Table"]["Properties"]
    client("dynamodb").create_table(TableName="machine", **{name: properties[name] for name in names})
    return "machine"


def failure(token: str) -> Failure:
    return Failure("OSError", token, retryable=True, attempt=1)
