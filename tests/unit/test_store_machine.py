"""The store against a model of ten lines: any moves of any number of workers, dead ones too, in any order.

Workers that lost their claim keep on writing, the clock jumps, answers get lost, copies of requests arrive late, and owners
cancel, retry, delete and submit again in between. What the model says is refused must be refused, and the rest must happen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, multiple, precondition, rule, run_state_machine_as_test

from common.errors import Conflict, InvalidTransition, LeaseLost, NotClaimable, NotFound
from common.events import Event
from common.jobs import LEASE, Job, Payload, Progress, Report, Wait, WaitKind
from common.steps import Step, wait_id
from common.store import SLACK
from common.wiring import Services
from tests.aws import Clock
from tests.unit.store_model import ENDINGS, MAX_ATTEMPTS, TTL, Modelled, failure


class StoreMachine(Modelled):
    claims = Bundle("claims")

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

    @rule(which=st.integers(0, 7))
    def a_copy_of_a_move_arrives_late(self, which: int) -> None:
        """It may fit the job once more, and must not be made once more."""
        if which < len(self.client.moves):
            with pytest.raises(self.client.exceptions.ConditionalCheckFailedException):
                self.client.update_item(**self.client.moves[which])

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
            assert (self.store.wake(self.id, each.wake_at, each.wakes, self.now) is None) is self._is_leased()
            assert self.store.wake(self.id, each.wake_at, each.wakes, self.now) is None


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
