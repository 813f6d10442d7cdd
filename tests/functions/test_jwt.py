"""AuthMode Jwt: the owner is the subject that API Gateway has verified, and nothing that the request says itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from mangum import Mangum

from common.keys import check_owner
from common.settings import AuthMode, Settings
from common.wiring import Services
from functions.api.application import create_app
from functions.api.auth import HASHED, owner_of
from functions.live.handling import make_handler
from tests.handlers import Api, anywhere, load_event


@pytest.fixture
def jwt_services(services: Services) -> Services:
    return replace(services, settings=replace(services.settings, auth_mode=AuthMode.JWT))


@pytest.fixture
def handler(jwt_services: Services) -> Callable[[Any, Any], Any]:
    return Mangum(create_app(jwt_services, resolve=anywhere), lifespan="off")


@pytest.fixture
def as_subject(handler: Callable[[Any, Any], Any]) -> Callable[[Any], Api]:
    """The API behind the authorizer, which has verified a token with these claims."""

    def calling(claims: Any) -> Api:
        def verified(event: Any, context: Any) -> Any:
            event["requestContext"]["authorizer"] = {"jwt": {"claims": claims, "scopes": None}}
            return handler(event, context)

        return Api(verified)

    return calling


def test_the_subject_is_the_owner(as_subject: Callable[[Any], Api], services: Services) -> None:
    job = as_subject({"sub": "4f1c2e9a-7b"}).submit()
    stored = services.store.get(job["id"], services.clock())
    assert stored is not None
    assert stored.owner == "4f1c2e9a-7b"
    assert as_subject({"sub": "4f1c2e9a-7b"}).job(job["id"])["id"] == job["id"]
    assert as_subject({"sub": "another"})("GET", f"/jobs/{job['id']}").status == 404


@pytest.mark.parametrize("claims", [{}, {"sub": ""}, {"email": "a@example.com"}, {"owner": "acme"}])
def test_a_token_without_a_subject_is_nobody_s(as_subject: Callable[[Any], Api], claims: dict[str, str]) -> None:
    assert as_subject(claims)("GET", "/jobs").status == 401


def test_what_the_gateway_has_not_verified_counts_for_nothing(
    handler: Callable[[Any, Any], Any], services: Services
) -> None:
    """On the routes without an authorizer, and if one were forgotten: a key, a token, a context of one's own."""
    api = Api(handler)
    key, _ = services.keys.create("acme", "test", services.clock())
    forged = '{"jwt": {"claims": {"sub": "acme"}}}'
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}, {"x-amzn-request-context": forged}, {}):
        assert api("GET", "/jobs", headers=headers).status == 401


@pytest.mark.parametrize("authorizer", [{"lambda": {"sub": "acme"}}, {"iam": {"userId": "acme"}}, {"jwt": {}}, None])
def test_another_kind_of_authorizer_s_context_is_no_token(
    handler: Callable[[Any, Any], Any], authorizer: dict[str, Any] | None
) -> None:
    def with_context(event: Any, context: Any) -> Any:
        event["requestContext"]["authorizer"] = authorizer
        return handler(event, context)

    assert Api(with_context)("GET", "/jobs").status == 401


def test_health_and_the_api_s_description_are_anybody_s(handler: Callable[[Any, Any], Any]) -> None:
    assert Api(handler)("GET", "/health").status == 200
    assert Api(handler)("GET", "/openapi.json").status == 200


@pytest.mark.parametrize("subject", ["auth0|5f7c8ec7c33c6c004bbafe82", "a@example.com", "x" * 65, "ä", "#", "sub.a"])
def test_a_subject_that_is_no_owner_s_name_has_one_of_its_own(subject: str) -> None:
    owner = owner_of(subject)
    check_owner(owner)
    assert owner.startswith(HASHED)
    assert owner_of(owner) != owner  # who has that for a subject is somebody else


def test_websockets_are_opened_by_ticket(
    aws: Settings, jwt_services: Services, as_subject: Callable[[Any], Api]
) -> None:
    handler = make_handler(jwt_services)
    key, _ = jwt_services.keys.create("acme", "test", jwt_services.clock())
    event = load_event("live-connect")
    event["queryStringParameters"] = None
    event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = [f"longrun, key.{key}"]
    assert handler(event, None)["statusCode"] == 401
    ticket = as_subject({"sub": "acme"})("POST", "/live-ticket", json={}).json()["ticket"]
    event["queryStringParameters"] = {"ticket": ticket}
    assert handler(event, None)["statusCode"] == 200
