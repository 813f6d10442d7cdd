"""Questions, answers, retries and family trees on the command line, against a scripted service."""

import io
import json
import os
import pty
import subprocess
import sys
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import TypeAdapter
from rich.console import Console

from longrun import Event, Job
from longrun.cli_durable_answers import Open, expected, read_answer
from longrun.cli_live import View
from tests.unit.conftest import Run
from tests.unit.scripted_answers import EVENTS, error_of, event, sse
from tests.unit.scripted_service import Reply, ScriptedService, job_view, problem
from tests.unit.test_client_durable import ASKED, child, children

OTHER = {"id": "q2", "question": "Which\x1b[2J one?", "schema": {"enum": ["a", "b"]}, "expires_at": None}
ANSWERED = Reply(202, job_view("pending"))


class Colour(Enum):
    RED = "red"
    TWO = 2


@pytest.mark.parametrize(
    ("kind", "said", "text", "answer"),
    [
        (bool, "yes or no", " Yes", True),
        (bool, "yes or no", "n", False),
        (int, "a whole number", "-12", -12),
        (float, "a number", "1.5", 1.5),
        (str, "text", ' "quoted" ', ' "quoted" '),
        (Colour, "one of: red, 2", "2", 2),
        (Literal["only"], "only", "only ", "only"),
        (list[int], "JSON", "[1, 2]", [1, 2]),
        (str | None, "JSON", "null", None),
        (Any, "JSON", '{"a": 1}', {"a": 1}),
    ],
)
def test_text_becomes_what_the_question_asks_for(kind: Any, said: str, text: str, answer: Any) -> None:
    schema = TypeAdapter(kind).json_schema()
    assert expected(schema) == said
    found = read_answer(text, schema)
    assert (found, type(found)) == (answer, type(answer))


@pytest.mark.parametrize(
    ("kind", "text"),
    [(bool, "perhaps"), (int, "1.5"), (int, ""), (float, "true"), (float, "x"), (Colour, "blue"), (list[int], "[1")],
)
def test_text_that_cannot_be_the_answer_is_refused(kind: Any, text: str) -> None:
    schema = TypeAdapter(kind).json_schema()
    with pytest.raises(ValueError, match="the answer must be"):
        read_answer(text, schema)


def test_open_questions_are_shown(service: ScriptedService, run: Run) -> None:
    service.on("GET /jobs/j1", job_view("waiting", questions=[ASKED, OTHER]))
    done = run("ask", "j1")
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[1] == ["j1", "Publish?", "yes", "or", "no", "2026-02-07", "12:00:00Z", "q1"]
    assert "one of: a, b" in done.stdout
    assert "\x1b" not in done.stdout
    assert "longrun answer j1 --question q1" in done.stderr
    assert json.loads(run("ask", "j1", "--json").stdout) == {
        "questions": [{"job": "j1", "task": "research"} | one for one in (ASKED, OTHER)]
    }


def test_without_an_id_all_waiting_jobs_questions_are_shown(service: ScriptedService, run: Run) -> None:
    listed = {"id": "j1", "task": "research", "status": "waiting"}
    service.on("GET /jobs", {"jobs": [listed, listed | {"id": "j2"}], "next_cursor": None})
    service.on("GET /jobs/j1", job_view("waiting"))  # it sleeps
    service.on("GET /jobs/j2", job_view("waiting", id="j2", questions=[ASKED]))
    done = run("questions", "--json")
    assert [one["job"] for one in json.loads(done.stdout)["questions"]] == ["j2"]
    assert service.seen[0].query["status"] == "waiting"
    assert "longrun answer j2`" in run("ask").stderr


