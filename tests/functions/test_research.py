"""Research: many sources, a report, and every citation of it leads to words that stand in its source."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from common.documents import Documents
from common.egress import LOCAL_PAGES
from common.jobs import Status
from common.tasks import Context
from common.usage import Budget
from common.wiring import Services
from tasks.kit.reading import read
from tasks.research import AT_A_TIME, Question, research
from tests.conftest import Api
from tests.functions.conftest import Run
from tests.functions.scripted import PAGES, given, kinds, log_of, result, store, store_pages, use
from tests.functions.single_jobs import ask_to_cancel
from tests.model_server import Calls, Fails, Hangs, ModelServer, Request, Says, Step
from tests.page_server import Page, PageServer, html

QUESTION = "How long does the worker hold a lease, and what happens when it dies?"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as server:
        use(monkeypatch, server)
        server.otherwise = Researcher()
        yield server


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[PageServer]:
    monkeypatch.setenv("LONGRUN_LOOPBACK", "allow")
    with PageServer() as server:
        yield server


class Researcher:
    """A language model that does what it is asked for, and cites what it is shown. Its parts are replaced by tests."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.report = (
            "A lease lasts sixty seconds [{first}], they say [999].\n\n## Death\n\nIt runs again [{last}][{first}].\n"
        )

    def __call__(self, request: Request) -> Step:
        asked = request.text
        if "Take the question apart" in asked:
            return self.plan()
        numbers = re.findall(r'<passage id=\\"(\d+)\\"', asked)
        if "You get passages of one source" in asked:
            return self.note(asked, numbers)
        return self.write(numbers)

    def plan(self) -> Step:
        return Calls("final_result", sub_questions=["How long is a lease?", "What if the worker dies?"])

    def note(self, asked: str, numbers: list[str]) -> Step:
        relevant = "lease" in asked.split("<passage", 1)[1]
        return Calls("final_result", relevant=relevant, summary=f"It says something [{numbers[0]}].")

    def write(self, numbers: list[str]) -> Step:
        return Says(self.report.format(first=numbers[0], last=numbers[-1]))


def lease(n: int) -> str:
    return (
        f"The worker of house {n} holds a lease of {n} seconds. When it dies, another one takes the job of house {n}."
    )


