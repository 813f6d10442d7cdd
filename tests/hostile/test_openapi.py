"""The API keeps to what /openapi.json says of it: schemathesis draws requests from the document, good and bad, and checks
the answers with all its checks. The requests go through the real Lambda handler, as the gateway's events.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from mangum import Mangum
from schemathesis.config import SchemathesisConfig

from common.jobs import Status
from functions.api.application import create_app
from tests.aws import Clock
from tests.handlers import Api
from tests.hostile.bridge import Gateway

#: How many requests are drawn for each route, beside those that cover each keyword of its schemas.
EXAMPLES = int(os.environ.get("LONGRUN_EXAMPLES", "5"))

CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {"deterministic": True, "max-examples": EXAMPLES, "with-security-parameters": False},
        "checks": {
            # A schema cannot say which tasks there are, what their inputs are like, or where a name leads.
            "positive_data_acceptance": {"expected-statuses": ["2xx", 303, 304, 401, 404, 409, 422]},
        },
    }
)


@pytest.fixture
def waiting_takes_no_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)


@pytest.fixture
def known(api: Api, make_job: Any, worker: Any) -> Iterator[str]:
    """Ids of jobs of each status, over and over: drawn ones would be nobody's."""
    ended = api.submit(input={"n": 1})["id"]
    worker()
    return itertools.cycle([ended, *(make_job(status=status).id for status in (Status.PENDING, Status.RUNNING))])


#: The document needs nothing of what is behind the API; each test brings its own.
schema = schemathesis.openapi.from_wsgi(
    "/openapi.json",
    Gateway(Api(Mangum(create_app(None), lifespan="off"))),  # type: ignore[arg-type]
    config=CONFIG,
)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
@pytest.mark.usefixtures("waiting_takes_no_time")
def test_the_api_is_what_it_says(case: Any, api: Api, known: Iterator[str]) -> None:
    for name in {"job_id", "task_id"} & set(case.path_parameters or {}):
        case.path_parameters[name] = next(known)
    if case.meta.generation.mode.is_positive:  # one that is drawn is none of ours
        (case.query or {}).pop("cursor", None)
    case.call_and_validate(app=Gateway(api), headers={"Authorization": api.headers["authorization"]})
