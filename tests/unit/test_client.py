"""What the client sends, and what it makes of the answers; each test speaks for the blocking and the async client."""

import dataclasses
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

import longrun
from longrun import AsyncClient, Client, Job, JobFailed, Problem, WaitTimeout
from tests.unit.scripted_service import Caller, Reply, ScriptedService, job_view, problem


def test_a_submission_carries_what_was_asked_and_who_asks(service: ScriptedService, call: Caller) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    job = call("submit", "research", {"query": "tides"}, timeout_seconds=60, metadata={"team": "a"})
    [sent] = service.seen
    assert sent.json == {
        "task": "research",
        "input": {"query": "tides"},
        "timeout_seconds": 60,
        "metadata": {"team": "a"},
    }
    assert sent.headers["authorization"] == "Bearer secret-key"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["user-agent"].startswith("longrun-client/")
    assert (job.id, job.status, job.is_final) == ("j1", "pending", False)
    assert job.created_at == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_without_a_key_no_authorization_is_sent(service: ScriptedService) -> None:
    service.on("GET /health", {"status": "ok"})
    with Client(service.url) as client:
        assert client.health().status == "ok"
    assert "authorization" not in service.seen[0].headers


def test_models_dataclasses_and_dates_become_json(service: ScriptedService, call: Caller) -> None:
    class Query(BaseModel):
        text: str
        since: date

    @dataclasses.dataclass
    class Limits:
        pages: int

    service.on("POST /jobs", Reply(202, job_view()))
    call("submit", "research", Query(text="Gezeiten – ü", since=date(2026, 1, 1)))
    call("submit", "research", {"limits": Limits(3), "tags": ("a", "b")})
    call("submit", "research")
    inputs = [sent.json["input"] for sent in service.seen]
    assert inputs[0] == {"text": "Gezeiten – ü", "since": "2026-01-01"}
    assert inputs[1:] == [{"limits": {"pages": 3}, "tags": ["a", "b"]}, {}]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", object(), {("a", 1): 2}])
def test_what_is_not_json_is_refused_before_anything_is_sent(
    service: ScriptedService, call: Caller, value: object
) -> None:
    with pytest.raises(longrun.InvalidInput, match="the input cannot be written as JSON"):
        call("submit", "research", {"value": value})
    assert service.seen == []


def test_an_unknown_option_is_a_type_error(call: Caller) -> None:
    for name in ("submit", "run"):
        with pytest.raises(TypeError, match="timeout_second"):
            call(name, "research", {}, timeout_second=3)


def test_newer_servers_do_not_break_older_clients(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/j1", job_view("hibernating", mood="good", progress={"percent": 1, "phase": "x"}))
    job = call("get", "j1")
    assert (job.status, job.is_final, job.progress.percent) == ("hibernating", False, 1)
    with pytest.raises(ValidationError):
        job.status = "running"


def test_ids_cannot_lead_elsewhere(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs/..%2Fadmin%3Fx", job_view())
    assert call("get", "../admin?x").id == "j1"
    for bad in ("", ".", ".."):
        with pytest.raises(longrun.InvalidInput):
            call("delete", bad)
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, longrun.InvalidRequest),
        (401, longrun.Unauthorized),
        (403, longrun.Unauthorized),
        (404, longrun.NotFound),
        (405, longrun.ApiProblem),
        (409, longrun.Conflict),
        (413, longrun.InvalidRequest),
        (422, longrun.InvalidRequest),
        (500, longrun.Unavailable),
    ],
)
def test_each_status_has_its_error(
    service: ScriptedService, call: Caller, status: int, error: type[longrun.ApiProblem]
) -> None:
    service.on("POST /jobs/j1/cancel", problem(status, "Title", detail="why", instance="/jobs/j1", quota="jobs"))
    with pytest.raises(longrun.ApiProblem, match="Title: why") as caught:
        call("cancel", "j1")
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.title, caught.value.detail) == (status, "Title", "why")
    assert (caught.value.instance, caught.value.type) == ("/jobs/j1", "about:blank")
    assert caught.value.problem.model_extra == {"quota": "jobs"}
    assert caught.value.request == "POST /jobs/j1/cancel"
    assert len(service.seen) == 1, "none of these is worth another try"


def test_a_422_says_what_is_wrong_where(service: ScriptedService, call: Caller) -> None:
    errors = [{"loc": ["body", "input", "urls", 0], "msg": "not a URL"}, {"loc": [], "msg": "too much"}]
    service.on("POST /jobs", problem(422, "Invalid", errors=errors))
    with pytest.raises(longrun.InvalidRequest) as caught:
        call("submit", "research", {})
    assert [str(error) for error in caught.value.errors] == ["body.input.urls[0]: not a URL", "too much"]


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b'["x"]', b'{"errors": 3, "title": null}'])
def test_an_error_that_is_no_problem_document_is_still_an_api_problem(
    service: ScriptedService, call: Caller, body: bytes
) -> None:
    service.on("GET /tasks", Reply(500, body))
    with pytest.raises(longrun.Unavailable, match=r"Internal Server Error \(HTTP 500\)"):
        call("tasks")


