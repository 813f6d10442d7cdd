"""The command line, against a real server on loopback: what it asks, writes, and exits with."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import Result

from longrun import Event, Job
from longrun.cli import split_globals
from longrun.cli_documents import document_ids
from longrun.cli_live import View
from longrun.cli_output import Output
from longrun.cli_watch import watching
from tests.unit.conftest import Run
from tests.unit.scripted_service import Reply, ScriptedService, job_view, problem

EVENTS = "GET /jobs/j1/events"
#: No waiting between tries or polls.
AT_ONCE = {"Retry-After": "0"}


def event(kind: str, seq: int | None = None, /, **data: Any) -> dict[str, Any]:
    """An event as the service shows it."""
    number = {} if seq is None else {"seq": seq}
    return number | {"at": "2026-01-31T12:00:00Z", "type": kind, "data": data}


def sse(*events: dict[str, Any], status: str | None = None) -> Reply:
    """An answer of Server-Sent Events; with a status, the last of its job."""
    names = ["" if "seq" in one else "event: progress\n" for one in events]
    text = "".join(f"{name}data: {json.dumps(one)}\n\n" for name, one in zip(names, events, strict=True))
    last = max([one["seq"] for one in events if "seq" in one], default=0)
    if status is not None:
        text += f"event: end\ndata: {json.dumps({'status': status, 'last_event': last})}\n\n"
    return Reply(200, text.encode(), {"Content-Type": "text/event-stream"})


CONVERSATION = (
    event("status", 1, status="running", attempt=1),
    event("thought", 2, text="hm\x1b[2J,\ntides"),
    event("tool_call", 3, name="search", arguments={"q": "tides"}, id=None),
    event("tool_result", 4, name="search", result="found [1]", id=None),
    event("output", 5, text="Hel"),
    event("output", 6, text="lo\nwor"),
    event("output", 7, text="ld"),
    event("log", 8, message="done", pages=3),
    event("strange", 9, new=True),
    event("status", 10, status="pending", attempt=1, error={"type": "Timeout", "message": "slow"}),
)


def error_of(result: Result) -> dict[str, Any]:
    """What `--json` says on stderr."""
    error: dict[str, Any] = json.loads(result.stderr)["error"]
    return error


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


def test_submit_and_wait_writes_the_result_alone(service: ScriptedService, run: Run) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    service.on("GET /jobs/j1", job_view("running"), job_view("completed", result={"answer": "ü"}))
    told = event("progress", percent=40, current=2, total=5, message="page [2] of 5")
    service.on(EVENTS, sse(event("status", 1, status="running", attempt=1), told, status="completed"))
    done = run("submit", "research", "--wait")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"answer": "ü"}
    assert [line.split() for line in done.stderr.splitlines()[1:3]] == [
        ["status", "running", "attempt", "1"],
        ["progress", "40%", "2/5", "page", "[2]", "of", "5"],
    ]


def test_waiting_for_machines_is_one_document_and_silence(service: ScriptedService, run: Run) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    service.on("GET /jobs/j1", Reply(200, job_view("running"), AT_ONCE), job_view("completed", result=[1]))
    done = run("--json", "submit", "research", "--wait")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["result"] == [1]
    assert service.asked("GET /jobs/j1")[0].query == {"wait": "20"}, "machines need no small steps"


def test_watch_is_a_line_for_each_event_and_not_for_each_piece_of_text(service: ScriptedService, run: Run) -> None:
    service.on("GET /jobs/j1", job_view("running"), job_view("completed", result="the end"))
    service.on(EVENTS, sse(*CONVERSATION, status="completed"))
    done = run("watch", "j1")
    assert (done.exit_code, done.stdout) == (0, "the end\n")
    assert done.stderr.splitlines()[:-1] == [
        "status       running  attempt 1",
        "thought      hm\ufffd[2J, tides",
        'tool_call    search({"q": "tides"})',
        "tool_result  search → found [1]",
        "output       Hello",
        "output       world",
        'log          done  {"pages": 3}',
        'strange      {"new": true}',
        "status       pending  attempt 1  Timeout: slow",
    ]


def test_watch_for_machines_is_a_line_of_json_for_each_event(service: ScriptedService, run: Run) -> None:
    service.on("GET /jobs/j1", job_view("completed", result="the end"))
    service.on(EVENTS, sse(*CONVERSATION, status="completed"))
    done = run("watch", "j1", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == list(CONVERSATION)
    service.on("GET /jobs/j1", job_view("failed", error={"type": "TypeError", "message": "oops", "attempt": 1}))
    done = run("watch", "j1", "--json")
    assert (done.exit_code, error_of(done)["type"]) == (1, "JobFailed")


def test_the_log_is_printed_as_it_is_now_or_followed(service: ScriptedService, run: Run) -> None:
    numbered = [one for one in CONVERSATION if "seq" in one]
    service.on(EVENTS, {"events": numbered, "last_event": len(numbered), "final": False})
    done = run("events", "j1", "--after", "1")
    lines = done.stdout.splitlines()
    assert lines[1] == '    3  2026-01-31 12:00:00Z  tool_call    search({"q": "tides"})'
    assert service.asked(EVENTS)[0].query["after"] == "1"
    found = run("events", "j1", "--json").stdout.splitlines()
    assert [json.loads(line) for line in found] == numbered
    service.on(EVENTS, sse(*CONVERSATION, status="failed"))
    assert len(run("events", "j1", "--follow").stdout.splitlines()) == len(numbered)
    assert run("events", "j2").exit_code == 4


def test_waiting_for_machines_has_a_large_result_in_its_document(service: ScriptedService, run: Run) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    service.on("GET /jobs/j1", job_view("completed", result_link="/jobs/j1/result"))
    service.on("GET /jobs/j1/result", Reply(303, headers={"Location": "/stored"}))
    service.on("GET /stored", Reply(200, {"large": True}))
    assert json.loads(run("submit", "research", "--wait", "--json").stdout)["result"] == {"large": True}


def test_a_failed_job_is_1_and_says_why(service: ScriptedService, run: Run) -> None:
    error = {"type": "TaskTimeout", "message": "Task timed out after 300 s", "retryable": False, "attempt": 2}
    service.on("GET /jobs/j1", job_view("failed", error=error))
    service.on(EVENTS, sse(status="failed"))
    service.on("POST /jobs", Reply(202, job_view()))
    done = run("watch", "j1")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "job j1 failed: TaskTimeout: Task timed out after 300 s (attempt 2)" in done.stderr
    done = run("submit", "research", "--wait", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"] == error
    assert (error_of(done)["type"], error_of(done)["job_id"]) == ("JobFailed", "j1")


def test_a_cancelled_job_is_3(service: ScriptedService, run: Run) -> None:
    service.on("GET /jobs/j1", job_view("cancelled"))
    service.on(EVENTS, sse(status="cancelled"))
    done = run("watch", "j1")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "job j1 was cancelled" in done.stderr


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


def test_jobs_are_listed_as_a_table_that_pipes_can_read(service: ScriptedService, run: Run) -> None:
    long_id = "j" * 120
    service.on("GET /jobs", {"jobs": [job_view("running", id=long_id)], "next_cursor": "c"})
    done = run("list", "--status", "running", "--task", "research", "--limit", "1")
    header, row = done.stdout.splitlines()
    assert header.split() == ["ID", "TASK", "STATUS", "ATTEMPT", "CREATED", "TOOK"]
    assert row.split()[:3] == [long_id, "research", "running"]
    assert "\x1b" not in done.output
    assert "--all" in done.stderr
    assert service.seen[0].query == {"status": "running", "task": "research", "limit": "1"}


def test_all_jobs_are_listed_over_all_pages_as_they_were_sent(service: ScriptedService, run: Run) -> None:
    jobs = [{"id": name, "task": "t", "status": "hibernating", "finished_at": None} for name in "ab"]
    service.on("GET /jobs", {"jobs": jobs[:1], "next_cursor": "c"}, {"jobs": jobs[1:], "next_cursor": None})
    assert json.loads(run("list", "--all", "--json").stdout) == {"jobs": jobs, "next_cursor": None}


def test_show_tells_all_and_lets_no_model_steer_the_terminal(service: ScriptedService, run: Run) -> None:
    service.on("GET /jobs/j1", job_view("completed", result="[red]\x1b[2Jgone\x9b", metadata={"team": "a"}))
    done = run("show", "j1")
    assert "[red]\ufffd[2Jgone\ufffd" in done.stdout
    assert '{"team": "a"}' in done.stdout
    assert "2026-01-31 12:00:00Z" in done.stdout
    assert json.loads(run("show", "j1", "--json").stdout)["result"] == "[red]\x1b[2Jgone\x9b"


def test_a_result_is_text_or_json_on_stdout_or_in_a_file(service: ScriptedService, run: Run, tmp_path: Path) -> None:
    service.on("GET /jobs/text", job_view("completed", id="text", result="# Tides\n"))
    service.on("GET /jobs/data", job_view("completed", id="data", result={"a": [1.0, "ü"]}))
    assert run("result", "text").stdout == "# Tides\n"
    assert run("result", "text", "--json").stdout == '"# Tides\\n"\n'
    assert json.loads(run("result", "data").stdout) == {"a": [1.0, "ü"]}
    file = tmp_path / "out"
    assert run("result", "text", "-o", str(file)).stdout == ""
    assert file.read_text() == "# Tides\n"
    run("result", "data", "-o", str(file))
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": [1.0, "ü"]}
    assert run("result", "data", "-o", str(tmp_path / "no" / "such")).exit_code == 2


def test_the_result_of_a_running_job_is_not_there_yet(service: ScriptedService, run: Run) -> None:
    service.on("GET /jobs/j1", job_view("running"))
    done = run("result", "j1")
    assert done.exit_code == 2
    assert "longrun watch j1" in done.stderr


def test_jobs_are_cancelled_and_forgotten(service: ScriptedService, run: Run) -> None:
    service.on("POST /jobs/j1/cancel", Reply(202, job_view("cancelled")))
    service.on("DELETE /jobs/j1", Reply(204))
    assert run("cancel", "j1").exit_code == run("delete", "j1").exit_code == 0
    assert json.loads(run("cancel", "j1", "--json").stdout)["status"] == "cancelled"
    assert json.loads(run("delete", "j1", "--json").stdout) == {"deleted": "j1"}


def test_tasks_are_shown_and_one_with_its_schema(service: ScriptedService, run: Run) -> None:
    research = {"name": "research", "description": "Reads [pages].\nMore.", "input_schema": {"type": "object"}}
    service.on("GET /tasks", {"tasks": [research | {"timeout_seconds": 300, "max_attempts": 3}]})
    service.on("GET /tasks/research", research)
    assert run("tasks").stdout.splitlines()[1].split() == ["research", "300", "s", "3", "Reads", "[pages]."]
    assert json.loads(run("tasks", "--json").stdout)["tasks"][0]["name"] == "research"
    assert json.loads(run("tasks", "research").stdout)["input_schema"] == {"type": "object"}
    assert "longrun tasks" in run("tasks", "missing").stderr


def test_documents_are_stored_listed_and_forgotten(
    service: ScriptedService, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    Path("docs/a b.MD").write_text("# A")
    Path("page.html").write_text("<p>")
    view = {"content_type": "text/markdown", "bytes": 3, "updated_at": "2026-01-31T12:00:00Z"}
    for name in ("docs-a-b.MD", "page.html"):
        service.on(f"PUT /documents/{name}", Reply(201, {"id": name} | view))
    service.on("GET /documents", {"documents": [{"id": "page.html"} | view]})
    service.on("DELETE /documents/page.html", Reply(204))
    assert run("documents", "put", "docs/a b.MD", "page.html").stdout.split() == ["docs-a-b.MD", "page.html"]
    assert [sent.headers["content-type"] for sent in service.seen] == ["text/markdown", "text/html"]
    stored = json.loads(run("documents", "put", "page.html", "--json").stdout)["documents"]
    assert [document["id"] for document in stored] == ["page.html"]
    assert "page.html" in run("documents", "list").stdout
    assert json.loads(run("documents", "list", "--json").stdout)["documents"][0]["id"] == "page.html"
    assert run("documents", "delete", "page.html").exit_code == 0
    assert "longrun documents list" in run("documents", "delete", "missing").stderr


def test_nothing_is_stored_when_a_type_is_not_known(service: ScriptedService, run: Run, tmp_path: Path) -> None:
    good, bad = tmp_path / "a.txt", tmp_path / "b.docx"
    good.touch()
    bad.touch()
    done = run("documents", "put", str(good), str(bad))
    assert (done.exit_code, service.seen) == (2, [])
    assert run("documents", "put", str(good), str(good), "--id", "x").exit_code == 2
    assert run("documents", "put", str(tmp_path / "missing.txt")).exit_code == 2
    service.on("PUT /documents/x", Reply(201, {"id": "x", "content_type": "text/plain", "bytes": 0}))
    assert run("documents", "put", str(bad), "--id", "x", "--content-type", "text/plain").exit_code == 0


def test_document_ids_come_from_paths_and_never_clash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    same, accents, japanese = ["notes/a.md", "./notes/../notes/a.md"], "Résumé (1).pdf", "日本.pdf"
    given = [*same, "notes-a.md", accents, ".hidden.txt", japanese, "/elsewhere/x.txt", "y" * 200 + ".txt"]
    ids = document_ids([Path(name) for name in given])
    assert ids[:2] == ["notes-a.md"] * 2, "the same file"
    assert ids[2].startswith("notes-a-")
    assert ids[3:5] == ["Resume-1-.pdf", "hidden.txt"]
    assert ids[5].startswith("document-")
    assert ids[5].endswith(".pdf")
    assert ids[6] == "x.txt"
    assert len(ids[7]) == 128
    assert ids[7].endswith(".txt")
    assert len({*ids}) == len(ids) - 1
    assert document_ids([Path(japanese)]) == ids[5:6], "the same the next time"


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


def test_a_job_is_watched_live_on_a_terminal() -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, height=40)
    job = Job.model_validate(job_view("pending", attempt=0, started_at=None))
    with watching(Output(False, Console(file=io.StringIO()), terminal), job) as show:
        for one in CONVERSATION[:-1]:
            show(Event.model_validate(one))
        show(Event.model_validate(event("status", 11, status="running", attempt=2)))
        show(Event.model_validate(event("progress", percent=40, current=2, total=5, message="page [2]\x1b[2J")))
        show(Event.model_validate(event("tool_call", 12, name="fetch", arguments={"url": "x" * 300})))
        show(Event.model_validate(event("output", 13, text="\n".join(f"line {n}" for n in range(20)))))
    last = screen.getvalue().rpartition("research running")[2]
    assert "2/5" in last
    assert "page [2]\ufffd[2J  attempt 2 of 3" in last
    assert "… fetch(" in last
    assert "tides" not in last, "that was the first attempt's"
    assert "line 19" in last
    assert "line 5" not in last


def test_the_view_shows_thoughts_and_tools_in_short_and_lets_nothing_steer_the_terminal() -> None:
    view = View(Job.model_validate(job_view("running")))
    for one in CONVERSATION[:-1]:
        view.show(Event.model_validate(one))
    view.show(Event.model_validate(event("tool_result", 12, name="lost", result="x")))
    view.show(Event.model_validate(event("tool_call", 13, name="read", arguments={"id": 7}, id="7")))
    console = Console(file=io.StringIO(), width=60, record=True)
    console.print(view)
    shown = console.export_text()
    assert "hm\ufffd[2J, tides" in shown
    assert '✓ search({"q": "tides"}) → found [1]' in shown
    assert '… read({"id": 7})' in shown
    assert "│ Hello" in shown
    assert "│ world" in shown
    assert "\x1b" not in shown


def test_ctrl_c_says_that_the_job_goes_on(service: ScriptedService) -> None:
    never = threading.Event()
    service.on("GET /jobs/j1", job_view("running"))
    # An answer that ends, as if nothing else had happened, and one that never comes.
    service.on(EVENTS, sse(event("status", 1, status="running", attempt=1)), Reply(hold=never, drop=True))
    environment = os.environ | {"LONGRUN_URL": service.url}
    code = "from longrun.cli import main; main()"
    watching = subprocess.Popen(
        [sys.executable, "-c", code, "watch", "j1"], env=environment, stdout=-1, stderr=-1, text=True
    )
    assert watching.stderr is not None
    assert "running" in watching.stderr.readline(), "it is watching now"
    watching.send_signal(signal.SIGINT)
    stdout, stderr = watching.communicate(timeout=20)
    never.set()
    assert (watching.returncode, stdout) == (130, "")
    assert "interrupted; job j1 goes on" in stderr
    assert "longrun watch j1" in stderr
