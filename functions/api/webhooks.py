"""The routes of webhooks: the caller's endpoint and its secret, and what became of each message."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from common import egress
from common.addresses import locate
from common.deliveries import Delivery, delivery_view
from common.endpoints import MAX_OVERLAP, OVERLAP, endpoint_view
from common.errors import Conflict, NotFound, Unprocessable
from common.items import ms
from common.jobs import is_id
from common.wiring import Services
from functions.api import requests
from functions.api.auth import Caller
from functions.api.body import parse, read_bytes
from functions.api.requests import Body, Receiver, answer, read, services_of, takes, valid

#: How long a name may take to be looked up when it is registered, in seconds.
LOOK_UP = 3

_CURSOR = re.compile(r"\d{13}#[0-9a-f]{32}#msg_[0-9a-f]{32}")

router = APIRouter()


class NewEndpoint(Body):
    """Where the caller's webhooks go."""

    url: Receiver = Field(description="An https address with a public name.")


class Rotation(Body):
    """How a new secret takes the old one's place."""

    overlap_seconds: int = Field(
        default=OVERLAP, ge=0, le=MAX_OVERLAP, description="How long the old secret signs as well; 0 to end it at once."
    )


@router.get("/webhook")
async def get_endpoint(request: Request, owner: Caller) -> Response:
    """The caller's endpoint; `url` is null where there is none."""
    services = services_of(request)
    return answer(endpoint_view(services.endpoints.get(owner), services.clock()))


@router.put("/webhook", openapi_extra=takes(NewEndpoint))
async def set_endpoint(request: Request, owner: Caller) -> Response:
    """Tells this address of every job from now on. `secret` is shown here once, if it is new; else it is null."""
    services = services_of(request)
    given = await read(request, NewEndpoint)
    await _judge(request, given.url)
    endpoint, secret = services.endpoints.set_url(owner, given.url, services.clock())
    return answer(endpoint_view(endpoint, services.clock()) | {"secret": secret})


@router.delete("/webhook", status_code=204)
async def remove_endpoint(request: Request, owner: Caller) -> Response:
    """No endpoint any more. The secret stays, for what goes to callback addresses."""
    services_of(request).endpoints.remove(owner)
    return Response(status_code=204)


@router.post("/webhook/rotate", openapi_extra=takes(Rotation, required=False))
async def rotate_secret(request: Request, owner: Caller) -> Response:
    """A new secret (or the first), shown here once; the old one signs as well for `overlap_seconds`."""
    services = services_of(request)
    data = await read_bytes(request)
    given = valid(services, Rotation, parse(data) if data else {})
    endpoint, secret = services.endpoints.rotate(owner, given.overlap_seconds, services.clock())
    return answer(endpoint_view(endpoint, services.clock()) | {"secret": secret})


@router.get("/webhook/undelivered")
async def list_undelivered(
    request: Request,
    owner: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> Response:
    """The caller's messages that were given up, the latest first."""
    services = services_of(request)
    after = requests.read_cursor(cursor, _CURSOR.fullmatch)
    found, next_one = services.deliveries.undelivered(owner, services.clock(), limit=limit, after=after)
    return answer({"deliveries": [delivery_view(each) for each in found], "next_cursor": requests.cursor(next_one)})


@router.get("/jobs/{job_id}/deliveries")
async def list_deliveries(request: Request, job_id: str, owner: Caller) -> Response:
    """The job's webhooks with each of their tries; they are kept longer than the job may be."""
    found = _deliveries(services_of(request), owner, job_id)
    return answer({"deliveries": [delivery_view(each) for each in found]})


@router.post("/jobs/{job_id}/deliveries/{delivery_id}/redeliver", status_code=202)
async def redeliver(request: Request, job_id: str, delivery_id: str, owner: Caller) -> Response:
    """Tries a webhook again from the start, whatever became of it, with the same id and body."""
    services = services_of(request)
    found = next((each for each in _deliveries(services, owner, job_id) if each.id == delivery_id), None)
    if found is None:
        raise NotFound("No such delivery.")
    begun = services.deliveries.begin_again(found, services.clock())
    if begun is None:
        raise Conflict("It is being tried at this moment; ask again.")
    services.webhook_queue.nudge(begun.reminder())
    return answer(delivery_view(begun), 202)


# ------------------------------------------------------------------ what the routes are made of


def _deliveries(services: Services, owner: str, job_id: str) -> list[Delivery]:
    """Oldest first. Raises the same NotFound for another's job as for none."""
    if not is_id(job_id):
        raise NotFound("No such job.")
    now = services.clock()
    job = services.store.get(job_id, now, consistent=True)
    mine = job is not None and job.owner == owner
    found = [each for each in services.deliveries.of_job(job_id, now) if each.owner == owner]
    if not mine and not found:
        raise NotFound("No such job.")
    if job is not None and mine:  # not those of a job before it under the same idempotency key
        found = [each for each in found if each.born == ms(job.created_at)]
    return sorted(found, key=lambda each: (each.created_at, each.id))


async def _judge(request: Request, url: str) -> None:
    """Where the name leads now; every try judges it anew. Raises Unprocessable."""
    target = egress.parse(url, policy=services_of(request).settings.receivers)
    try:
        async with asyncio.timeout(LOOK_UP):
            await locate(target, request.app.state.resolve)
    except egress.ForbiddenAddress as error:
        raise Unprocessable("The request is not valid.", [{"loc": ["url"], "msg": str(error)}]) from None
    except (egress.Unreachable, TimeoutError):
        pass  # the receiver may be set up later
