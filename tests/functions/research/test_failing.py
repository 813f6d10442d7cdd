"""Sources that cannot be read, and when they are the job's failure."""

from __future__ import annotations

from typing import Any

import pytest

from common.documents import Documents
from common.egress import LOCAL_PAGES
from common.jobs import Status
from common.wiring import Services
from tasks.research import research
from tests.functions.conftest import Run
from tests.functions.research.researching import QUESTION, lease
from tests.functions.scripted import given, result, store
from tests.handlers import Api
from tests.page_server import Page, PageServer, html


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


def test_loopback_is_closed_unless_it_is_opened(run: Run, services: Services) -> None:
    assert LOCAL_PAGES.loopback
    with PageServer() as server:
        url = server.add("/inside", html("Inside", lease(1)))
        job = run(research, input=given(query=QUESTION, urls=[url]))
        assert job.status is Status.FAILED
        assert server.asked == []
