"""Research and batches that die read, note and pay for nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from common.jobs import Job
from common.wiring import Services
from tasks.documents import analyze_documents
from tasks.research import research
from tests.functions.durable_agents.conftest import Killed
from tests.functions.research.researching import QUESTION, Researcher, lease
from tests.functions.scripted import given, kinds, log_of, result, store
from tests.model_server import Calls, ModelServer
from tests.page_server import Page, PageServer, html


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[PageServer]:
    monkeypatch.setenv("LONGRUN_LOOPBACK", "allow")
    with PageServer() as server:
        yield server


def test_research_that_dies_over_its_report_reads_and_notes_nothing_again(
    begin: Callable[..., Job],
    killed: Killed,
    services: Services,
    server: ModelServer,
    web: PageServer,
) -> None:
    urls = [web.add(f"/{n}", html(f"House {n}", lease(n))) for n in range(6)]
    gone, busy = web.url("/gone"), web.add("/busy", Page(b"later", status=503))
    server.otherwise = Researcher()
    job = begin(research, input=given(query=QUESTION, urls=[*urls, gone, busy]))

    ended, requests = killed(job, at=lambda request: "You write a report" in request.text)

    found = result(services, ended)
    assert len(requests) == 1 + 6 + 2, "the report alone was asked for twice"
    assert requests[-1].body == requests[-2].body
    read = [f"/{n}" for n in range(6)]
    assert Counter(web.asked) == Counter([*read, "/gone", "/busy", "/busy"]), "what may pass is tried again"
    assert {source["status"] for source in found["sources"]} == {"used", "unused", "failed"}
    assert [source["source"] for source in found["sources"] if source["status"] == "failed"] == [gone, busy]
    assert len(found["citations"]) == 2
    assert all(citation["passage"] for citation in found["citations"])
    assert ended.usage.input_tokens == 12 * 8
    log = log_of(services, ended)
    assert "".join(data["text"] for kind, data in log if kind == "output") == found["report"]
    said = Counter((data["message"], data["source"]) for kind, data in log if kind == "log")
    assert len(said) == 8
    # What the dead one said of a source that it noted nothing of is in the log only if a step was noted after it.
    assert {source for (_, source), times in said.items() if times > 1} <= {busy}
    assert kinds(log).count("thought") == 1


def test_a_batch_that_dies_pays_for_no_document_twice(
    begin: Callable[..., Job], killed: Killed, services: Services, server: ModelServer
) -> None:
    for n in range(9):
        store(services, f"house-{n}", lease(n))
    study = Calls("final_result", summary="Leases.", entities=[], answers=[])
    server.script(*[study] * 8)
    server.otherwise = lambda _: study
    job = begin(analyze_documents, input=given(document_ids=[f"house-{n}" for n in range(9)]))
    ended, requests = killed(job, steps=8)
    found = result(services, ended)
    assert [each["summary"] for each in found["results"]] == ["Leases."] * 9
    assert [each["document_id"] for each in found["results"]] == [f"house-{n}" for n in range(9)]
    assert len(requests) == 10
    assert ended.usage.input_tokens == 12 * 9
