"""Every exception of Longrun, in one tree.

    LongrunError
    ├── Refused                    the client's request cannot be served as it is (4xx)
    │   ├── BadRequest             the request is not well formed
    │   ├── Unauthorized           no valid key
    │   ├── NotFound               no such thing, or not the caller's
    │   ├── MethodNotAllowed       the path exists, the verb does not
    │   ├── Conflict               the thing is not in a state for that
    │   │   └── InvalidTransition  …because of the job's status
    │   ├── TooLarge               over a size limit
    │   ├── UnsupportedMediaType   a content type or encoding that is not read
    │   ├── QuotaExceeded          more than the owner may; says of what, and when there is room again
    │   └── Unprocessable          well formed, but wrong; `errors` says where
    │       └── KeyReused          an idempotency key that belongs to another payload
    ├── Unavailable                a part that is needed does not answer; safe to try again (503)
    ├── NotClaimable               a worker may not start this job now
    ├── LeaseLost                  the job belongs to another attempt now: change nothing
    ├── CancelRequested            the owner asked to stop the job; it cannot go back to the queue
    └── TaskError                  raised by tasks, ends up on the job
        ├── Retryable              try again later; `after` says when
        ├── Permanent              trying again cannot help
        │   ├── InvalidInput       the stored input does not fit the task (any more)
        │   ├── BudgetExceeded     the job has used more tokens or money than it may
        │   ├── ResultNotStorable  the returned value is not JSON, or too large
        │   ├── StepReused         two steps of one run have the same name and key
        │   ├── StepMismatch       the task has changed, and what was recorded of the job does not fit it
        │   ├── NoAnswer           nobody answered in time
        │   └── ChildFailed        a child did, and one was enough
        ├── TaskTimeout            the time limit passed
        ├── WorkerLost             the worker died, the last attempt included
        └── DeadLettered           no worker could handle the job's message at all

An exception's docstring is the title that clients see; its message is the detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from common.jobs import Job, Status


class Fault(TypedDict):
    """One thing that is wrong in a request: where, and what."""

    loc: Sequence[str | int]
    msg: str


class LongrunError(Exception):
    """Something went wrong"""

    @property
    def title(self) -> str:
        return (type(self).__doc__ or LongrunError.__doc__ or "").splitlines()[0]


class Refused(LongrunError):
    """The request cannot be served"""

    def __init__(self, detail: str = "", errors: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class BadRequest(Refused):
    """The request is not well formed"""


class Unauthorized(Refused):
    """A valid API key is needed"""


class NotFound(Refused):
    """Not found"""


class MethodNotAllowed(Refused):
    """That method is not offered here"""


class Conflict(Refused):
    """Not possible in the present state"""


class InvalidTransition(Conflict):
    """The job's status does not allow that"""

    def __init__(self, job: Job, to: Status | str) -> None:
        super().__init__(f"Job {job.id} is {job.status}; it cannot become {to}.")
        self.job = job


class TooLarge(Refused):
    """Too large"""


class UnsupportedMediaType(Refused):
    """Unsupported media type"""


class QuotaExceeded(Refused):
    """More than this owner may"""

    def __init__(self, detail: str = "", *, quota: str = "", limit: int = 0, retry_after: int = 1) -> None:
        """`quota` names what there is too much of, `limit` says how much is allowed; `retry_after` is seconds."""
        super().__init__(detail)
        self.quota = quota
        self.limit = limit
        self.retry_after = retry_after


class Unprocessable(Refused):
    """The request is well formed but wrong"""


class KeyReused(Unprocessable):
    """This Idempotency-Key was used with another payload"""


class Unavailable(LongrunError):
    """A part of the service does not answer; try again"""

    def __init__(self, detail: str, instance: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.instance = instance


class NotClaimable(LongrunError):
    """The job may not be started now; `job` is what stands in the table, None if nothing does"""

    def __init__(self, job: Job | None) -> None:
        super().__init__("gone" if job is None else f"{job.id} is {job.status}, attempt {job.attempt}")
        self.job = job


class LeaseLost(LongrunError):
    """The job belongs to another attempt now"""


class CancelRequested(LongrunError):
    """The owner asked to stop the job"""


class TaskError(LongrunError):
    """The task failed"""


class Retryable(TaskError):
    """Raise it in a task to be tried again; `after` is the least wait in seconds"""

    def __init__(self, message: str = "", *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Permanent(TaskError):
    """Raise it in a task when trying again cannot help"""


class InvalidInput(Permanent):
    """The job's input does not fit its task; `faults` says where"""

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


class BudgetExceeded(Permanent):
    """The job has used more than it may"""


class ResultNotStorable(Permanent):
    """What the task returned cannot be stored as JSON"""


class StepReused(Permanent):
    """Two steps have the same name; tell them apart by key="""


class StepMismatch(Permanent):
    """The task has changed, and the job's finished steps do not fit it"""


class NoAnswer(Permanent):
    """Nobody answered in time"""


class ChildFailed(Permanent):
    """A child failed"""


class TaskTimeout(TaskError):
    """The time limit passed"""


class WorkerLost(TaskError):
    """The worker died"""


class DeadLettered(TaskError):
    """No worker could handle the job's message"""
