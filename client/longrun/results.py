"""A finished job's result: inline, or behind a link when it is large; as JSON values, or as the caller's own type."""

import json
from typing import Any

import httpx
from pydantic import TypeAdapter, ValidationError

from longrun.errors import InvalidResult, JobCancelled, JobFailed, JobProblem, JobUnfinished, UnexpectedAnswer
from longrun.models import Job, Status
from longrun.service import Service, decoded, segment
from longrun.steps import Send, Steps

WITHOUT_RESULT: dict[str, type[JobProblem]] = {Status.FAILED: JobFailed, Status.CANCELLED: JobCancelled}


def result_of(service: Service, job: Job, result_type: Any = None) -> Steps[Any]:
    """The job's result. Raises JobFailed, JobCancelled, JobUnfinished, and InvalidResult when it is of another type."""
    if job.status != Status.COMPLETED:
        raise WITHOUT_RESULT.get(job.status, JobUnfinished)(job)
    value = job.result if job.result_link is None else (yield from _fetch(service, job))
    return value if result_type is None else _as_type(job, value, result_type)


def _fetch(service: Service, job: Job) -> Steps[Any]:
    request = service.request("GET", f"/jobs/{segment('job', job.id)}/result")
    answer = yield from service.ask(request, also=(303,))
    if answer.status != 303:
        return decoded(answer.response, str(request))
    # The link is its own permission, and its host is not ours: it gets none of our headers.
    download = Send("GET", _target(answer.response, request))
    return decoded((yield from service.transfer("download", download)), "the download")


def _target(response: httpx.Response, request: Send) -> str:
    try:
        return str(httpx.URL(request.url).join(response.headers["Location"]))
    except (KeyError, httpx.InvalidURL) as error:
        raise UnexpectedAnswer(str(request), "a redirect to nowhere") from error


def _as_type(job: Job, value: Any, result_type: Any) -> Any:
    try:
        # By way of JSON, so that a strict model takes a date or a tuple as JSON writes it.
        return TypeAdapter(result_type).validate_json(json.dumps(value))
    except ValidationError as error:
        raise InvalidResult(job, str(error)) from error
