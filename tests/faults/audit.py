"""What must hold when a run is over, whatever has failed: of every job, its ending, result, webhook, steps and log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from common.jobs import Status
from common.views import rfc3339
from tests.faults import table
from tests.faults.invariants import Ledger, right_result
from tests.faults.queues import QueueModel
from tests.faults.receiver import Receiver, ids

if TYPE_CHECKING:
    from tests.faults.clients import Client


class Audit:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._expect = ledger.expect
        self._journal = ledger.journal
        self._rates = ledger.cloud.rates

    def outcomes(self) -> Iterator[tuple[str, int]]:
        yield from Counter(str(row["status"]) for _, row in self._jobs()).items()

    def check(self, clients: Iterable[Client], receiver: Receiver, queues: Iterable[QueueModel], is_over: bool) -> None:
        for queue in queues:
            left = len(queue.messages)
            self._expect(is_over or not left, "queues drain", queue.name, f"{left} messages are left")
        for one in clients:
            self._expect(
                one.job_id in self._ledger.jobs, "every client is answered", str(one.plan.number), "never accepted"
            )
        self._check_children()
        for job_id, row in self._jobs():
            self._check_ending(job_id, row)
            if Status(row["status"]).is_final:
                self._check_result(job_id, row)
                self._check_webhook(job_id, row, receiver)
                self._check_steps(job_id)
                self._check_log(job_id, row)

    def _jobs(self) -> Iterator[tuple[str, table.Row]]:
        for (pk, sk), _ in list(table.rows()):
            if sk == "job":
                yield pk.partition("#")[2], table.row((pk, sk)) or {}

    def _check_children(self) -> None:
        """Each child that a parent asked for is one job. Who took an expired parent's place has children of its own."""
        begun = {job_id: row["created_at"] for job_id, row in self._jobs()}
        asked = Counter(
            (row["parent"], row["parent_step"])
            for _, row in self._jobs()
            if "parent" in row and row["created_at"] >= begun.get(row["parent"], 0)
        )
        for (parent, step), count in asked.items():
            self._expect(count == 1, "one key, one job", parent, f"{count} children for {step}")

    def _check_ending(self, job_id: str, row: table.Row) -> None:
        endings = len(self._ledger.seen[job_id].endings)
        self._expect(
            endings > 0, "every job ends", job_id, f"{row['task']} is {row['status']}, attempt {row['attempt']}"
        )
        self._expect(endings < 2, "one ending", job_id, f"{endings} endings")
        error = row.get("error", {})
        if job_id in self._journal.poisoned and row["status"] != Status.CANCELLED:
            is_poison = row["status"] == Status.FAILED and error["type"] in {"WorkerLost", "DeadLettered"}
            self._expect(is_poison, "poison ends failed", job_id, f"{row['status']} {error.get('type')}")
        elif (
            self._rates.is_gentle
            and self._ledger.seen[job_id].is_heard  # a worker that never heard of its claim has not lived
            and not self._journal.poisoned  # which takes its neighbours' workers along
        ):
            is_lost = error.get("type") in {"WorkerLost", "DeadLettered"}
            self._expect(not is_lost, "no living worker is taken for dead", job_id, str(error.get("message")))

    def _check_result(self, job_id: str, row: table.Row) -> None:
        """The stored result is what a run of the attempt that won returned."""
        if row["status"] != Status.COMPLETED:
            self._expect("result" not in row, "no result but a completed job's", job_id, row["status"])
            return
        stored = table.content(job_id, row["result"])
        runs = {run: attempt for _, attempt, run in self._journal.runs[job_id]}
        said = runs.get(stored["run"])
        self._expect(said == row["attempt"], "the result is the winner's", job_id, f"of {said}, not {row['attempt']}")
        is_right = stored == right_result(job_id, stored["run"])
        self._expect(is_right, "the result is the input's", job_id, json.dumps(stored)[:200])

    def _check_webhook(self, job_id: str, row: table.Row, receiver: Receiver) -> None:
        if "parent" in row:
            return
        kind, ended = f"job.{row['status']}", rfc3339(row["finished_at"] / 1000)
        told = [one for one in receiver.received[job_id] if one.body["data"]["job"]["finished_at"] == ended]
        self._expect(any(one.accepted for one in told), "every ending is told", job_id, f"{len(told)} tries")
        self._expect(len(ids(told)) <= 1, "one webhook id", job_id, f"{len(ids(told))} ids")
        others = {one.body["data"]["job"]["finished_at"] for one in receiver.received[job_id]} - {None, ended}
        self._expect(
            len(others) <= self._ledger.seen[job_id].revived, "one ending is told", job_id, f"also those of {others}"
        )
        self._expect(all(one.body["type"] == kind for one in told), "a webhook says what is stored", job_id, kind)
        for one in told:
            view = one.body["data"]["job"]
            shown = self._ledger.views.get(job_id, view)
            names = ("status", "attempt", "result", "error", "finished_at")
            differ = [name for name in names if view[name] != shown[name]]
            self._expect(not differ, "a webhook says what is stored", job_id, f"another {', '.join(differ)}")

    def _check_steps(self, job_id: str) -> None:
        """A step that the task went on from is recorded, and was not begun again."""
        for (job, name), passed in self._journal.passed.items():
            if job == job_id:
                again = [number for number in self._journal.begun[job, name] if number > min(passed)]
                self._expect(
                    not again, "a finished step is not run again", job_id, f"{name} began {len(again)} times more"
                )

    def _check_log(self, job_id: str, row: table.Row) -> None:
        """Numbers without a gap; of the winner every line once; after a claim no line of who had the job before."""
        events = self._ledger.logs.get(job_id)
        if events is None:
            return
        numbers = [event["seq"] for event in events]
        self._expect(numbers == list(range(1, len(numbers) + 1)), "the log has no gap", job_id, f"{numbers}"[:200])
        lines = [event["data"]["message"] for event in events if event["type"] == "log"]
        self._expect(len(lines) == len(set(lines)), "no line twice", job_id, f"{len(lines) - len(set(lines))} are")
        attempt, attempts = 0, {run: of for _, of, run in self._journal.runs[job_id]}
        for event in events:
            if event["type"] == "status":
                attempt = max(attempt, event["data"].get("attempt", attempt))
            elif event["type"] == "log":
                of = attempts[int(event["data"]["message"].split(":")[0])]
                self._expect(of == attempt, "no line of a loser", job_id, f"attempt {of} in the log of {attempt}")
        if row["status"] == Status.COMPLETED:
            winner = table.content(job_id, row["result"])["run"]
            said = self._journal.said[winner]
            missing = [line for line in said if line not in lines]
            self._expect(not missing, "every line of the winner", job_id, f"{len(missing)} are missing")
