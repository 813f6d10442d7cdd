"""The agent routes: the same jobs for clients that want no envelope. A job's id is called task_id here."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from common.chats import SESSION
from common.errors import BadRequest, NotFound
from common.jobs import Job, Status
from common.notices import SIMPLE
from common.views import job_view, rfc3339
from common.webhooks import error_text
from common.wiring import Services
from functions.api.auth import Caller
from functions.api.jobs import MAX_WAIT, find, preferred_wait, wait_for
from functions.api.requests import Body, answer, plain_cursor, read, services_of, takes
from functions.api.submissions import Accepted, read_key, read_submission, submit

router = APIRouter()

_CURSOR = re.compile(r"\d{13}#[0-9a-f]{32}")


class Prompt(Body):
    prompt: str = Field(min_length=1)
    instructions: str | None = None
    tools: list[str] | None = None


class PromptWithCallback(Prompt):
    callback_url: str


class Question(Body):
    query: str = Field(min_length=1)
    urls: list[str] | None = None
    documents: list[str] | None = None
    max_pages: int | None = None
    webhook_url: str | None = None


class Documents(Body):
    document_ids: list[str] = Field(min_length=1)
    questions: list[str] | None = None


class Message(Body):
    role: str
    content: str


class Chat(Body):
    session_id: str = Field(pattern=f"^{SESSION.pattern}$")
    messages: list[Message] = Field(min_length=1)


@router.post("/agent/start", status_code=202, openapi_extra=takes(Prompt))
@router.post("/agent/submit", status_code=202, openapi_extra=takes(Prompt))
async def submit_prompt(request: Request, owner: Caller) -> Response:
    """Gives the agent a prompt."""
    given = await read(request, Prompt)
    return _taken(_submit(request, owner, "agent", given), "pending")


@router.post("/agent/submit-with-callback", status_code=202, openapi_extra=takes(PromptWithCallback))
async def submit_prompt_with_callback(request: Request, owner: Caller) -> Response:
    """Gives the agent a prompt; `callback_url` is told of the end."""
    given = await read(request, PromptWithCallback)
    return _taken(_submit(request, owner, "agent", given, given.callback_url, SIMPLE), "submitted")


@router.get("/agent/status/{task_id}")
async def get_agent_status(request: Request, task_id: str, owner: Caller) -> Response:
    """How the agent is getting on; `result` is its answer."""
    services = services_of(request)
    job = _find(services, owner, task_id, "agent")
    percent = job.progress.percent if job.progress else None
    result = _result(services, job)
    return answer(
        {
            "id": job.id,
            "task_id": job.id,
            "status": job.seen_status(services.clock()),
            "progress": 100 if job.status is Status.COMPLETED else percent or 0,
            "result": result.get("answer", result) if isinstance(result, dict) else result,
            "error": error_text(job),
        }
    )


@router.post("/research", status_code=202, openapi_extra=takes(Question))
async def submit_research(request: Request, owner: Caller) -> Response:
    """Asks for a report with citations."""
    given = await read(request, Question)
    return _taken(_submit(request, owner, "research", given, given.webhook_url), "pending")


@router.get("/research/{task_id}")
async def get_research(request: Request, task_id: str, owner: Caller) -> Response:
    services = services_of(request)
    job = _find(services, owner, task_id, "research")
    return answer(
        {
            "task_id": job.id,
            "status": job.seen_status(services.clock()),
            "result": _result(services, job),
            "error": error_text(job),
            "created_at": rfc3339(job.created_at),
            "completed_at": rfc3339(job.finished_at),
        }
    )


@router.post("/batch-analyze", status_code=202, openapi_extra=takes(Documents))
async def submit_batch(request: Request, owner: Caller) -> Response:
    """Analyses stored documents."""
    given = await read(request, Documents)
    return _taken(_submit(request, owner, "analyze_documents", given), "queued")


@router.get("/batch-analyze/{task_id}")
async def get_batch(request: Request, task_id: str, owner: Caller) -> Response:
    services = services_of(request)
    job = _find(services, owner, task_id, "analyze_documents")
    result = _result(services, job)
    total = result["count"] if isinstance(result, dict) and "count" in result else None
    seen = job.progress
    return answer(
        {
            "task_id": job.id,
            "status": job.seen_status(services.clock()),
            "progress": {
                "current": total or (seen.current if seen else None) or 0,
                "total": total or (seen.total if seen else None) or _asked_for(services, job),
            },
            "result": result,
            "error": error_text(job),
        }
    )


@router.post("/chat", openapi_extra=takes(Chat))
async def chat(request: Request, owner: Caller, wait: Annotated[int, Query(ge=0, le=MAX_WAIT)] = MAX_WAIT) -> Response:
    """Answers at once if the answer comes within `wait` seconds; else with the job, which goes on."""
    services = services_of(request)
    accepted = _submit(request, owner, "chat", await read(request, Chat))
    preferred = preferred_wait(request)
    job = await wait_for(services, accepted.job, wait if preferred is None else preferred)
    if job.status is not Status.COMPLETED:
        headers = {"Location": f"/jobs/{job.id}", "Retry-After": "1"}
        return answer(job_view(job, services.clock(), services.payloads), 202, headers)
    result = _result(services, job)
    return answer({"response": result["response"], "task_id": job.id})


@router.get("/chat/{session_id}")
async def get_chat(
    request: Request,
    session_id: str,
    owner: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """The logged interactions of a session, oldest first."""
    if not SESSION.fullmatch(session_id):
        raise BadRequest("A session's id is 1 to 128 letters, digits, _ . : and -.")
    services = services_of(request)
    after = plain_cursor(cursor, _CURSOR.fullmatch)
    found, next_cursor = services.chats.list(owner, session_id, services.clock(), limit=limit, after=after)
    return answer({"session_id": session_id, "interactions": found, "next_cursor": next_cursor})


# ------------------------------------------------------------------ what the routes are made of


def _submit(
    request: Request,
    owner: str,
    task: str,
    given: BaseModel,
    callback_url: str | None = None,
    callback_form: str | None = None,
) -> Accepted:
    value = given.model_dump(exclude_none=True, exclude={"callback_url", "webhook_url"})
    submission: dict[str, Any] = {"task": task, "input": value}
    if callback_url is not None:
        submission["callback_url"] = callback_url
    services, key = services_of(request), read_key(request.headers.get("idempotency-key"))
    return submit(services, owner, read_submission(services, submission), key, callback_form=callback_form)


def _taken(accepted: Accepted, status: str) -> Response:
    headers = {"Location": f"/jobs/{accepted.job.id}", "Retry-After": "1"}
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return answer({"task_id": accepted.job.id, "status": status}, 202, headers)


def _find(services: Services, owner: str, job_id: str, task: str) -> Job:
    job = find(services, owner, job_id)
    if job.task != task:
        raise NotFound("No such job.")
    return job


def _result(services: Services, job: Job) -> Any:
    """The result, however large: these clients follow no links."""
    return None if job.result is None else json.loads(services.payloads.get(job.id, job.result))


def _asked_for(services: Services, job: Job) -> int:
    return len(json.loads(services.payloads.get(job.id, job.input))["document_ids"])
