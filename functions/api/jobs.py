"""The routes of jobs and tasks."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from common import metrics
from common.errors import BadRequest, Conflict, InvalidTransition, LongrunError, NotFound, Unprocessable
from common.items import place
from common.jobs import Job, Payload, Status, is_id
from common.tasks import REGISTRY
from common.views import job_view
from common.wiring import Services
from functions.api import requests, views
from functions.api.auth import Caller
from functions.api.body import read_json
from functions.api.problems import problem
from functions.api.requests import answer, services_of, takes
from functions.api.submissions import Accepted, Submission, read_key, read_submission, submit

#: Longest that a request waits for a job's end, in seconds; the gateway gives up at 30.
MAX_WAIT = 20
#: Most submissions of one batch.
MAX_BATCH = 100
#: Pages of the index that one list request may read to find what its filters want.
MAX_PAGES = 10

_CURSOR = re.compile(r"\d{13}#[0-9a-f]{32}")

router = APIRouter()

Wait = Annotated[int, Query(ge=0, le=MAX_WAIT, description="Seconds to wait for the job's end.")]


@router.post("/jobs", status_code=202, openapi_extra=takes(Submission))
async def submit_job(request: Request, owner: Caller, wait: Wait = 0) -> Response:
    """Takes a job: answers with its id at once, or with its end if that comes within `wait` seconds."""
    services = services_of(request)
    key = read_key(request.headers.get("idempotency-key"))
    accepted = submit(services, owner, read_submission(services, await read_json(request)), key)
    preferred = preferred_wait(request)
    job = await wait_for(services, accepted.job, wait or preferred or 0)
    headers = {"Location": f"/jobs/{job.id}"} | _replayed(accepted)
    if preferred is not None:
        headers["Preference-Applied"] = f"wait={preferred}"
    return _answer(services, job, 200 if job.status.is_final and (wait or preferred) else 202, headers)


@router.post("/jobs:batch")
async def submit_jobs(request: Request, owner: Caller) -> Response:
    """Takes up to 100 jobs, `{"jobs": [...]}`, each answered on its own; a member `idempotency_key` is each one's key."""
    services = services_of(request)
    body = await read_json(request)
    jobs = body.get("jobs") if isinstance(body, dict) and set(body) == {"jobs"} else None
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= MAX_BATCH:
        raise Unprocessable(f'Send {{"jobs": [...]}} with 1 to {MAX_BATCH} submissions.')
    return answer({"results": [_one_of_batch(services, owner, one, n) for n, one in enumerate(jobs)]})


