"""The routes of webhooks: the caller's endpoint and its secret, and what became of each message."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from common import egress
from common.addresses import locate
from common.deliveries import Delivery, delivery_view
from common.endpoints import MAX_OVERLAP, OVERLAP, endpoint_view
from common.errors import BadRequest, Conflict, NotFound, Unprocessable
from common.items import ms
from common.jobs import is_id
from common.tasks import faults_of
from common.telemetry import logger
from common.wiring import Services
from functions.api.auth import Caller
from functions.api.body import dump, parse, read_bytes, read_json
from functions.api.jobs import services_of

#: How long a name may take to be looked up when it is registered, in seconds.
LOOK_UP = 3

Model = TypeVar("Model", bound=BaseModel)

router = APIRouter()


def _callable(url: str, info: ValidationInfo) -> str:
    return egress.check(url, policy=(info.context or {})["receivers"])


class NewEndpoint(BaseModel):
    """Where the caller's webhooks go."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Annotated[str, AfterValidator(_callable)] = Field(description="An https address with a public name.")


class Rotation(BaseModel):
    """How a new secret takes the old one's place."""

    model_config = ConfigDict(extra="forbid", strict=True)

    overlap_seconds: int = Field(
        default=OVERLAP, ge=0, le=MAX_OVERLAP, description="How long the old secret signs as well; 0 to end it at once."
    )


def _takes(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": model.model_json_schema()}}}}


@router.get("/webhook")
async def get_endpoint(request: Request, owner: Caller) -> Response:
    """The caller's endpoint; `url` is null where there is none."""
    services = services_of(request)
    return _json(endpoint_view(services.endpoints.get(owner), services.clock()))


@router.put(
    "/webhook",
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": NewEndpoint.model_json_schema()}}}},
)
async def set_endpoint(request: Request, owner: Caller) -> Response:
    """Tells this address of every job from now on. `secret` is shown here once, if it is new; else it is null."""
    services = services_of(request)
    given = await _read(request, NewEndpoint)
    await _judge(request, given.url)
    endpoint, secret = services.endpoints.set_url(owner, given.url, services.clock())
    return _json(endpoint_view(endpoint, services.clock()) | {"secret": secret})


@router.delete("/webhook", status_code=204)
async def remove_endpoint(request: Request, owner: Caller) -> Response:
    """No endpoint any more. The secret stays, for what goes to callback addresses."""
    services_of(request).endpoints.remove(owner)
    return Response(status_code=204)


@router.post("/webhook/rotate", openapi_extra=_takes(Rotation))
async def rotate_secret(request: Request, owner: Caller) -> Response:
    """A new secret (or the first), shown here once; the old one signs as well for `overlap_seconds`."""
    services = services_of(request)
    data = await read_bytes(request)
    given = _validated(request, Rotation, parse(data) if data else {})
    endpoint, secret = services.endpoints.rotate(owner, given.overlap_seconds, services.clock())
    return _json(endpoint_view(endpoint, services.clock()) | {"secret": secret})


@router.get("/webhook/undelivered")
async def list_undelivered(
    request: Request,
    owner: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> Response:
    """The caller's messages that were given up, the latest first."""
    services = services_of(request)
    found, after = services.deliveries.undelivered(owner, services.clock(), limit=limit, after=_read_cursor(cursor))
    next_cursor = base64.urlsafe_b64encode(after.encode()).decode() if after else None
    return _json({"deliveries": [delivery_view(each) for each in found], "next_cursor": next_cursor})


@router.get("/jobs/{job_id}/deliveries")
async def list_deliveries(request: Request, job_id: str, owner: Caller) -> Response:
    """The job's webhooks with each of their tries; they are kept longer than the job may be."""
    found = _deliveries(services_of(request), owner, job_id)
    return _json({"deliveries": [delivery_view(each) for each in found]})


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
    try:
        services.webhook_queue.send(job_id, delivery=begun.id, owner=owner)
    except Exception as error:  # noqa: BLE001  # it is written down: the sweeper sends what is overdue
        logger.warning("webhook not sent", delivery=begun.id, error=type(error).__name__)
    return _json(delivery_view(begun), 202)


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


async def _read(request: Request, model: type[Model]) -> Model:
    return _validated(request, model, await read_json(request))


def _validated(request: Request, model: type[Model], value: Any) -> Model:
    context = {"receivers": services_of(request).settings.receivers}
    try:
        return model.model_validate(value, context=context)
    except ValidationError as error:
        raise Unprocessable("The request is not valid.", faults_of(error)) from None


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


def _read_cursor(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    try:
        after = base64.urlsafe_b64decode(cursor.encode()).decode()
    except (binascii.Error, UnicodeError, ValueError):
        after = ""
    if not re.fullmatch(r"\d{13}#[0-9a-f]{32}#msg_[0-9a-f]{32}", after):
        raise BadRequest("That cursor is none of ours; begin without one.")
    return after


def _json(content: Any, status: int = 200) -> Response:
    return Response(dump(content), status, media_type="application/json")
