"""The routes of schedules."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from common.jobs import is_id
from common.schedules import Kind, Schedule
from common.usage import NANO
from common.views import rfc3339
from functions.api.auth import Caller
from functions.api.body import read_json
from functions.api.requests import answer, plain_cursor, services_of, takes
from functions.api.scheduling import NewSchedule, find, make, pause, read_schedule, remove, seen_to
from functions.api.submissions import read_key

router = APIRouter()


@router.post("/schedules", status_code=201, openapi_extra=takes(NewSchedule))
async def make_schedule(request: Request, owner: Caller) -> Response:
    """Submits a job whenever `cron`, `rate` or `at` says so: each firing makes exactly one."""
    services = services_of(request)
    key = read_key(request.headers.get("idempotency-key"))
    made = make(services, owner, read_schedule(services, await read_json(request)), key)
    headers = {"Location": f"/schedules/{made.schedule.id}"}
    if made.replayed:
        headers["Idempotent-Replayed"] = "true"
    return answer(schedule_view(made.schedule, services.clock()), 201, headers)


@router.get("/schedules")
async def list_schedules(
    request: Request,
    owner: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """The caller's schedules by id, without their inputs."""
    services = services_of(request)
    found, after = services.schedules.list(owner, services.clock(), limit=limit, after=plain_cursor(cursor, is_id))
    seen = [schedule for schedule in (seen_to(services, each) for each in found) if schedule is not None]
    views = [schedule_view(each, services.clock(), without_input=True) for each in seen]
    return answer({"schedules": views, "next_cursor": after})


@router.get("/schedules/{schedule_id}")
async def get_schedule(request: Request, schedule_id: str, owner: Caller) -> Response:
    services = services_of(request)
    return answer(schedule_view(find(services, owner, schedule_id), services.clock()))


@router.post("/schedules/{schedule_id}/pause")
async def pause_schedule(request: Request, schedule_id: str, owner: Caller) -> Response:
    """Makes no jobs until it is resumed; what it would have made meanwhile is not made later."""
    services = services_of(request)
    return answer(schedule_view(pause(services, owner, schedule_id, paused=True), services.clock()))


@router.post("/schedules/{schedule_id}/resume")
async def resume_schedule(request: Request, schedule_id: str, owner: Caller) -> Response:
    services = services_of(request)
    return answer(schedule_view(pause(services, owner, schedule_id, paused=False), services.clock()))


@router.delete("/schedules/{schedule_id}", status_code=204)
async def delete_schedule(request: Request, schedule_id: str, owner: Caller) -> Response:
    """Forgets it; the jobs that it has made stay."""
    remove(services_of(request), owner, schedule_id)
    return Response(status_code=204)


def schedule_view(schedule: Schedule, now: float, *, without_input: bool = False) -> dict[str, Any]:
    order = schedule.order
    cost = order.budget.max_cost_nano_usd
    when = {kind.value: schedule.expression if kind is schedule.kind else None for kind in Kind}
    return {
        "id": schedule.id,
        "name": schedule.name,
        "status": schedule.status(now),
        **when,
        "at": rfc3339(schedule.moment),
        "timezone": schedule.timezone,
        "task": order.task,
        **({} if without_input else {"input": json.loads(order.input)}),
        "timeout_seconds": order.timeout_seconds,
        "max_attempts": order.max_attempts,
        "ttl_seconds": order.ttl_seconds,
        "callback_url": order.callback_url,
        "priority": order.priority,
        "max_tokens": order.budget.max_tokens,
        "max_cost_usd": None if cost is None else cost / NANO,
        "metadata": dict(order.metadata),
        "created_at": rfc3339(schedule.created_at),
        "last_fired_at": rfc3339(schedule.last_fired_at),
        "last_job": schedule.last_job,
    }
