"""The routes of jobs that go on: answers to their questions, and another go for those that ended badly."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from common.errors import Conflict, Fault, InvalidTransition, Unprocessable
from common.families import Family, child_id
from common.jobs import Job, Status, Wait, WaitKind
from common.resuming import NOT_RETRIED
from common.schemas import Misfit, checker
from common.steps import Step, place
from common.views import job_view
from common.wiring import Services
from functions.api.auth import Caller
from functions.api.body import dump
from functions.api.jobs import caching, find
from functions.api.requests import Body, answer, read, services_of, takes
from functions.api.submissions import read_key

router = APIRouter()


class Answer(Body):
    """An answer to a waiting job's question."""

    answer: Any = Field(description="What the question's schema says.")
    question: str | None = Field(default=None, description="The question's id; needed only where several are open.")


@router.post("/jobs/{job_id}/input", status_code=202, openapi_extra=takes(Answer))
async def answer_question(request: Request, job_id: str, owner: Caller) -> Response:
    """Answers a question of a waiting job, which goes on then."""
    services = services_of(request)
    given = await read(request, Answer)
    job = find(services, owner, job_id, consistent=True)
    wait = _question(job, given.question)
    _check(wait, given.answer)
    now = services.clock()
    payload = services.payloads.put_step(job.id, f"answer-{secrets.token_hex(8)}", dump(given.answer))
    # It was asked for with these words and this schema: that is what it is recorded under.
    step = Step(wait.step, wait.of, payload, now, place(job.claims + 1))
    job = services.store.answer(job, step, secrets.token_hex(8), now)
    return _sent(services, job)


@router.post("/jobs/{job_id}/retry", status_code=202)
async def retry_job(
    request: Request, job_id: str, owner: Caller, from_step: Annotated[str | None, Query(max_length=200)] = None
) -> Response:
    """Runs a failed or cancelled job again, past its finished steps; `from_step` forgets that one and those after it.

    Asked for again with the same Idempotency-Key it is done once, even if the job has failed again in between.
    """
    services = services_of(request)
    token = _retry_token(read_key(request.headers.get("idempotency-key")), from_step)
    steps = {} if from_step is None else services.store.steps(find(services, owner, job_id))
    # After its steps: if a copy of this request has taken some away, its token is seen here.
    job = find(services, owner, job_id, consistent=True)
    if job.was_changed_by(token):
        return _sent(services, job, replayed=True)
    if job.status not in (Status.FAILED, Status.CANCELLED):
        raise InvalidTransition(job, NOT_RETRIED)
    first = None if from_step is None else _named(steps, from_step)
    return _sent(services, services.store.revive(job, token, services.clock(), first))


def _retry_token(key: str | None, from_step: str | None) -> str:
    """What a retry leaves in the job: the same for the same key."""
    if key is None:
        return secrets.token_hex(8)
    return f"retry-{hashlib.sha256(json.dumps([key, from_step]).encode()).hexdigest()[:32]}"


def _named(steps: Mapping[str, Step], name: str) -> Step:
    """Raises Unprocessable."""
    if name not in steps:
        known = ", ".join(sorted(steps)[:20]) or "none"
        fault: Fault = {"loc": ["query", "from_step"], "msg": f"No finished step is called that; there are: {known}"}
        raise Unprocessable("There is no such step.", [fault])
    return steps[name]


@router.get("/jobs/{job_id}/children")
async def list_children(
    request: Request,
    job_id: str,
    owner: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """The jobs that the job's steps have begun, in their order."""
    services = services_of(request)
    job = find(services, owner, job_id)
    families = _latest(services.families.all(job)) if job.has_children else []
    places = [(family, number) for family in families for number in range(family.made)]
    names = [(child_id(job, family.name, number), family, number) for family, number in places[cursor : cursor + limit]]
    now = services.clock()
    children = services.store.many((name for name, _, _ in names), now)
    found = [_child_view(name, children.get(name), family, number, now) for name, family, number in names]
    steps = [
        {"step": family.step, "task": family.task, "size": family.size, "ended": family.ended, "failed": family.failed}
        for family in families
    ]
    after = cursor + limit if cursor + limit < len(places) else None
    return answer({"steps": steps, "children": found, "next_cursor": after})


def _latest(families: Iterable[Family]) -> list[Family]:
    """Of a job that was retried, those of its present life, and those of steps that it has not come to again."""
    return list({family.step: family for family in sorted(families, key=lambda each: each.life)}.values())


def _child_view(name: str, child: Job | None, family: Family, number: int, now: float) -> dict[str, Any]:
    status = child.seen_status(now) if child else None
    has_children = child.has_children if child else False
    error = asdict(child.error) if child and child.error else None
    return {
        "id": name,
        "step": family.step,
        "number": number,
        "task": family.task,
        "status": status,
        "error": error,
        "has_children": has_children,
    }


def _question(job: Job, question: str | None) -> Wait:
    """The open question that is meant. Raises Conflict, Unprocessable."""
    asked = {name: wait for name, wait in job.waits.items() if wait.kind is WaitKind.ANSWER}
    if job.status not in (Status.WAITING, Status.PENDING) or not asked:
        raise Conflict(f"Job {job.id} is {job.status} and asks nothing.")
    if question is None and len(asked) == 1:
        return next(iter(asked.values()))
    if question not in asked:
        fault: Fault = {"loc": ["question"], "msg": f"One of the open questions' ids: {', '.join(sorted(asked))}"}
        raise Unprocessable("It is not clear which question that answers.", [fault])
    return asked[question]


def _check(wait: Wait, given: Any) -> None:
    """Raises Unprocessable for what the question's schema does not allow, Conflict if it is no schema at all."""
    try:
        checker(wait.schema or {})(given)
    except Misfit as misfit:
        fault: Fault = {"loc": ["answer", *misfit.path], "msg": misfit.message}
        raise Unprocessable("The answer does not fit the question.", [fault]) from None
    except ValueError as error:  # asked by an older release, which did not look
        raise Conflict(str(error)) from error


def _sent(services: Services, job: Job, *, replayed: bool = False) -> Response:
    if job.status is Status.PENDING:
        services.queues.nudge(job)
    view = job_view(job, services.clock(), services.payloads)
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return answer(view, 202, {"Location": f"/jobs/{job.id}"} | headers | caching(services, job))