@pytest.mark.parametrize(
    ("arguments", "question", "answer"),
    [
        (["yes"], ASKED, True),
        (["false", "--json-answer"], ASKED, False),
        (["b", "--question", "q2"], OTHER, "b"),
        (['["b"]', "--json-answer"], OTHER, ["b"]),
    ],
)
def test_an_answer_goes_to_its_question(
    service: ScriptedService, run: Run, arguments: list[str], question: dict[str, Any], answer: Any
) -> None:
    service.on("GET /jobs/j1", job_view("waiting", questions=[question]))
    service.on("POST /jobs/j1/input", ANSWERED)
    done = run("answer", "j1", *arguments)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "job j1 is pending" in done.stderr
    assert service.seen[-1].json == {"answer": answer, "question": question["id"]}
    assert json.loads(run("answer", "j1", *arguments, "--json").stdout)["status"] == "pending"


@pytest.mark.parametrize(
    ("questions", "arguments", "said"),
    [
        ([ASKED], ["perhaps"], "the answer must be yes or no"),
        ([ASKED], ["yes", "--json-answer"], "not JSON"),
        ([ASKED], [], "no terminal to ask at"),
        ([ASKED], ["yes", "--question", "q9"], "q1 (Publish?)"),
        ([ASKED, OTHER], ["yes"], "q2 (Which"),
        ([], ["yes"], "job j1 is waiting and asks nothing"),
    ],
)
def test_what_cannot_be_an_answer_is_not_sent(
    service: ScriptedService, run: Run, questions: list[Any], arguments: list[str], said: str
) -> None:
    service.on("GET /jobs/j1", job_view("waiting", questions=questions))
    done = run("answer", "j1", *arguments, "--json")
    assert (done.exit_code, [sent.method for sent in service.seen]) == (2, ["GET"])
    assert said in error_of(done)["message"]


def test_an_answer_that_the_service_refuses_is_2_and_says_why(service: ScriptedService, run: Run) -> None:
    service.on("GET /jobs/j1", job_view("waiting", questions=[ASKED]))
    service.on("POST /jobs/j1/input", problem(422, errors=[{"loc": ["answer"], "msg": "data must be long"}]))
    done = run("answer", "j1", "yes")
    assert done.exit_code == 2
    assert "answer: data must be long" in done.stderr
    assert "longrun ask" in done.stderr


