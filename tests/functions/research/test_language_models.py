"""Research with a language model: it plans, reads and writes, and what its provider refuses or puts off."""

from __future__ import annotations

import threading

import pytest

from common.jobs import Status
from common.wiring import Services
from tasks.research import AT_A_TIME, research
from tests.functions.conftest import Run
from tests.functions.research.researching import QUESTION, Researcher, check, lease
from tests.functions.scripted import given, kinds, log_of, result, store
from tests.model_server import Calls, Fails, ModelServer, Step
from tests.page_server import Page, PageServer, html


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
