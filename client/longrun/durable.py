"""The calls about jobs that go on later, as generators of steps like all others (`calls.py`), and what they answer."""

import uuid
from typing import Annotated

from pydantic import Field

from longrun.models import Job, JobError, Status, Value
from longrun.service import Service, encoded, quoted, segment
from longrun.steps import Items, Steps, paged
from longrun.uploads import JSON


class Child(Value):
    """A job that a step of another job has begun, as its parent's list shows it; `number` counts from 0 in its step.

    `status` is `None` for one that was forgotten.
    """

    id: str
    step: str
    number: int
    task: str
    status: Annotated[Status | str | None, Field(union_mode="left_to_right")] = None
    error: JobError | None = None
    has_children: bool = False


class ChildStep(Value):
    """The children of one step: `size` in all, `ended` of them done, `failed` of these not completed."""

    step: str
    task: str
    size: int
    ended: int = 0
    failed: int = 0


class ChildPage(Value):
    """Every step that has children, and some of these; `next_cursor` asks for the ones after, it is `None` at the end."""

    steps: tuple[ChildStep, ...]
    children: tuple[Child, ...]
    next_cursor: int | str | None = None


class DurableCalls:
    """The calls about jobs that go on; `Calls` has them too."""

    __slots__ = ()
    service: Service

    def answer(self, job_id: str, answer: object, question: str | None = None) -> Steps[Job]:
        """Answer a waiting job's question, and return the job, which goes on.

        `question` is the question's id (`Job.questions`); it may be left out where only one is open, and is better named:
        then the answer is sent again if it may have got lost, as it can answer no other question. Raises NotFound,
        InvalidInput, InvalidRequest (it does not fit the question), and Conflict when that is not asked (any more).
        """
        body = {"answer": answer} | ({} if question is None else {"question": question})
        request = self.service.request(
            "POST",
            f"/jobs/{segment('job', job_id)}/input",
            headers=JSON,
            content=encoded(body, "the answer"),
            harmless_twice=question is not None,
        )
        found = yield from self.service.ask(request, also=(409,))
        if found.status == 409:
            problem = found.problem()
            if found.may_be_second:  # It was ours, or somebody else's: nobody should take one for the other.
                problem.add_note("an earlier try may have got through: look at the job")
            raise problem
        return found.parse(Job)

    def retry(self, job_id: str, from_step: str | None = None, *, idempotency_key: str | None = None) -> Steps[Job]:
        """Run a failed or cancelled job again, past its finished steps, and return it; it has all its attempts anew.

        `from_step` (a step's name, with `:key` if it has one) forgets that step and those after it. With the same
        `idempotency_key` (by default a new one) it is done once, however often it is asked for. Raises NotFound, InvalidInput
        (the key), InvalidRequest (no such step), and Conflict for a job in another status.
        """
        path = f"/jobs/{segment('job', job_id)}/retry"
        headers = {"Idempotency-Key": quoted(idempotency_key or str(uuid.uuid4()))}
        request = self.service.request("POST", path, params={"from_step": from_step}, headers=headers)
        return (yield from self.service.ask(request)).parse(Job)

    def list_children(
        self, job_id: str, *, limit: int | None = None, cursor: int | str | None = None
    ) -> Steps[ChildPage]:
        """The steps that have children, and one page of these in their order, after `cursor`. Raises NotFound."""
        path = f"/jobs/{segment('job', job_id)}/children"
        request = self.service.request("GET", path, params={"limit": limit, "cursor": cursor})
        return (yield from self.service.ask(request)).parse(ChildPage)

    def children(self, job_id: str, *, page_size: int = 100) -> Items[Child]:
        """Every job that the job's steps have begun, in their order, asked for page by page. Raises NotFound."""
        return paged(
            lambda cursor: self.list_children(job_id, limit=page_size, cursor=cursor), lambda page: page.children
        )