def test_at_a_terminal_one_is_asked_until_the_answer_fits(service: ScriptedService) -> None:
    question = ASKED | {"question": "How\x1b[2J many?", "schema": {"type": "integer", "minimum": 3}}
    service.on("GET /jobs/j1", job_view("waiting", questions=[question]))
    refused = problem(422, errors=[{"loc": ["answer"], "msg": "data must be bigger than or equal to 3"}])
    service.on("POST /jobs/j1/input", refused, ANSWERED)
    ours, theirs = pty.openpty()
    os.write(ours, b"many\n2\n3\n")
    done = subprocess.run(
        [sys.executable, "-c", "from longrun.cli import main; main()", "answer", "j1"],
        env=os.environ | {"LONGRUN_URL": service.url},
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert [sent.json["answer"] for sent in service.asked("POST /jobs/j1/input")] == [2, 3]
    assert "How\ufffd[2J many?" in done.stderr
    assert "the answer must be a whole number" in done.stderr
    assert "data must be bigger than or equal to 3" in done.stderr


ASKING = (
    event("status", 1, status="running", attempt=1),
    event("step", 2, name="draft"),
    event("question", 3, id="q1", name="ask", question="Publish\x1b[2J?", schema={"type": "boolean"}),
    event("status", 4, status="waiting", attempt=1, waits_for=["ask"], asks=True),
)
GOING_ON = (
    event("status", 5, status="pending", attempt=1, answered="ask"),
    event("status", 6, status="running", attempt=1),
    event("status", 7, status="pending", attempt=1, reason="continuation"),
    event("status", 8, status="waiting", attempt=1, waits_for=["part"]),
    event("status", 9, status="pending", attempt=1, ended="part"),
)


def test_watch_says_how_to_answer(service: ScriptedService, run: Run) -> None:
    service.on("GET /jobs/j1", job_view("waiting", questions=[ASKED]), job_view("completed", result="out"))
    service.on(EVENTS, sse(*ASKING, *GOING_ON, status="completed"))
    said = [line.split() for line in run("watch", "j1").stderr.splitlines()]
    assert said[1:5] == [
        ["step", "draft"],
        ["question", "Publish\ufffd[2J?"],
        ["status", "waiting", "attempt", "1", "for", "ask"],
        ["asks", "Publish\ufffd[2J?", "`longrun", "answer", "j1`"],
    ]
    assert [line[4:] for line in said[5:10]] == [
        ["ask", "was", "answered"],
        [],
        ["continuation"],
        ["for", "part"],
        ["children", "of", "part", "ended"],
    ]


def shown(view: View) -> str:
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(view)
    return console.export_text()


def test_the_live_view_shows_a_question_while_it_is_open() -> None:
    view = View(Job.model_validate(job_view("running")))
    for one in ASKING:
        view.show(Event.model_validate(one))
    assert "? Publish\ufffd[2J?" in shown(view)
    assert "answer it with `longrun answer j1`" in shown(view)
    assert "\x1b" not in shown(view)
    for one in GOING_ON:
        view.show(Event.model_validate(one))
    assert "longrun answer" not in shown(view)


def test_of_several_questions_each_is_named_until_it_is_answered() -> None:
    asks = Open("j1")
    second = event("question", 4, id="q2", name="right", question="Right?", schema=None)
    both = event("status", 5, status="waiting", attempt=1, waits_for=["ask", "right"], asks=True)
    for one in (*ASKING[:3], second, both):
        asks.take(Event.model_validate(one))
    assert [command for _, command in asks.lines()] == [
        "longrun answer j1 --question q1",
        "longrun answer j1 --question q2",
    ]
    # It is asked once, and waited for twice.
    for one in (GOING_ON[0], event("status", 8, status="waiting", attempt=1, waits_for=["right"], asks=True)):
        asks.take(Event.model_validate(one))
    assert asks.lines() == (("Right?", "longrun answer j1"),)


def test_a_cut_question_is_none() -> None:
    asks = Open("j1")
    asks.take(Event.model_validate(event("question", 1, cut_from_bytes=40_000)))
    asks.take(Event.model_validate(ASKING[3]))
    assert asks.lines() == ()


def test_retry(service: ScriptedService, run: Run) -> None:
    service.on("POST /jobs/j1/retry", Reply(202, job_view("pending")))
    done = run("retry", "j1", "--from-step", "fetch:b", "--key", "nightly")
    assert (done.exit_code, done.stdout) == (0, "")
    assert service.seen[0].headers["idempotency-key"] == '"nightly"'
    assert "longrun watch j1" in done.stderr
    assert service.seen[0].query == {"from_step": "fetch:b"}
    assert json.loads(run("retry", "j1", "--json").stdout)["status"] == "pending"


def test_a_retry_that_is_waited_for_shows_what_is_new(service: ScriptedService, run: Run) -> None:
    service.on("POST /jobs/j1/retry", Reply(202, job_view("pending", last_event=7)))
    service.on("GET /jobs/j1", job_view("running"), job_view("completed", result="mended"))
    service.on(EVENTS, sse(event("status", 7, status="pending", attempt=1, reason="retry"), status="completed"))
    done = run("retry", "j1", "--wait")
    assert (done.exit_code, done.stdout) == (0, "mended\n")
    assert "attempt 1  retry" in done.stderr
    assert service.asked(EVENTS)[0].query["after"] == "6"


def test_a_retry_that_is_refused_says_why(service: ScriptedService, run: Run) -> None:
    service.on("POST /jobs/j1/retry", problem(422, errors=[{"loc": ["query", "from_step"], "msg": "there are: a, b"}]))
    done = run("retry", "j1", "--from-step", "c")
    assert done.exit_code == 2
    assert "there are: a, b" in done.stderr
    assert "longrun tasks" not in done.stderr


def test_submit_passes_the_priority_on(service: ScriptedService, run: Run) -> None:
    service.on("POST /jobs", Reply(202, job_view()))
    run("submit", "research", "--priority", "high")
    assert service.seen[0].json == {"task": "research", "input": {}, "priority": "high"}


FAILURE = {"type": "Permanent", "message": "bad\x1b[2J [page]", "retryable": False, "attempt": 1}


@pytest.fixture
def family(service: ScriptedService) -> ScriptedService:
    """A job with a small step and a big one, of which one child has children itself."""
    service.on("GET /jobs/j1", job_view("waiting", has_children=True))
    big = {"step": "page", "task": "page", "size": 120, "ended": 118, "failed": 1}
    pages = [child(n, step="page", task="page", id=f"p{n}") for n in range(119)]
    pages[7] |= {"status": "failed", "error": FAILURE}
    pages[9] |= {"status": "running", "has_children": True}
    small = children(child(0), child(1, None))
    steps = {"steps": [*small["steps"], big]}
    every = [*small["children"], *pages]
    service.on(
        "GET /jobs/j1/children",
        *(steps | {"children": every[:100], "next_cursor": 100}, steps | {"children": every[100:], "next_cursor": None})
        * 5,
    )
    service.on("GET /jobs/p9/children", children(child(0, "waiting", id="g0", has_children=True)))
    service.on("GET /jobs/g0/children", problem(404))  # forgotten in between
    return service


def test_a_family_is_drawn(family: ScriptedService, run: Run) -> None:
    done = run("tree", "j1")
    assert done.exit_code == 0
    assert [line.strip("│├└─ ") for line in done.stdout.splitlines()] == [
        "research  waiting  j1",
        "part  2 of 2 ended",
        "0  part  completed  c0",
        "1  part  forgotten  c1",
        "page  118 of 120 ended, 1 not well",
        "7  page  failed  p7  Permanent: bad\ufffd[2J [page]",
        "9  page  running  p9",
        "part  1 of 1 ended",
        "0  part  waiting  g0",
        "… 117 more have completed; --all shows them",
    ]


def test_a_family_may_be_shown_whole_or_not_so_deep(family: ScriptedService, run: Run) -> None:
    whole = run("tree", "j1", "--all", "--depth", "1")
    assert len(whole.stdout.splitlines()) == 1 + 2 + 2 + 119
    assert not family.asked("GET /jobs/p9/children")


def test_a_family_is_one_document_for_machines(family: ScriptedService, run: Run) -> None:
    found = json.loads(run("tree", "j1", "--json").stdout)
    assert (found["id"], found["status"], [step["step"] for step in found["steps"]]) == (
        "j1",
        "waiting",
        ["part", "page"],
    )
    _, page = found["steps"]
    assert (page["size"], page["ended"], page["failed"], page["left_out"]) == (120, 118, 1, 117)
    assert [(one["id"], one["status"]) for one in page["children"]] == [("p7", "failed"), ("p9", "running")]
    assert page["children"][0]["error"]["type"] == "Permanent"
    assert page["children"][1]["steps"][0]["children"][0]["id"] == "g0"


def test_a_big_family_that_is_well_is_asked_for_once(service: ScriptedService, run: Run) -> None:
    service.on("GET /jobs/j1", job_view("completed", has_children=True))
    shown = [child(n) for n in range(100)]
    service.on("GET /jobs/j1/children", children(*shown, size=5_000, ended=5_000, cursor=100))
    assert "5,000 more have completed" in run("tree", "j1").stdout
    assert len(service.asked("GET /jobs/j1/children")) == 1


def test_a_job_without_children_is_a_tree_of_one(service: ScriptedService, run: Run) -> None:
    service.on("GET /jobs/j1", job_view("completed"))
    assert run("tree", "j1").stdout == "research  completed  j1\n"
    assert len(service.seen) == 1


def test_show_tells_what_a_job_asks_and_where_it_belongs(service: ScriptedService, run: Run) -> None:
    more = {"continuations": 3, "parent": "j0", "has_children": True, "priority": "high", "questions": [ASKED]}
    service.on("GET /jobs/j1", job_view("waiting", **more))
    said = run("show", "j1").stdout
    for part in ("3 times", "j0", "longrun tree j1", "high", "Publish?  (q1)"):
        assert part in said