@router.get("/jobs")
async def list_jobs(
    request: Request,
    owner: Caller,
    status: Status | None = None,
    task: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The caller's jobs, newest first."""
    services = services_of(request)
    now, after = services.clock(), requests.read_cursor(cursor, _CURSOR.fullmatch)
    found: list[Job] = []
    for _ in range(MAX_PAGES):
        page = 100 if status or task else limit
        jobs, after = services.store.list(owner, now, limit=page, after=after, status=status, task=task)
        found += jobs
        if after is None or len(found) >= limit:
            break
    if len(found) > limit:
        found = found[:limit]
        after = place(found[-1])
    return answer({"jobs": [views.summary_view(job, now) for job in found], "next_cursor": requests.cursor(after)})


@router.get("/jobs/{job_id}")
async def get_job(request: Request, job_id: str, owner: Caller, wait: Wait = 0) -> Response:
    """The job; with `wait`, as soon as it ends, or differs from what If-None-Match names."""
    services = services_of(request)
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")} - {""}

    def is_known(job: Job) -> bool:
        return bool(known & {"*", views.etag(job, services.clock()).removeprefix("W/")})

    job = await wait_for(services, find(services, owner, job_id), wait, lambda job: bool(known) and not is_known(job))
    # Who lets us wait may ask again soon.
    again = {"Retry-After": "1"} if wait and not job.status.is_final else {}
    if is_known(job):
        return Response(status_code=304, headers=caching(services, job) | again)
    return _answer(services, job, 200, again)


@router.post("/jobs/{job_id}/cancel", status_code=202)
async def cancel_job(request: Request, job_id: str, owner: Caller) -> Response:
    """Asks the job to stop; one that nobody runs is cancelled at once."""
    services = services_of(request)
    job = find(services, owner, job_id)
    token = secrets.token_hex(8)
    job = services.store.request_cancel(job, token, services.clock())
    metrics.ended(job, by=token)
    return _answer(services, job, 202)


@router.delete("/jobs/{job_id}", status_code=204)
async def delete_job(request: Request, job_id: str, owner: Caller) -> Response:
    """Forgets a finished job and everything that is stored for it."""
    services = services_of(request)
    job = find(services, owner, job_id, consistent=True)
    if not job.status.is_final:
        raise InvalidTransition(job, "deleted; cancel it first")
    services.store.give_up(job)  # or a retry at the same time would find its input gone
    services.payloads.forget(job.id)
    services.store.forget(job)
    return Response(status_code=204)


@router.get("/jobs/{job_id}/result")
async def get_result(request: Request, job_id: str, owner: Caller) -> Response:
    """The result alone; 303 to a short-lived download link if it is large."""
    services = services_of(request)
    job = find(services, owner, job_id)
    if job.result is None:
        ended = (
            job.error.message if job.error else "there will be none" if job.status.is_final else "it is not finished"
        )
        raise Conflict(f"Job {job.id} is {job.seen_status(services.clock())} and has no result: {ended}.")
    return _payload(services, job, job.result)


@router.get("/jobs/{job_id}/input")
async def get_input(request: Request, job_id: str, owner: Caller) -> Response:
    """The input alone; 303 to a short-lived download link if it is large."""
    services = services_of(request)
    job = find(services, owner, job_id)
    return _payload(services, job, job.input)


@router.get("/tasks")
async def list_tasks(owner: Caller) -> Response:  # noqa: ARG001
    """What can be run."""
    return answer({"tasks": [views.task_view(task) for task in REGISTRY]})


@router.get("/tasks/{name}")
async def get_task(name: str, owner: Caller) -> Response:  # noqa: ARG001
    task = REGISTRY.find(name)
    if task is None:
        raise NotFound("No such task; GET /tasks lists them.")
    return answer(views.task_view(task))


# ------------------------------------------------------------------ what the routes are made of


def find(services: Services, owner: str, job_id: str, *, consistent: bool = False) -> Job:
    """The caller's job. Raises the same NotFound for another's as for none."""
    if is_id(job_id):
        now = services.clock()
        job = services.store.get(job_id, now, consistent=consistent)
        if job is None and not consistent:  # a cheap read may be older than the submission
            job = services.store.get(job_id, now, consistent=True)
        if job is not None and job.owner == owner:
            return job
    raise NotFound("No such job.")


async def wait_for(
    services: Services, job: Job, seconds: float, enough: Callable[[Job], bool] = lambda _: False
) -> Job:
    """Looks at ever longer intervals until the job has ended, or is `enough`, or the time is up.

    The table is read outside of the event loop: on a laptop, whoever waits must not hold up the others.
    """
    until, pause = services.clock() + seconds, 0.2
    while not job.status.is_final and not enough(job) and (left := until - services.clock()) > 0:
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, 2)
        seen = await asyncio.to_thread(services.store.get, job.id, services.clock())
        job = seen or job
    return job


def caching(services: Services, job: Job) -> dict[str, str]:
    """The headers by which clients and proxies know whether the job has changed, and when to ask again."""
    now = services.clock()
    headers = {"ETag": views.etag(job, now), "Cache-Control": "private, no-cache"}
    return headers if job.status.is_final else headers | {"Retry-After": views.retry_after(job, now)}


def _one_of_batch(services: Services, owner: str, one: Any, n: int) -> dict[str, Any]:
    try:
        key = one.pop("idempotency_key", None) if isinstance(one, dict) else None
        if key is not None and not isinstance(key, str):
            raise BadRequest("idempotency_key is a string.")
        accepted = submit(services, owner, read_submission(services, one), read_key(key))
    except LongrunError as error:
        content = problem(error, f"/jobs:batch#{n}")
        return {"status": content["status"], "problem": content}
    return {
        "status": 202,
        "replayed": accepted.replayed,
        "job": job_view(accepted.job, services.clock(), services.payloads),
    }


def _answer(services: Services, job: Job, status: int, headers: dict[str, str] | None = None) -> Response:
    content = job_view(job, services.clock(), services.payloads)
    return answer(content, status, caching(services, job) | (headers or {}))


def _payload(services: Services, job: Job, payload: Payload) -> Response:
    if payload.blob is not None:
        return Response(status_code=303, headers={"Location": services.blobs.download_link(payload.blob)})
    return Response(services.payloads.get(job.id, payload), media_type="application/json")


def _replayed(accepted: Accepted) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if accepted.replayed else {}


def preferred_wait(request: Request) -> int | None:
    """Prefer: wait=N (RFC 7240), as much of it as we give."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})(?:$|[,;\s])", request.headers.get("prefer", ""))
    return min(MAX_WAIT, int(found[1])) if found else None
