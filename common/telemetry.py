"""The one logger. Lines carry ids, statuses and counts; never inputs, results, keys or secrets."""

from __future__ import annotations

import traceback
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from botocore.exceptions import ClientError


class Discreet(LambdaPowertoolsFormatter):
    """Says of an exception what it is and where it was raised, not its message: that may quote an input."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the name is logging's
        kind, _, trace = ei
        return "".join([*traceback.format_tb(trace), kind.__name__])


logger = Logger(service="longrun", logger_formatter=Discreet(serialize_stacktrace=False))


def reason(error: Exception) -> str | None:
    """What AWS calls it, and of which operation; its message may quote what was written."""
    return f"{error.operation_name}: {error.response['Error']['Code']}" if isinstance(error, ClientError) else None
