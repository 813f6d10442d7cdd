"""The command line, against a real server on loopback: what it asks, and what it exits with."""

import json
import socket
from pathlib import Path

import pytest

from longrun.cli import split_globals
from tests.unit.conftest import Run
from tests.unit.scripted_answers import AT_ONCE, error_of
from tests.unit.scripted_service import Reply, ScriptedService, job_view, problem


def test_submit_writes_the_id_alone(service: ScriptedService, run: Run) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    done = run("submit", "research", "--input", '{"query": "tides"}', "--metadata", "team=a=b", "--key", "k-1")
    assert (done.exit_code, done.stdout) == (0, "j1\n")
    assert "longrun watch j1" in done.stderr
    [sent] = service.seen
    assert sent.json == {"task": "research", "input": {"query": "tides"}, "metadata": {"team": "a=b"}}
    assert sent.headers["idempotency-key"] == '"k-1"'
    assert sent.headers["authorization"] == "Bearer secret-key"


def test_submit_passes_every_option_on(service: ScriptedService, run: Run) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    numbers = {"timeout_seconds": 60, "max_attempts": 2, "delay_seconds": 5, "ttl_seconds": 900}
    options = [part for name, value in numbers.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    assert run("submit", "research", *options, "--callback-url", "https://x.example/h").exit_code == 0
    assert service.seen[0].json == {"task": "research", "input": {}, "callback_url": "https://x.example/h"} | numbers


def test_the_input_may_come_from_a_file_or_stdin(service: ScriptedService, run: Run, tmp_path: Path) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    file = tmp_path / "input.json"
    file.write_text('\ufeff{"a": "ü"}', encoding="utf-8")
    run("submit", "research", "--input", f"@{file}")
    run("submit", "research", "-i", "@-", input='{"b": 1}')
    assert [sent.json["input"] for sent in service.seen] == [{"a": "ü"}, {"b": 1}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "{oops"], "not JSON"),
        (["--input", "@/nowhere.json"], "No such file"),
        (["--input", '{"x": NaN}'], "cannot be written as JSON"),
        (["--metadata", "novalue"], "k=v"),
        (["--timeout-seconds", "soon"], "integer"),
        (["--no-such-option"], "No such option"),
    ],
)
@pytest.mark.parametrize("machine", [False, True])
def test_wrong_usage_is_2(service: ScriptedService, run: Run, arguments: list[str], said: str, machine: bool) -> None:
    done = run("submit", "research", *arguments, *["--json"] * machine)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in (error_of(done)["message"] if machine else done.stderr)
    assert service.seen == []


def test_global_options_may_stand_anywhere() -> None:
    given = ["list", "--json", "--url", "http://x", "--limit", "3", "--api-key=k", "--", "--json"]
    assert split_globals(given) == (
        ["--json", "--url", "http://x", "--api-key=k"],
        ["list", "--limit", "3", "--", "--json"],
    )
    assert split_globals(["list", "--url"]) == (["--url"], ["list"])


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (problem(404, "Not found"), 4, "longrun list"),
        (problem(401, "Unauthorized"), 4, "LONGRUN_API_KEY"),
        (problem(403, "Forbidden"), 4, "LONGRUN_API_KEY"),
        (problem(400, "Bad request"), 2, ""),
        (problem(409, "Conflict", detail="it is running"), 2, "it is running"),
        (problem(500, "Broken"), 5, "try again"),
        (problem(503, "Starting", headers=AT_ONCE), 5, "try again"),
        (problem(429, "Over quota", headers={"Retry-After": "600"}), 5, "try again in 600 s"),
        (Reply(200, b"<html>"), 5, "LONGRUN_URL"),
    ],
)
def test_each_refusal_has_its_exit_code_and_a_hint(
    service: ScriptedService, run: Run, reply: Reply, code: int, said: str
) -> None:
    service.on("GET /jobs/j1", reply)
    done = run("show", "j1")
    assert (done.exit_code, done.stdout) == (code, "")
    assert "error: " in done.stderr
    assert said in done.stderr
    assert "secret-key" not in done.output


def test_an_unreachable_service_is_5_and_says_what_to_do(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    done = run("--url", f"http://127.0.0.1:{port}", "health")
    assert done.exit_code == 5
    assert "is the stack running? Try `make run`, or set LONGRUN_URL" in done.stderr


def test_a_422_lists_what_is_wrong_where(service: ScriptedService, run: Run) -> None:
    errors = [{"loc": ["body", "input", "query"], "msg": "Field required"}]
    service.on("POST /jobs", problem(422, "Invalid", detail="The input does not fit.", errors=errors))
    done = run("submit", "research")
    assert done.exit_code == 2
    assert "  body.input.query: Field required" in done.stderr
    assert "`longrun tasks NAME`" in done.stderr
    assert error_of(run("submit", "research", "--json"))["problem"]["errors"] == errors


def test_a_bad_address_is_wrong_usage(run: Run) -> None:
    done = run("--url", "localhost:8000", "health")
    assert (done.exit_code, "not an address" in done.stderr) == (2, True)


def test_tasks_are_shown_and_one_with_its_schema(service: ScriptedService, run: Run) -> None:
    research = {"name": "research", "description": "Reads [pages].\nMore.", "input_schema": {"type": "object"}}
    service.on("GET /tasks", {"tasks": [research | {"timeout_seconds": 300, "max_attempts": 3}]})
    service.on("GET /tasks/research", research)
    assert run("tasks").stdout.splitlines()[1].split() == ["research", "300", "s", "3", "Reads", "[pages]."]
    assert json.loads(run("tasks", "--json").stdout)["tasks"][0]["name"] == "research"
    assert json.loads(run("tasks", "research").stdout)["input_schema"] == {"type": "object"}
    assert "longrun tasks" in run("tasks", "missing").stderr


def test_health_and_version(service: ScriptedService, run: Run) -> None:
    service.on("GET /health", {"status": "ok"})
    assert run("health").stdout == f"ok  {service.url}\n"
    assert json.loads(run("health", "--json").stdout) == {"status": "ok", "url": service.url}
    assert run("version").stdout.startswith("longrun 0.")


def test_help_explains_the_exit_codes(run: Run) -> None:
    said = run("--help").stdout
    assert "Exit codes:" in said
    assert "130  interrupted" in said
    assert "secret-key" not in said
