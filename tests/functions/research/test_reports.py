"""Research: many sources, a report, and every citation of it leads to words that stand in its source."""

from __future__ import annotations

from common.wiring import Services
from tasks.research import research
from tests.functions.conftest import Run
from tests.functions.research.researching import QUESTION, check, lease
from tests.functions.scripted import PAGES, given, log_of, result, store, store_pages
from tests.page_server import PageServer, html


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
