"""Jobs on the command line: listed, shown, read and cancelled, for people and for pipes."""

import json
from pathlib import Path

from tests.unit.conftest import Run
from tests.unit.scripted_service import Reply, ScriptedService, job_view


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
