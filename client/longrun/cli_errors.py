"""What the command line says when something went wrong: an exit code that means something, and what to do next."""

from dataclasses import dataclass
from enum import IntEnum

from longrun.deployment import AwsProblem, NotPermitted
from longrun.errors import (
    ApiProblem,
    ChannelUnavailable,
    Conflict,
    InvalidRequest,
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
)


class ExitCode(IntEnum):
    """What the caller's shell learns."""

    OK = 0
    JOB_FAILED = 1
    INVALID = 2
    JOB_CANCELLED = 3
    DENIED = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "ok",
    ExitCode.JOB_FAILED: "the job failed",
    ExitCode.INVALID: "wrong usage or invalid input, or not possible now (400, 409, 413, 422)",
    ExitCode.JOB_CANCELLED: "the job was cancelled",
    ExitCode.DENIED: "not found, or not authorised",
    ExitCode.UNAVAILABLE: "the service is unreachable, overloaded (429) or broken (5xx)",
    ExitCode.INTERRUPTED: "interrupted; a job that was waited for goes on",
}

#: The first kind that fits decides; everything else is INVALID.
EXIT_CODES: tuple[tuple[type[LongrunError], ExitCode], ...] = (
    (JobFailed, ExitCode.JOB_FAILED),
    (JobCancelled, ExitCode.JOB_CANCELLED),
    (Unauthorized, ExitCode.DENIED),
    (NotFound, ExitCode.DENIED),
    (RateLimited, ExitCode.UNAVAILABLE),
    (Unavailable, ExitCode.UNAVAILABLE),
    (Unreachable, ExitCode.UNAVAILABLE),
    (UnexpectedAnswer, ExitCode.UNAVAILABLE),
    (ChannelUnavailable, ExitCode.UNAVAILABLE),
    (TransferFailed, ExitCode.UNAVAILABLE),
    (NotPermitted, ExitCode.DENIED),
    (AwsProblem, ExitCode.UNAVAILABLE),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is shown: `details` are further lines, `hint` says what to do next."""

    code: ExitCode
    kind: str
    message: str
    details: tuple[str, ...] = ()
    hint: str | None = None
    problem: dict[str, object] | None = None
    job_id: str | None = None

    def as_json(self) -> dict[str, object]:
        """The same for machines; what is not known is left out."""
        fields: dict[str, object | None] = {
            "type": self.kind,
            "message": self.message,
            "exit_code": int(self.code),
            "hint": self.hint,
            "job_id": self.job_id,
            "problem": self.problem,
        }
        return {"error": {name: value for name, value in fields.items() if value is not None}}


def failure(error: LongrunError) -> Failure:
    """What to show for this error."""
    code = next((code for kind, code in EXIT_CODES if isinstance(error, kind)), ExitCode.INVALID)
    problem = error.problem.model_dump(mode="json", exclude_defaults=True) if isinstance(error, ApiProblem) else None
    return Failure(
        code,
        type(error).__name__,
        _message(error),
        details=tuple(str(wrong) for wrong in error.errors) if isinstance(error, ApiProblem) else (),
        hint="; ".join(filter(None, (_hint(error), *getattr(error, "__notes__", ())))) or None,
        problem=problem,
        job_id=error.job.id if isinstance(error, JobProblem) else None,
    )


def interrupted(job_id: str | None = None) -> Failure:
    """What to show after Ctrl-C."""
    if job_id is None:
        return Failure(ExitCode.INTERRUPTED, "Interrupted", "interrupted")
    message = f"interrupted; job {job_id} goes on"
    hint = f"watch it again with `longrun watch {job_id}`, or stop it with `longrun cancel {job_id}`"
    return Failure(ExitCode.INTERRUPTED, "Interrupted", message, hint=hint, job_id=job_id)


def _message(error: LongrunError) -> str:
    if not isinstance(error, ApiProblem):
        return str(error)
    return f"{error.detail or error.title or 'the service refused'} (HTTP {error.status})"


def _hint(error: LongrunError) -> str | None:
    hint = None
    match error:
        case Unreachable() if "localhost" in error.url or "127.0.0.1" in error.url:
            hint = "is the stack running? Try `make run`, or set LONGRUN_URL"
        case Unreachable() | UnexpectedAnswer():
            hint = "is the address right? Set LONGRUN_URL, or give --url"
        case Unauthorized():
            hint = "set LONGRUN_API_KEY to a key of this service"
        case NotFound():
            hint = _where_to_look(error.request)
        case InvalidRequest() if error.request.endswith("/input"):
            hint = "`longrun ask ID` shows what is asked, and what the answer is to be"
        case InvalidRequest() if error.request.startswith("POST") and not error.request.endswith("/retry"):
            hint = "`longrun tasks` shows what can be run, and `longrun tasks NAME` what its input is"
        case Conflict() if error.request.startswith("DELETE"):
            hint = "only a finished job can be deleted; `longrun cancel` stops it"
        case RateLimited() if error.retry_after is not None:
            hint = f"try again in {error.retry_after:g} s"
        case RateLimited() | Unavailable() | TransferFailed():
            hint = "try again in a moment"
        case JobUnfinished():
            hint = f"wait for it with `longrun watch {error.job.id}`"
        case JobFailed():
            hint = f"`longrun show {error.job.id}` shows all of it"
    return hint


def _where_to_look(request: str) -> str:
    if "/documents" in request:
        return "`longrun documents list` shows what is stored"
    if "/tasks" in request or (request.startswith("POST") and request.endswith("/jobs")):
        return "`longrun tasks` shows what can be run"
    return "`longrun list` shows your jobs; finished ones are forgotten after a while"
