"""Waiting for jobs and watching them on the command line: for people, for machines, and live on a terminal."""

import io
import json
import os
import signal
import subprocess
import sys
import threading

from rich.console import Console

from longrun import Event, Job
from longrun.cli_live import View
from longrun.cli_output import Output
from longrun.cli_watch import watching
from tests.unit.conftest import Run
from tests.unit.scripted_answers import AT_ONCE, EVENTS, error_of, event, sse
from tests.unit.scripted_service import Reply, ScriptedService, job_view

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
