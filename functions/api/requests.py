"""What the routes share: how a body becomes a model, a page is named, and an answer written."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo

from common import egress
from common.errors import BadRequest, Unprocessable
from common.tasks import faults_of
from common.wiring import Services
from functions.api.body import dump, read_json

Model = TypeVar("Model", bound=BaseModel)


def _callable(url: str, info: ValidationInfo) -> str:
    return egress.check(url, policy=(info.context or {})["receivers"])


#: Where a webhook may go; `valid` says which addresses the deployment allows.
Receiver = Annotated[str, AfterValidator(_callable)]


class Body(BaseModel):
    """Unknown members are refused: a misspelt option would be silently without effect."""

    model_config = ConfigDict(extra="forbid", strict=True)


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def takes(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """What the API's description says of a route's body: routes read it themselves, strictly."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


async def read(request: Request, model: type[Model]) -> Model:
    """The request's body. Raises BadRequest, TooLarge, UnsupportedMediaType, Unprocessable."""
    return valid(services_of(request), model, await read_json(request))


def valid(services: Services, model: type[Model], value: Any, what: str = "request") -> Model:
    """The value as a `model`. Raises Unprocessable, saying what is wrong where."""
    try:
        return model.model_validate(value, context={"receivers": services.settings.receivers})
    except ValidationError as error:
        raise Unprocessable(f"The {what} is not valid.", faults_of(error)) from None


def cursor(after: str | None) -> str | None:
    """Where the next page begins, as a client carries it."""
    return base64.urlsafe_b64encode(after.encode()).decode() if after else None


def read_cursor(given: str | None, is_ours: Callable[[str], object]) -> str | None:
    """What `cursor` was given. Raises BadRequest."""
    if given is None:
        return None
    try:
        after = base64.urlsafe_b64decode(given.encode()).decode()
    except (binascii.Error, UnicodeError, ValueError):
        after = ""
    return plain_cursor(after, is_ours)


def plain_cursor(given: str | None, is_ours: Callable[[str], object]) -> str | None:
    """One that clients carry as it is. Raises BadRequest."""
    if given is not None and not is_ours(given):
        raise BadRequest("That cursor is none of ours; begin without one.")
    return given


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(dump(content), status, headers, "application/json")
