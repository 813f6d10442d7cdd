"""Clients as they should be: they ask again when no answer came, under the same key, sometimes very late."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.faults.invariants import Accepted, Ledger
from tests.faults.lambdas import Function, InvocationFailed, http_event
from tests.faults.virtual import World


@dataclass(frozen=True)
class Plan:
    """What one client will do. Times are seconds after the start, or after it was accepted."""

    number: int
    owner: str
    task: str
    input: dict[str, Any]
    options: dict[str, Any]
    starts: float
    ttl: int
    cancels: float | None
    #: Whether it has its job retried, once, if that fails or was cancelled.
    retries: bool
    #: Whether it gives its submission a key.
    has_key: bool

    @classmethod
    def drawn(
        cls, chance: random.Random, number: int, owners: Sequence[str], wishes: Mapping[str, int], largest: int
    ) -> Plan:
        """`largest` is how many children a job has at the most."""
        task = chance.choices(list(wishes), list(wishes.values()))[0]
        size = chance.choices([0, 1_500, 120_000], [8, 2, 1])[0]
        given = {"n": number, "seconds": round(chance.choice([0, 5, 20, 60, 100]) * chance.random(), 1), "size": size}
        if task == "parent":
            given["children"] = 4 + number * 7 % (largest - 3)
        options: dict[str, Any] = {"priority": chance.choice(["low", "normal", "high"])}
        if chance.random() < 0.15:
            options["delay_seconds"] = chance.choice([20, 600, 1_200])
        ttl = chance.choice([1_800, 86_400])
        return cls(
            number=number,
            owner=chance.choice(owners),
            task=task,
            input=given,
            options=options | {"ttl_seconds": ttl, "callback_url": f"https://receiver.example.com/{number}"},
            starts=chance.uniform(0, 1_800),
            ttl=ttl,
            cancels=chance.uniform(0, 300) if chance.random() < 0.12 else None,
            retries=chance.random() < 0.5,
            has_key=chance.random() < 0.9,
        )


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any


class Client:
    """`stranger` is the key of another owner, who must see nothing of it."""

    def __init__(self, world: World, api: Function, ledger: Ledger, plan: Plan, key: str, stranger: str) -> None:
        self.plan = plan
        self.is_done = False
        self.job_id = ""
        self._world, self._api, self._ledger = world, api, ledger
        self._key, self._stranger = key, stranger

    def run(self) -> None:
        """Submits, cancels if it is to, watches the job to its end, and has it retried if it is to."""
        self._world.sleep(self.plan.starts)
        self._submit()
        if self.plan.cancels is not None:
            self._world.sleep(self.plan.cancels)
            self._surely("POST", f"/jobs/{self.job_id}/cancel")
        seen = self._watch()
        if seen is not None and seen["status"] != "completed" and self.plan.retries:
            self._ledger.retried(self.job_id)
            again = self._surely("POST", f"/jobs/{self.job_id}/retry", idempotency_key=f"retry-{self.plan.number}")
            self._ledger.expect(again.status == 202, "what is right is accepted", self.job_id, f"retry: {again.status}")
            self._watch()
        self.is_done = True

    def _watch(self) -> dict[str, Any] | None:
        """Polls until the end, and answers what is asked. The job as it ended; None if it has expired meanwhile."""
        pause = 30.0
        while (seen := self._look()) is not None and not seen["finished_at"]:
            for question in seen["questions"]:
                self._surely("POST", f"/jobs/{self.job_id}/input", {"answer": True, "question": question["id"]})
            self._world.sleep(self._world.random.uniform(0.5, 1) * pause)
            pause = min(600, pause * 2)
        return seen

    def look_back(self) -> None:
        """Everything that is shown of a job that is over."""
        seen = self._look()
        if seen is None:
            return
        events, after = list[dict[str, Any]](), 0
        while after < seen["last_event"]:
            page = self._surely("GET", f"/jobs/{self.job_id}/events", after=after, limit=1000)
            if page.status == 404 and self._ledger.may_have_expired(self.job_id):
                return
            events += page.body["events"]
            if not page.body["events"]:
                break
            after = events[-1]["seq"]
        self._ledger.shown_at_the_end(self.job_id, seen, events)
        if self.plan.number % 3:
            return
        stranger = self._surely("GET", f"/jobs/{self.job_id}", key=self._stranger)
        self._ledger.expect(
            stranger.status == 404, "no owner sees another's", self.job_id, f"a stranger got {stranger.status}"
        )

    def look_after_expiry(self) -> None:
        answer = self._surely("GET", f"/jobs/{self.job_id}")
        self._ledger.expect(
            answer.status == 404, "nothing expired is shown", self.job_id, f"{answer.status} after its expiry"
        )

    def _look(self) -> dict[str, Any] | None:
        """The job; None once it has expired."""
        answer = self._surely("GET", f"/jobs/{self.job_id}")
        if answer.status == 404 and self._ledger.may_have_expired(self.job_id):
            return None
        self._ledger.expect(answer.status == 200, "an accepted job is there", self.job_id, f"{answer.status}")
        if answer.status != 200:
            return None
        self._ledger.shown(self.job_id, answer.body)
        body: dict[str, Any] = answer.body
        return body

    def _submit(self) -> None:
        body = {"task": self.plan.task, "input": self.plan.input, **self.plan.options}
        key = f"key-{self.plan.number}" if self.plan.has_key else None
        answers = list[Answer]()
        while not answers or answers[-1].status not in (200, 202):
            answers.append(self._ask("POST", "/jobs", body, idempotency_key=key))
            self._ledger.expect(
                answers[-1].status in (200, 202) or answers[-1].status >= 500,
                "what is right is accepted",
                str(self.plan.number),
                f"{answers[-1].status} {answers[-1].body}",
            )
            if answers[-1].status == 503 and key is None:
                # The job is stored, and told where: without a key, asking again would make another.
                self.job_id = answers[-1].body["instance"].rpartition("/")[2]
                break
            if answers[-1].status not in (200, 202):
                self._world.sleep(self._world.random.choice([1, 20, 300, 1_500]) * self._world.random.random())
        self.job_id = self.job_id or answers[-1].body["id"]
        self._ledger.accepted(Accepted(self.job_id, self.plan.owner, key, self.plan.task, self.plan.input))
        if key is not None and self._world.random.random() < 0.3:
            self._world.sleep(self._world.random.uniform(0, 1_000))
            again = self._surely("POST", "/jobs", body, idempotency_key=key)
            is_same = again.status in (200, 202) and again.body["id"] == self.job_id
            self._ledger.expect(is_same, "one key, one job", self.job_id, f"{again.status} {again.body.get('id')}")

    def _surely(self, *asked: Any, **options: Any) -> Answer:
        """Asks, see `_ask`, until there is an answer that is not a 5xx."""
        while (answer := self._ask(*asked, **options)).status >= 500:
            self._world.sleep(self._world.random.uniform(1, 20))
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        idempotency_key: str | None = None,
        **query: Any,
    ) -> Answer:
        headers = {"authorization": f"Bearer {key or self._key}"}
        if idempotency_key:
            headers["idempotency-key"] = f'"{idempotency_key}"'
        try:
            answer = self._api.invoke(http_event(method, path, headers, body, urlencode(query)))
        except InvocationFailed:
            return Answer(502, {})
        if self._api.cloud.strikes("lost"):
            return Answer(504, {})
        text = base64.b64decode(answer["body"]) if answer.get("isBase64Encoded") else answer["body"]
        is_json = "json" in answer["headers"].get("content-type", "")
        try:
            return Answer(answer["statusCode"], json.loads(text) if text and is_json else {"text": str(text)})
        except ValueError:
            raise AssertionError(f"{method} {path}: {answer}") from None
