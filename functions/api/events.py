"""The routes of what happens in a job: its log, read at once, waited for or streamed, and tickets to read it live."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from common.errors import BadRequest
from common.jobs import Job
from common.tickets import MAX_LIFE, MIN_LIFE
from common.views import progress_view, rfc3339
from common.wiring import Services
from functions.api import streams
from functions.api.auth import Caller, Reader
from functions.api.body import dump
from functions.api.jobs import MAX_WAIT, Wait, caching, find, wait_for
from functions.api.requests import Body, answer, read, services_of, takes

router = APIRouter()

STREAM = "text/event-stream"
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"content": {STREAM: {}}},
    204: {"description": "A stream that was resumed has no more to say."},
}


class TicketRequest(Body):
    job: str | None = None
    seconds: int = Field(default=MIN_LIFE, ge=MIN_LIFE, le=MAX_LIFE)


@router.get("/jobs/{job_id}/events", responses=_STREAMED)
async def get_events(
    request: Request,
    job_id: str,
    owner: Reader,
    after: Annotated[int, Query(ge=0, le=99_999_999)] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    wait: Wait = 0,
    progress: Annotated[bool, Query(description="Also tell where the job is, and answer when that changes.")] = False,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """What happened in the job after event number `after`; with `wait`, as soon as anything has.

    With `Accept: text/event-stream`, as Server-Sent Events; these go on from `Last-Event-ID`.
    """
    services = services_of(request)
    job = find(services, owner, job_id)
    if STREAM in request.headers.get("accept", "").lower():
        return await _stream(request, job, after, last_event_id)
    job = await _news(services, job, after, wait, progress=progress)
    events = ",".join(text for _, text in streams.read(services, job, after, limit))
    told: dict[str, Any] = {"last_event": job.last_event, "final": job.status.is_final}
    if progress:
        told["progress"] = progress_view(job)
    content = f'{{"events":[{events}],{dump(told)[1:]}'
    return Response(content, headers=caching(services, job), media_type="application/json")


@router.post("/live-ticket", status_code=201, openapi_extra=takes(TicketRequest))
async def create_ticket(request: Request, owner: Caller) -> Response:
    """A ticket that opens the events of the caller's jobs, or of one, to whoever shows it, for `seconds`."""
    services = services_of(request)
    given = await read(request, TicketRequest)
    job_id = None if given.job is None else find(services, owner, given.job).id
    ticket, expires_at = services.tickets.create(owner, job_id, given.seconds, services.clock())
    content = {"ticket": ticket, "expires_at": rfc3339(expires_at), "url": services.settings.live_url}
    return answer(content, 201, {"Cache-Control": "no-store"})


async def _stream(request: Request, job: Job, after: int, last_event_id: str | None) -> Response:
    services = services_of(request)
    if last_event_id is not None:
        if not re.fullmatch(r"\d{1,8}", last_event_id):
            raise BadRequest("That Last-Event-ID is none of ours; begin without one.")
        after = int(last_event_id)
        if job.status.is_final and job.last_event <= after:
            return Response(status_code=204)  # which tells a browser not to come back
    # Buffering in between would hold a stream back; nothing of it is worth keeping.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if services.settings.streams:
        is_stopping = getattr(request.app.state, "is_stopping", lambda: False)
        frames = streams.stream(services, job, after, is_stopping)
        return StreamingResponse(frames, headers=headers, media_type=STREAM)
    job = await _news(services, job, after, MAX_WAIT, progress=True)
    return Response(streams.answer(services, job, after), headers=headers, media_type=STREAM)


async def _news(services: Services, job: Job, after: int, seconds: float, *, progress: bool) -> Job:
    """The job, as soon as there is something to tell of it."""
    before = job.progress
    return await wait_for(
        services, job, seconds, lambda job: job.last_event > after or (progress and job.progress != before)
    )
