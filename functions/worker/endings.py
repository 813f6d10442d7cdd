"""How an attempt ended: decided from what its task did and why it was stopped, and told to the log and the metrics."""

from __future__ import annotations

from common import metrics
from common.context import printable
from common.errors import CancelRequested, TaskTimeout
from common.jobs import Failure, Job
from common.retries import is_retryable
from common.telemetry import about, logger
from functions.worker.execution import Execution
from functions.worker.outcomes import Outcome, Raised, Returned
from functions.worker.steps import Paused
from functions.worker.supervision import Stop

#: Longest error message that is kept, in characters.
MESSAGE = 4_000


def outcome(job: Job, stopped: Stop | None, execution: Execution) -> Outcome:
    """What became of the task, seen together with why it was stopped, if it was."""
    found = execution.outcome or Raised(TimeoutError())
    if stopped is Stop.TIMEOUT:
        return Raised(TaskTimeout(f"Task timed out after {job.timeout_seconds} s"))
    if isinstance(found, Returned):
        return found
    if stopped is Stop.CANCELLED:
        return Raised(CancelRequested())
    if stopped is Stop.OUT_OF_TIME:
        found = Paused({})
    if isinstance(found, Paused) and not found.waits and not execution.steps.finished:
        whole = "No step was finished in a whole invocation: the task must be made of steps that fit into one."
        return Raised(TaskTimeout(whole))
    return found


def failure(error: BaseException, job: Job) -> Failure:
    message = printable(str(error), MESSAGE) or type(error).__name__
    return Failure(type(error).__name__, message, is_retryable(error), job.attempt)


def tell(job: Job, token: str) -> None:
    """Of an attempt that ended, and of a job, if it was this token's move."""
    logger.info(
        "attempt ended",
        **about(job),
        task=job.task,
        status=job.status,
        error=job.error.type if job.error else None,
    )
    metrics.ended(job, by=token)
