"""Longrun: jobs for AI agents on AWS, with no servers. This is its client; `longrun` is its command line."""

from importlib.metadata import version

from longrun.client import AsyncClient, Client
from longrun.errors import (
    ApiProblem,
    Conflict,
    InvalidInput,
    InvalidRequest,
    InvalidResult,
    JobCancelled,
    JobFailed,
    JobProblem,
    JobUnfinished,
    LongrunError,
    NotFound,
    RateLimited,
    TransferFailed,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    WaitTimeout,
)
from longrun.models import (
    Document,
    DocumentPage,
    FieldError,
    Health,
    Job,
    JobError,
    JobPage,
    Problem,
    Progress,
    Status,
    Task,
    Usage,
)
from longrun.retries import Retries

__version__ = version("longrun")

__all__ = [
    "ApiProblem",
    "AsyncClient",
    "Client",
    "Conflict",
    "Document",
    "DocumentPage",
    "FieldError",
    "Health",
    "InvalidInput",
    "InvalidRequest",
    "InvalidResult",
    "Job",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobPage",
    "JobProblem",
    "JobUnfinished",
    "LongrunError",
    "NotFound",
    "Problem",
    "Progress",
    "RateLimited",
    "Retries",
    "Status",
    "Task",
    "TransferFailed",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "Usage",
    "WaitTimeout",
    "__version__",
]