def cites(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\[(\d+)\]", text)]


def check(found: dict[str, Any], originals: dict[str, tuple[str, bytes]]) -> None:
    """Every number in the report has one citation and the other way round, and each passage stands in its source."""
    numbers = [citation["number"] for citation in found["citations"]]
    assert sorted(set(cites(found["report"]))) == numbers == list(range(1, len(numbers) + 1))
    for citation in found["citations"]:
        source = read(*originals[citation["source"]])
        assert citation["passage"]
        assert citation["passage"] in source.text
        assert citation["title"] == source.title
    used = {source["source"] for source in found["sources"] if source["status"] == "used"}
    assert used == {citation["source"] for citation in found["citations"]}


# ---------------------------------------------------------------------------------------- without a language model


def test_this_repository_s_own_documents_are_researched(run: Run, services: Services) -> None:
    store_pages(services)
    job = run(research, input=given(query=QUESTION))

    found = result(services, job)
    check(found, {f"document:{name}": ("text/markdown", path.read_bytes()) for name, path in PAGES.items()})
    assert found["report"].startswith(f"# {QUESTION}\n")
    assert "60 s" in found["report"]
    assert len(found["citations"]) >= 3
    assert found["query"] == QUESTION
    assert found["sub_questions"][0] == QUESTION
    assert found["model"]["language_model"] is False
    assert {source["source"] for source in found["sources"]} == {f"document:{name}" for name in PAGES}


def test_documents_and_pages_are_researched_and_failures_named(run: Run, services: Services, web: PageServer) -> None:
    originals: dict[str, tuple[str, bytes]] = {}
    for n in range(5):
        store(services, f"house-{n}", f"# House {n}\n\n{lease(n)}\n\nIts colour is grey.")
        originals[f"document:house-{n}"] = ("text/markdown", services.documents.get("acme", f"house-{n}").data)
    urls = []
    for n in range(5, 8):
        page = html(f"House {n}", lease(n), "Its colour is white.")
        urls.append(web.add(f"/{n}", page))
        originals[urls[-1]] = (page.content_type, page.body)
    store(services, "scan.pdf", b"%PDF-1.4 rubbish", "application/pdf")
    gone, bad = web.url("/gone"), "http://10.0.0.1/"
    documents = [*(f"house-{n}" for n in range(5)), "missing", "scan.pdf"]

    job = run(research, input=given(query=QUESTION, documents=documents, urls=[*urls, gone, bad]))

    found = result(services, job)
    check(found, originals)
    failed = {source["source"]: source["error"] for source in found["sources"] if source["status"] == "failed"}
    assert set(failed) == {gone, bad, "document:missing", "document:scan.pdf"}
    assert failed[gone] == "The page answered 404."
    assert all(name in found["report"].partition("## Not read")[2] for name in failed)
    assert {source["source"] for source in found["sources"]} == {*originals, *failed}
    assert len({citation["source"] for citation in found["citations"]}) >= 5
    log = log_of(services, job)
    assert sum(kind == "log" and data["message"] == "a source failed" for kind, data in log) == 4
    assert sum(kind == "log" and data["message"] == "a source was read" for kind, data in log) == 8
    assert "".join(data["text"] for kind, data in log if kind == "output") == found["report"]
    assert job.progress is not None
    assert (job.progress.current, job.progress.total, job.progress.message) == (12, 12, "writing the report")


def test_what_bears_on_the_question_is_read_first(run: Run, services: Services) -> None:
    for n in range(30):
        store(services, f"d{n:02}", f"Chapter {n} is about gardens, and how the grass of garden {n} is cut.")
    store(services, "d17", lease(17))
    store(services, "d03", lease(3))
    found = result(services, run(research, input=given(query=QUESTION, max_pages=4)))
    assert len(found["sources"]) == 4
    assert {source["source"] for source in found["sources"] if source["status"] == "used"} == {
        "document:d17",
        "document:d03",
    }


def test_by_default_twenty_are_read(run: Run, services: Services) -> None:
    for n in range(25):
        store(services, f"d{n:02}", lease(n))
    assert len(result(services, run(research, input=given(query=QUESTION)))["sources"]) == 20


def test_named_sources_over_the_limit_are_left_out_and_named(run: Run, services: Services) -> None:
    for n in range(3):
        store(services, f"d{n}", lease(n))
    found = result(
        services, run(research, input=given(query=QUESTION, documents=["d0", "d1", "d2", "d1"], max_pages=2))
    )
    last = found["sources"][-1]
    assert (last["source"], last["status"], last["error"]) == (
        "document:d2",
        "unused",
        "It was not read: max_pages is 2.",
    )
    assert "document:d2" in found["report"]


def test_sources_that_say_nothing_about_it_are_unused(run: Run, services: Services) -> None:
    store(services, "garden", "The grass is cut on Mondays. Flowers are watered at night.")
    found = result(services, run(research, input=given(query="quantum chromodynamics")))
    assert [source["status"] for source in found["sources"]] == ["unused"]
    assert "None of the sources" in found["report"]
    assert found["citations"] == []


def test_marks_in_questions_and_sources_are_no_citations(run: Run, services: Services) -> None:
    text = "# Leases [2]\n\nA lease lasts sixty seconds.[12] </passage> The worker [4] renews the lease.[13]"
    store(services, "wiki", text)
    found = result(services, run(research, input=given(query="How long is a lease [7]?")))
    check(found, {"document:wiki": ("text/markdown", text.encode())})
    assert "[12]" in found["citations"][0]["passage"]


# ---------------------------------------------------------------------------------------- failing


def test_nothing_to_read_is_an_error(run: Run) -> None:
    job = run(research, input=given(query=QUESTION))
    assert job.error is not None
    assert (job.status, job.error.type) == (Status.FAILED, "Permanent")
    assert "nothing to read" in job.error.message


def test_if_every_source_fails_for_good_the_job_fails(run: Run, services: Services, web: PageServer) -> None:
    store(services, "scan.pdf", b"%PDF-1.4 rubbish", "application/pdf")
    job = run(research, input=given(query=QUESTION, documents=["scan.pdf", "missing"], urls=[web.url("/gone")]))
    assert job.error is not None
    assert (job.status, job.error.type) == (Status.FAILED, "Permanent")
    assert job.error.message.startswith("Not one of the 3 sources could be read.")
    assert "The page answered 404." in job.error.message


def test_if_it_may_pass_the_job_is_tried_again(run: Run, web: PageServer) -> None:
    job = run(
        research, input=given(query=QUESTION, urls=[web.add("/busy", Page(b"later", status=503)), web.url("/gone")])
    )
    assert job.status is Status.PENDING
    assert job.history[-1].detail["error"]["type"] == "Retryable"


def test_a_fault_of_the_service_fails_a_source_only(
    run: Run, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(services, "good", lease(1))
    store(services, "bad", lease(2))
    get = Documents.get

    def unreliable(self: Documents, owner: str, document_id: str) -> Any:
        if document_id == "bad":
            raise ConnectionError("the bucket does not answer")
        return get(self, owner, document_id)

    monkeypatch.setattr(Documents, "get", unreliable)
    found = result(services, run(research, input=given(query=QUESTION, documents=["bad", "good"])))
    assert [(source["source"], source["status"]) for source in found["sources"]] == [
        ("document:good", "used"),
        ("document:bad", "failed"),
    ]


@pytest.mark.parametrize(
    "input",
    [
        {"query": ""},
        {"query": "x", "max_pages": 0},
        {"query": "x", "max_pages": 101},
        {"query": "x", "urls": [""]},
        {"query": "x", "urls": ["https://example.com"] * 101},
        {"query": "x", "depth": 3},
    ],
    ids=repr,
)
def test_what_does_not_fit_is_refused_at_submission(api: Api, input: dict[str, Any]) -> None:
    assert api("POST", "/jobs", json={"task": "research", "input": input}).status == 422


# ---------------------------------------------------------------------------------------- with a language model


def test_a_model_plans_reads_and_writes(run: Run, services: Services, server: ModelServer) -> None:
    for n in range(6):
        store(services, f"house-{n}", lease(n))
    store(services, "garden", "The grass is cut on Mondays.")
    job = run(research, input=given(query=QUESTION))

    found = result(services, job)
    originals = {f"document:house-{n}": ("text/markdown", lease(n).encode()) for n in range(6)}
    check(found, originals)
    body = found["report"].partition("## Sources")[0]
    assert body == (
        f"# {QUESTION}\n\nA lease lasts sixty seconds [1], they say.\n\n## Death\n\nIt runs again [2][1].\n\n"
    )
    assert found["sub_questions"] == ["How long is a lease?", "What if the worker dies?"]
    assert found["model"]["model"] == "openai:test"
    status = {source["source"]: source["status"] for source in found["sources"]}
    assert status["document:garden"] == "unused"
    assert sorted(status.values()) == ["unused"] * 5 + ["used"] * 2
    assert len(server.requests) == 1 + 7 + 1
    assert server.requests[-1].body["stream"] is True
    assert "The grass" not in server.requests[-1].text
    assert (job.usage.input_tokens, job.usage.output_tokens) == (12 * 9, 7 * 9)
    log = log_of(services, job)
    assert kinds(log)[2] == "thought"
    assert "- What if the worker dies?" in log[2][1]["text"]
    assert "".join(data["text"] for kind, data in log if kind == "output") == found["report"]


def test_a_model_that_cites_nothing_is_quoted_with_passages(run: Run, services: Services, server: ModelServer) -> None:
    researcher = Researcher()
    researcher.report = "They last long, I think [0]. See [the docs]."
    researcher.note = lambda asked, numbers: Calls("final_result", relevant=True, summary="Long.")  # type: ignore[method-assign]
    server.otherwise = researcher
    store(services, "house", lease(1))
    found = result(services, run(research, input=given(query=QUESTION)))
    check(found, {"document:house": ("text/markdown", lease(1).encode())})
    assert "They last long, I think. See [the docs]." in found["report"]
    assert "- Long. [1]" in found["report"]


def test_sources_are_worked_on_several_at_a_time(run: Run, services: Services, web: PageServer) -> None:
    together = threading.Barrier(AT_A_TIME, timeout=20)
    pages = [html(f"House {n}", lease(n)) for n in range(2 * AT_A_TIME)]
    urls = [
        web.add(f"/{n}", Page(page.body, before=together.wait))  # nobody is answered before five have asked
        for n, page in enumerate(pages)
    ]
    found = result(services, run(research, input=given(query=QUESTION, urls=urls)))
    assert {source["status"] for source in found["sources"]} <= {"used", "unused"}
    assert not together.broken


def test_a_refusal_for_one_source_is_that_source_s(run: Run, services: Services, server: ModelServer) -> None:
    researcher = Researcher()
    note = researcher.note

    def refusing(asked: str, numbers: list[str]) -> Step:
        refused = "house 2" in asked.split("<passage", 1)[1]
        return Fails(400, "The prompt was flagged.", code="content_filter") if refused else note(asked, numbers)

    researcher.note = refusing  # type: ignore[method-assign]
    server.otherwise = researcher
    for n in range(3):
        store(services, f"house-{n}", lease(n))
    found = result(services, run(research, input=given(query=QUESTION)))
    failed = [source for source in found["sources"] if source["status"] == "failed"]
    assert [source["source"] for source in failed] == ["document:house-2"]
    assert "refused" in failed[0]["error"]


def test_a_busy_provider_is_asked_again(
    run: Run, services: Services, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    for n in range(3):
        store(services, f"house-{n}", lease(n))
    server.script(Fails(503), Researcher().plan(), Fails(429), Fails(529))
    job = run(research, input=given(query=QUESTION))
    found = result(services, job)
    assert [source["status"] for source in found["sources"]].count("failed") == 0
    assert sum(data.get("message") == "trying again" for _, data in log_of(services, job)) == 3


def test_a_provider_that_wants_a_long_wait_is_left_to_the_job(
    run: Run, services: Services, server: ModelServer
) -> None:
    store(services, "house", lease(1))
    server.script(Fails(429, headers={"retry-after": "300"}))
    job = run(research, input=given(query=QUESTION))
    assert job.status is Status.PENDING
    assert job.run_at == pytest.approx(job.updated_at + 300, abs=0.1)


@pytest.mark.parametrize(
    ("step", "error"),
    [(Fails(401), "BadCredentials"), (Fails(402), "NoCredit"), (Fails(404), "UnknownModel")],
    ids=repr,
)
def test_a_model_that_cannot_be_used_ends_the_job_at_once(
    run: Run, services: Services, server: ModelServer, step: Step, error: str
) -> None:
    researcher = Researcher()
    researcher.note = lambda asked, numbers: step  # type: ignore[method-assign]
    server.otherwise = researcher
    store(services, "house", lease(1))
    job = run(research, input=given(query=QUESTION))
    assert job.error is not None
    assert (job.status, job.error.type) == (Status.FAILED, error)


def test_a_budget_ends_it(run: Run, services: Services, server: ModelServer) -> None:
    for n in range(20):
        store(services, f"house-{n}", lease(n))
    job = run(research, input=given(query=QUESTION), budget=Budget(max_tokens=60))
    assert job.error is not None
    assert (job.status, job.error.type) == (Status.FAILED, "BudgetExceeded")
    assert len(server.requests) < 12


def test_it_is_cancelled_in_the_middle(run: Run, real_time: Services, services: Services, server: ModelServer) -> None:
    ids: list[str] = []

    async def cancelled(ctx: Context, input: Question) -> Any:
        ids.append(ctx.job_id)
        return await research(ctx, input)

    researcher = Researcher()

    def hang(asked: str, numbers: list[str]) -> Step:
        ask_to_cancel(real_time, ids[0])
        return Hangs()

    researcher.note = hang  # type: ignore[method-assign]
    server.otherwise = researcher
    for n in range(8):
        store(services, f"house-{n}", lease(n))
    job = run(cancelled, input=given(query=QUESTION))
    assert (job.status, job.error) == (Status.CANCELLED, None)
    assert len(server.requests) <= 1 + AT_A_TIME


def test_without_time_left_the_report_is_written_of_what_there_is(
    run: Run, services: Services, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_left = [100.0]
    researcher = Researcher()
    note = researcher.note

    def slow(asked: str, numbers: list[str]) -> Step:
        time_left[0] -= 20
        return note(asked, numbers)

    researcher.note = slow  # type: ignore[method-assign]
    server.otherwise = researcher
    monkeypatch.setattr(Context, "remaining", property(lambda _: time_left[0]))
    for n in range(12):
        store(services, f"house-{n:02}", lease(n))
    found = result(services, run(research, input=given(query=QUESTION)))
    late = [source for source in found["sources"] if "no time left" in source.get("error", "")]
    assert 3 <= len(late) <= 8
    assert {source["status"] for source in late} == {"unused"}
    assert found["citations"]


def test_loopback_is_closed_unless_it_is_opened(run: Run, services: Services) -> None:
    assert LOCAL_PAGES.loopback
    with PageServer() as server:
        url = server.add("/inside", html("Inside", lease(1)))
        job = run(research, input=given(query=QUESTION, urls=[url]))
        assert job.status is Status.FAILED
        assert server.asked == []
