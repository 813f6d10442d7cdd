"""Everything that this client raises.

LongrunError
├── InvalidInput            what was asked cannot be sent; nothing was (also a ValueError)
├── Unreachable             no answer came, in any of the tries
├── UnexpectedAnswer        something answered, but not as Longrun does
├── ChannelUnavailable      the channel that was asked for cannot be had, see `reason`
├── TransferFailed          the storage behind an upload or download link refused
├── ApiProblem              the service answered with an error (RFC 9457)
│   ├── InvalidRequest      400, 413, 415, 422: see `errors` for what is wrong where
│   ├── Unauthorized        401, 403
│   ├── NotFound            404: also for what belongs to somebody else
│   ├── Conflict            409
│   ├── RateLimited         429, still so after all tries
│   └── Unavailable         5xx, still so after all tries
└── JobProblem              the service is well, the job is not; carries `job`
    ├── JobFailed           see `error`: its type, message and attempt
    ├── JobCancelled
    ├── JobUnfinished       its result was asked for before it ended
    │   └── WaitTimeout     it did not end in the time given (also a TimeoutError); it goes on
    └── InvalidResult       its result is not of the type that was asked for (also a ValueError)
"""

from longrun.models import FieldError, Job, JobError, Problem


class LongrunError(Exception):
    """The base of every error of this client."""


class InvalidInput(LongrunError, ValueError):
    """What was asked cannot be sent: a value that is not JSON, an id that cannot be one, an address that is none."""


class Unreachable(LongrunError):
    """No answer came from `url` in `tries` tries; `reason` is the last one's."""

    def __init__(self, url: str, tries: int, reason: str) -> None:
        super().__init__(url, tries, reason)
        self.url, self.tries, self.reason = url, tries, reason

    def __str__(self) -> str:
        tries = "1 try" if self.tries == 1 else f"{self.tries} tries"
        return f"no answer from {self.url} after {tries}: {self.reason}"


class UnexpectedAnswer(LongrunError):
    """Something answered, but not as Longrun does: another service at that address, or a version far apart."""

    def __init__(self, request: str, reason: str) -> None:
        super().__init__(request, reason)
        self.request, self.reason = request, reason

    def __str__(self) -> str:
        return f"{self.request} was not answered as Longrun does: {self.reason}"


class ChannelUnavailable(LongrunError):
    """Events cannot be read by the channel that was asked for; without naming one, the best that works is taken."""

    def __init__(self, channel: str, reason: str) -> None:
        super().__init__(channel, reason)
        self.channel, self.reason = channel, reason

    def __str__(self) -> str:
        return f"events cannot be read by {self.channel}: {self.reason}"


class TransferFailed(LongrunError):
    """The storage behind an upload or download link answered `status`. A new call gets a new link."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what, status)
        self.what, self.status = what, status

    def __str__(self) -> str:
        return f"the {self.what} was refused by the storage behind its link (HTTP {self.status})"


class ApiProblem(LongrunError):
    """The service answered with an error; the fields are those of RFC 9457, `retry_after` is in seconds."""

    def __init__(self, problem: Problem, request: str = "", retry_after: float | None = None) -> None:
        super().__init__(problem, request, retry_after)
        self.problem = problem
        self.request = request
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def type(self) -> str:
        """A URI that names the kind of problem."""
        return self.problem.type

    @property
    def title(self) -> str:
        """The kind of problem, in words."""
        return self.problem.title

    @property
    def detail(self) -> str | None:
        """What is wrong this time."""
        return self.problem.detail

    @property
    def instance(self) -> str | None:
        """A URI that names this occurrence."""
        return self.problem.instance

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """What is wrong with the body, place by place."""
        return self.problem.errors

    def __str__(self) -> str:
        said = ": ".join(part for part in (self.title, self.detail) if part)
        wrong = "; ".join(str(error) for error in self.errors)
        return f"{said or 'error'} (HTTP {self.status})" + (f": {wrong}" if wrong else "")


class InvalidRequest(ApiProblem):
    """The service refused what was asked; `errors` says what is wrong where."""


class Unauthorized(ApiProblem):
    """The key is missing, wrong, or not allowed to do this."""


class NotFound(ApiProblem):
    """There is no such thing, or it belongs to somebody else."""


class Conflict(ApiProblem):
    """Not in the state that it is in: a finished job cannot be cancelled, a running one cannot be deleted."""


class RateLimited(ApiProblem):
    """Too many requests, or over a quota, which `detail` names."""


class Unavailable(ApiProblem):
    """The service could not do it now (5xx)."""


class JobProblem(LongrunError):
    """The service is well, the job is not."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.job = job

    def __str__(self) -> str:
        return f"job {self.job.id} is {self.job.status}"


class JobFailed(JobProblem):
    """The job ended as failed; `error` says why."""

    @property
    def error(self) -> JobError:
        """The error's type, its message, and the attempt it happened in."""
        return self.job.error or JobError(type="Unknown", message="no reason was given", attempt=self.job.attempt)

    def __str__(self) -> str:
        attempt = "" if self.error.attempt is None else f" (attempt {self.error.attempt})"
        return f"job {self.job.id} failed: {self.error.type}: {self.error.message}{attempt}"


class JobCancelled(JobProblem):
    """The job was cancelled."""

    def __str__(self) -> str:
        return f"job {self.job.id} was cancelled"


class JobUnfinished(JobProblem):
    """The job has no result yet."""

    def __str__(self) -> str:
        return f"job {self.job.id} has no result yet: it is {self.job.status}"


class WaitTimeout(JobUnfinished, TimeoutError):
    """The job did not end within `timeout` seconds; it goes on, and can be waited for again."""

    def __init__(self, job: Job, timeout: float) -> None:
        super().__init__(job)
        self.args = (job, timeout)
        self.timeout = timeout

    def __str__(self) -> str:
        return f"job {self.job.id} did not end within {self.timeout:g} s and goes on: it is {self.job.status}"


class InvalidResult(JobProblem, ValueError):
    """The job's result is not of the type that was asked for; `reason` is the validator's account."""

    def __init__(self, job: Job, reason: str) -> None:
        super().__init__(job)
        self.args = (job, reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the result of job {self.job.id} is not as asked for: {self.reason}"


#: Which error a status becomes; any other 4xx is a plain ApiProblem, any 5xx is Unavailable.
BY_STATUS: dict[int, type[ApiProblem]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
}


def problem_class(status: int) -> type[ApiProblem]:
    """The error that an answer with this status becomes."""
    return BY_STATUS.get(status, Unavailable if status >= 500 else ApiProblem)
