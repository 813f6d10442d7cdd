"""What is another owner's, what has expired, and what never was: each route answers the same `404` for all of them.

The routes are the app's own: one that this file has no recipe for fails it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from common.jobs import Job, Status, new_id
from common.wiring import Services
from functions.api.application import create_app
from tests.aws import Clock
from tests.handlers import Answer, Api

#: What a path parameter stands for.
KINDS = {
    "job_id": "job",
    "task_id": "job",
    "delivery_id": "job",
    "schedule_id": "schedule",
    "document_id": "document",
    "session_id": "session",
    "name": "task",
}
#: Of paths under which there are other tasks' jobs alone.
TASKS = {"agent": "agent", "research": "research", "batch-analyze": "analyze_documents"}
BODIES: dict[str, Any] = {"POST /jobs/{job_id}/input": {"answer": True}}
#: Nobody's thing, so there is no other owner's: what all may see, what is made by naming it, and a list that may be empty.
ELSEWHERE = {"GET /tasks/{name}", "PUT /documents/{document_id}", "GET /chat/{session_id}"}
SCHEDULE = {"name": "x", "rate": "1 hour", "task": "echo", "input": {}}


@dataclass(frozen=True)
class Route:
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes() -> list[Route]:
    document = create_app(None).openapi()  # type: ignore[arg-type]
    return [
        Route(method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if "{" in path
    ]


@pytest.fixture
def call(api: Api) -> Callable[[Route, str], Answer]:
    """Calls a route with an id in each of its places."""

    def call_it(route: Route, name: str) -> Answer:
        path = "/".join(name if part.startswith("{") else part for part in route.path.split("/"))
        return api(route.method, path, json=BODIES.get(str(route), {}))

    return call_it


def seen(answer: Answer, name: str) -> tuple[int, dict[str, str], Any]:
    """The whole answer, without the one thing that the caller said itself."""
    headers = {key: value for key, value in answer.headers.items() if key != "content-length"}
    assert name in json.loads(answer.text)["instance"]
    return answer.status, headers, json.loads(answer.text.replace(name, "ID"))


@pytest.mark.parametrize("route", [route for route in routes() if str(route) not in ELSEWHERE], ids=str)
def test_the_same_answer_for_what_is_not_there_and_for_what_is_not_yours(
    route: Route,
    api: Api,
    services: Services,
    clock: Clock,
    make_job: Callable[..., Job],
    call: Callable[[Route, str], Answer],
) -> None:
    kinds = {KINDS[part.strip("{}")] for part in route.path.split("/") if part.startswith("{")}
    unknown = new_id()
    expected = seen(call(route, unknown), unknown)
    assert expected[0] == 404
    assert expected[1]["content-type"] == "application/problem+json"

    assert kinds <= {"job", "schedule", "document"}
    task = TASKS.get(route.path.split("/")[1], "echo")
    if "job" in kinds:
        for status in Status:
            ended = {"finished_at": clock(), "expires_at": int(clock()) + 100} if status.is_final else {}
            others = make_job(owner="other", task=task, status=status, **ended)
            assert seen(call(route, others.id), others.id) == expected
        for status in (each for each in Status if each.is_final):
            gone = make_job(task=task, status=status, finished_at=clock() - 100, expires_at=int(clock()))
            assert seen(call(route, gone.id), gone.id) == expected
    if "schedule" in kinds:
        others = api.as_owner(services, "other")("POST", "/schedules", json=SCHEDULE).json()["id"]
        assert seen(call(route, others), others) == expected
        once = SCHEDULE | {"rate": None, "at": "2026-12-01T00:00:00"}
        mine = api("POST", "/schedules", json=once).json()["id"]
        found = services.schedules.get("acme", mine, clock())
        assert found is not None
        services.schedules.note(found, clock(), new_id(), clock())
        clock.advance(31 * 86_400)
        assert seen(call(route, mine), mine) == expected
    if "document" in kinds:  # these never expire
        other = api.as_owner(services, "other")
        put = other("PUT", "/documents/theirs", body=b"text", headers={"content-type": "text/plain"})
        assert put.status == 201
        assert seen(call(route, "theirs"), "theirs") == expected


def test_a_chat_of_somebody_else_is_an_empty_one(api: Api, services: Services, clock: Clock) -> None:
    services.chats.put("other", "s1", {"message": "theirs"}, job_id=new_id(), at=clock())
    theirs, none = api("GET", "/chat/s1").json(), api("GET", "/chat/s2").json()
    assert theirs | {"session_id": "s2"} == none


def test_a_document_of_the_same_name_is_another_one(api: Api, services: Services) -> None:
    for caller, text in ((api, b"mine"), (api.as_owner(services, "other"), b"theirs")):
        assert caller("PUT", "/documents/same", body=text, headers={"content-type": "text/plain"}).status == 201
    assert services.documents.get("acme", "same").data == b"mine"