@pytest.mark.parametrize("body", [b"<html>", b'{"id": "j1"}', b"[]"])
def test_another_service_at_the_address_is_noticed(service: ScriptedService, call: Caller, body: bytes) -> None:
    service.on("GET /jobs/j1", Reply(200, body))
    with pytest.raises(longrun.UnexpectedAnswer, match="GET /jobs/j1 was not answered as Longrun does"):
        call("get", "j1")


def test_a_redirect_is_not_followed_with_our_key(service: ScriptedService, call: Caller) -> None:
    service.on("GET /tasks", Reply(301, headers={"Location": f"{service.url}/elsewhere"}))
    with pytest.raises(longrun.UnexpectedAnswer, match=r"redirects to .*/elsewhere"):
        call("tasks")
    assert len(service.seen) == 1


def test_jobs_are_listed_page_by_page(service: ScriptedService, call: Caller) -> None:
    first = {"jobs": [{"id": "a", "task": "t", "status": "failed"}], "next_cursor": "c/1="}
    service.on("GET /jobs", first, {"jobs": [{"id": "b", "task": "t", "status": "failed"}], "next_cursor": None})
    assert [job.id for job in call("jobs", status="failed", task="t")] == ["a", "b"]
    assert [sent.query for sent in service.seen] == [
        {"status": "failed", "task": "t", "limit": "100"},
        {"status": "failed", "task": "t", "limit": "100", "cursor": "c/1="},
    ]


def test_one_page_of_jobs_can_be_asked_for(service: ScriptedService, call: Caller) -> None:
    service.on("GET /jobs", {"jobs": [], "next_cursor": "more"})
    assert call("list", limit=5, cursor="c").next_cursor == "more"
    assert service.seen[0].query == {"limit": "5", "cursor": "c"}


def test_tasks_show_what_they_take(service: ScriptedService, call: Caller) -> None:
    research = {"name": "research", "description": "Reads.", "input_schema": {"type": "object"}, "timeout_seconds": 300}
    service.on("GET /tasks", {"tasks": [research]})
    service.on("GET /tasks/research", research)
    assert call("tasks") == (call("task", "research"),)


def test_a_deletion_whose_answer_was_lost_is_done(service: ScriptedService, call: Caller) -> None:
    service.on("DELETE /jobs/j1", Reply(drop=True), problem(404))
    assert call("delete", "j1") is None
    service.on("DELETE /jobs/j1", problem(503), problem(404))
    with pytest.raises(longrun.NotFound):  # the first try said that it did nothing
        call("delete", "j1")


def test_the_address_may_have_a_path(service: ScriptedService) -> None:
    service.on("GET /prod/health", {"status": "ok"})
    with Client(f" {service.url}/prod/ ") as client:
        assert client.health().status == "ok"


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "https://user:secret@x", "http://x?y=1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(longrun.InvalidInput) as caught:
        Client(url)
    assert "user:secret" not in str(caught.value)


def test_the_key_is_trimmed_checked_and_never_shown(service: ScriptedService) -> None:
    service.on("GET /health", {"status": "ok"})
    with Client(service.url, "secret-key\n") as client:
        client.health()
    assert service.seen[0].headers["authorization"] == "Bearer secret-key"
    assert "secret" not in repr(client._calls) + repr(client._calls.service.request("GET", "/"))
    with pytest.raises(longrun.InvalidInput) as caught:
        Client(service.url, "secret\r\nkey")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_environment_is_read_when_asked(kind: type[Client] | type[AsyncClient]) -> None:
    client = kind.from_env({"LONGRUN_URL": "https://jobs.example.com/", "LONGRUN_API_KEY": "k"})
    assert (client.url, client._calls.service.api_key) == ("https://jobs.example.com", "k")
    assert kind.from_env({}).url == "http://localhost:8000"


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> dict[str, Any]:
        public = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
        functions: dict[str, Callable[..., Any]] = {name: f for name, f in public.items() if inspect.isfunction(f)}
        return {name: list(inspect.signature(f).parameters) for name, f in functions.items()}

    assert calls(Client) == calls(AsyncClient)
    assert len(calls(Client)) > 15
    assert Client.submit.__doc__ == AsyncClient.submit.__doc__


@pytest.mark.parametrize(
    "error",
    [
        JobFailed(Job.model_validate(job_view("failed"))),
        WaitTimeout(Job.model_validate(job_view("running")), 3),
        longrun.InvalidResult(Job.model_validate(job_view("completed")), "why"),
        longrun.NotFound(Problem(status=404, title="x"), "GET /jobs/j1", 3.0),
        longrun.Unreachable("http://x", 5, "refused"),
    ],
)
def test_errors_survive_the_way_to_another_process(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_result_type_may_be_strict(service: ScriptedService, call: Caller) -> None:
    class Paper(BaseModel):
        model_config = ConfigDict(strict=True)
        title: str
        day: date

    service.on("GET /jobs/j1", job_view("completed", result=[{"title": "Tides", "day": "2026-01-01"}]))
    assert call("result", "j1", result_type=list[Paper]) == [Paper(title="Tides", day=date(2026, 1, 1))]


def test_importing_the_client_does_not_import_the_command_line() -> None:
    # httpx imports rich for its own command line where click is installed, so that is taken away here.
    code = (
        "import sys; sys.modules['click'] = None; import longrun; print(*{'typer', 'rich', 'asyncio'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
