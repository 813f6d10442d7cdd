"""The store against a model of ten lines: any moves of any number of workers, dead ones too, in any order.

Workers that lost their claim keep on writing, the clock jumps, answers get lost, and owners cancel, retry, delete and submit
again in between. What the model says is refused must be refused, and the rest must happen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from moto.dynamodb.models import dynamodb_backends

from common.errors import CancelRequested, Conflict, InvalidTransition, LeaseLost, NotClaimable, NotFound
from common.events import Event
from common.items import item_job, job_key
from common.jobs import LEASE, Failure, Job, Payload, Progress, Report, Status, Wait, WaitKind, new_id
from common.steps import Step, wait_id
from common.store import SLACK, Store
from common.views import log_view
from common.wiring import Services
from tests.conftest import REGION, RESOURCES, Clock, client

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

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if not self.loses or name not in ("put_item", "update_item"):
            return call
        self.loses = False

        def twice(**given: Any) -> Any:
            call(**given)
            return call(**given)

        return twice


class StoreMachine(RuleBasedStateMachine):
    claims = Bundle("claims")

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

    # -------------------------------------------------------------- the owner

    @initialize(delay=st.sampled_from([0, 100]))
    def submit(self, delay: float) -> None:
        self._put(delay)

    @rule(delay=st.sampled_from([0, 100]))
    def submit_again(self, delay: float) -> None:
        """Under the same idempotency key."""
        self._put(delay)

    @rule()
    def cancel(self) -> None:
        job, model = self.standing, self.model
        if model is not None and model.status == "running":
            assert self.store.request_cancel(job, self._token(), self.now).cancel_requested
            model.cancel_requested = True
        elif model is not None and model.status == "cancelled":
            assert self.store.request_cancel(job, self._token(), self.now) == job
        else:
            refusal = NotFound if model is None else InvalidTransition
            self._move("cancel", True, lambda: self.store.request_cancel(job, self._token(), self.now), refusal)

    @rule()
    def retry_it_myself(self) -> None:
        job, model = self.standing, self.model
        if self._move("revive", True, lambda: self.store.revive(job, self._token(), self.now), InvalidTransition):
            assert model is not None
            model.most = model.attempt + MAX_ATTEMPTS
            model.next_attempt, model.run_at = model.attempt + 1, 0
            model.cancel_requested, model.ended_at, self.end = False, None, None
            model.waits = set()

    @rule(step=st.sampled_from(["one", "two"]))
    def answer(self, step: str) -> None:
        given = Step(step, "", Payload(size=4, inline="true"), self.now, 0)
        when, job = self.model is not None and step in self.model.waits, self.standing
        if self._move("answer", when, lambda: self.store.answer(job, given, self._token(), self.now), Conflict):
            self._woken(step)

    @rule()
    def delete(self) -> None:
        job = self.standing
        if self.model is not None and self.model.status not in ENDINGS:
            with pytest.raises(InvalidTransition):
                self.store.forget(job)
        else:
            self.store.forget(job)
            self._gone()

    # -------------------------------------------------------------- workers, also such as lost their claim

    @rule(target=claims)
    def claim(self) -> Any:
        token, model = self._token(), self.model
        when = model is not None and (
            (model.leased_until <= self.now and model.next_attempt <= model.most)
            if model.status == "running"
            else model.run_at <= self.now + SLACK
        )
        job = self._move("claim", when, lambda: self.store.claim(self.id, token=token, now=self.now), NotClaimable)
        if job is None:
            return multiple()
        assert model is not None
        model.attempt, model.next_attempt = model.next_attempt, model.next_attempt + 1
        model.holder, model.leased_until = token, self.now + LEASE
        self.held[token] = job
        return token

    @rule(token=claims)
    def renew(self, token: str) -> None:
        if self._write(token, self.store.renew):
            assert self.model is not None
            self.model.leased_until, self.model.is_listed = self.now + LEASE, True

    @rule(token=claims, percent=st.integers(0, 100))
    def report(self, token: str, percent: int) -> None:
        self._write(token, lambda job, now: self.store.report(job, Report(Progress(percent=percent)), now))

    @rule(token=claims)
    def say(self, token: str) -> None:
        page = [Event("log", self.now, {"message": token})]
        step = Step(f"step-of-{token}", "", Payload(size=2, inline="{}"), self.now, 0)
        self._write(token, lambda job, now: self.store.flush(job, page, Report(), now, [step]))

    @rule(token=claims)
    def complete(self, token: str) -> None:
        result = Payload(size=len(token), inline=token)
        self._move_of(token, "complete", lambda job: self.store.complete(job, result, Report(), self.now))

    @rule(token=claims)
    def fail(self, token: str) -> None:
        self._move_of(token, "fail", lambda job: self.store.fail(job, failure(token), Report(), self.now))

    @rule(token=claims)
    def stop(self, token: str) -> None:
        self._move_of(token, "end_cancelled", lambda job: self.store.end_cancelled(job, Report(), self.now))

    @precondition(
        lambda self: self.model is None or self.model.attempt < self.model.most
    )  # common/retries.py sees to it
    @rule(token=claims, delay=st.sampled_from([0, 30]))
    def retry(self, token: str, delay: float) -> None:
        until = self.now + delay
        if self._back(token, "retry", lambda job: self.store.retry(job, failure(token), until, Report(), self.now)):
            assert self.model is not None
            self.model.run_at = until

    @rule(token=claims)
    def go_on_later(self, token: str) -> None:
        if self._back(token, "put_back", lambda job: self.store.put_back(job, Report(), 1.5, self.now)):
            assert self.model is not None
            self.model.next_attempt, self.model.run_at = self.model.attempt, 0

    @rule(
        token=claims,
        kind=st.sampled_from([WaitKind.ANSWER, WaitKind.CHILDREN]),
        steps=st.sets(st.sampled_from(["one", "two"]), min_size=1),
        seconds=st.sampled_from([20, 2000]),
    )
    def wait(self, token: str, kind: WaitKind, steps: set[str], seconds: float) -> None:
        waits = {wait_id(step): Wait(step, kind, self.now + seconds) for step in steps}
        if self._back(token, "wait", lambda job: self.store.wait(job, waits, Report(), 1.5, self.now)):
            assert self.model is not None
            self.model.next_attempt, self.model.run_at = self.model.attempt, self.now + seconds
            self.model.waits = set(steps)

    # -------------------------------------------------------------- everybody else

    @rule(seconds=st.sampled_from([1, 30, LEASE, 1000, TTL]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        if self.model is not None and self.model.ended_at is not None and self.model.ended_at + TTL <= self.now:
            assert self.store.get(self.id, self.now, consistent=True) is None

    @rule()
    def the_next_answer_is_lost(self) -> None:
        self.client.loses = True

    @rule(step=st.sampled_from(["one", "two"]))
    def children_end(self, step: str) -> None:
        self.client.loses = False  # it says None then, and the parent is pending: the sweeper
        when = self.model is not None and step in self.model.waits
        woken = self._move("wake_parent", when, lambda: self.store.wake_parent(self.id, step, self._token(), self.now))
        if woken:
            self._woken(step)

    @rule(token=claims)
    def bury(self, token: str) -> None:
        """As the worker that held it last knows the job, which may be long ago."""
        self.client.loses = False  # it says None then, and the job has ended
        job, model = self.held[token], self.model
        idle = model is not None and (model.leased_until if model.status == "running" else model.run_at) <= self.now
        when = idle and model is not None and job.attempt == model.attempt
        self._move("bury", when, lambda: self.store.bury(job, failure("grave"), self._token(), self.now))

    @rule()
    def enlist(self) -> None:
        self.client.loses = False  # it says False then, and the job is listed
        is_new = self.model is not None and self._is_unfinished() and not self.model.is_listed
        assert self.store.enlist(self.id) is is_new
        if self.model is not None:
            self.model.is_listed = self._is_unfinished()

    @rule()
    def sweep(self) -> None:
        self.client.loses = False  # it says None then, and the next sweep finds it
        job = self.standing
        is_listed = self.model is not None and self.model.is_listed
        is_overdue = is_listed and job.wake_at is not None and job.wake_at <= self.now
        found = [each for each in self.store.overdue(self.now) if each.job_id == self.id]
        assert len(found) == is_overdue
        for each in found:
            assert self.store.wake(self.id, each.wake_at, each.wakes, self.now) is not None
            assert self.store.wake(self.id, each.wake_at, each.wakes, self.now) is None

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

    def _woken(self, step: str) -> None:
        assert self.model is not None
        self.model.waits.discard(step)
        self.model.run_at = 0

    def _is_unfinished(self) -> bool:
        return self.model is not None and self.model.status not in ENDINGS

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


def test_a_page_is_not_taken_for_written_where_another_s_ending_has_its_number(
    services: Services, make_job: Callable[..., Job], clock: Clock
) -> None:
    store = services.store
    job = store.claim(make_job().id, token="t", now=clock())
    clock.advance(LEASE)
    buried = store.bury(job, failure("grave"), "other", clock())
    assert buried is not None
    assert (buried.token, buried.last_event) == (job.token, job.last_event + 1)
    with pytest.raises(LeaseLost):
        store.flush(job, [Event("log", clock(), {})], Report(), clock())


def test_the_store_does_what_the_model_says(services: Services) -> None:
    run_state_machine_as_test(
        lambda: StoreMachine(services),  # type: ignore[arg-type]
        settings=settings(max_examples=25, stateful_step_count=30, derandomize=True, database=None, deadline=None),
    )
