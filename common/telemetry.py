"""The one logger. Lines carry ids, statuses and counts; never inputs, results, keys or secrets.

What is said once with `follow` is in every later line of the same message or request, in its threads too, and in no line of
its neighbours: it is kept in a context variable, of which each task of the event loop has its own copy.
"""

from __future__ import annotations

import os
import traceback
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from botocore.exceptions import ClientError

from common.jobs import Job

#: The deployment's name (its stack's), in every line and metric.
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME") or "longrun"


class Discreet(LambdaPowertoolsFormatter):
    """Says of an exception what it is and where it was raised, not its message: that may quote an input."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the name is logging's
        kind, _, trace = ei
        return "".join([*traceback.format_tb(trace), kind.__name__])


logger = Logger(service=SERVICE, logger_formatter=Discreet(serialize_stacktrace=False))


def about(job: Job) -> dict[str, Any]:
    """What every line about a job says. `attempt` is 0 until its first."""
    return {"job_id": job.id, "owner": job.owner, "attempt": job.attempt}


def follow(**ids: Any) -> None:
    """From here on, every line of this message or request says these; what is None is left out."""
    logger.thread_safe_append_keys(**ids)


def reason(error: Exception) -> str | None:
    """What AWS calls it, and of which operation; its message may quote what was written."""
    return f"{error.operation_name}: {error.response['Error']['Code']}" if isinstance(error, ClientError) else None
