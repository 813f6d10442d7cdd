"""Batches of documents: each is analysed, by the libraries and by the model; one's failure is not the others'."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from common.documents import Documents
from common.jobs import Status
from common.tasks import REGISTRY, Context
from common.wiring import Services
from tasks.documents import Batch, analyze_documents
from tasks.kit.analysis import Analysis, analyse
from tasks.kit.texts import Text
from tests.aws import Clock
from tests.functions.conftest import FAST, Run
from tests.functions.scripted import given, result, store, use
from tests.functions.single_jobs import ask_to_cancel
from tests.handlers import Api
from tests.model_server import Calls, Fails, Hangs, ModelServer, Request, Step

RAIN = (
    "# Rain\n\nRain falls from clouds when drops become too heavy for the air. Rain makes rivers grow, and rivers feed the "
    "sea. The sun lifts water from the sea into new clouds. Gardeners in Bergen measure rain every morning."
)
STONE = "# Stone\n\nStones are made of minerals. Wind and water make sand of stone within a million years."


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as server:
        use(monkeypatch, server)
        server.otherwise = studied
        yield server


def studied(request: Request) -> Step:
    """What a language model finds in RAIN or in anything else."""
    about_rain = "Rain falls" in request.text
    answers = [
        {
            "number": 1,
            "answer": "The rivers." if about_rain else None,
            "quote": "Rain makes rivers grow, and rivers feed the sea." if about_rain else "Made up.",
        },
        {"number": 2, "answer": "In Bergen." if about_rain else None, "quote": "In Bergen they do."},
    ]
    return Calls(
        "final_result",
        summary="About rain." if about_rain else "About something else.",
        entities=[{"name": "Bergen", "kind": "place"}] if about_rain else [],
        answers=answers if "Questions:" in request.text else [],
    )


def put_both(services: Services) -> None:
    store(services, "rain", RAIN)
    store(services, "stone", STONE)


# ---------------------------------------------------------------------------------------- without a language model


def test_each_document_is_analysed(run: Run, services: Services) -> None:
    put_both(services)
    job = run(analyze_documents, input=given(document_ids=["rain", "stone", "rain"]))
    found = result(services, job)
    assert (found["count"], found["failed"], found["model"]["language_model"]) == (3, 0, False)
    rain, stone, again = found["results"]
    assert (rain["document_id"], rain["title"], rain["language"]) == ("rain", "Rain", "en")
    assert rain["words"] > 30
    assert rain["key_phrases"]
    assert rain["summary"]
    assert stone["title"] == "Stone"
    assert again == rain
    assert "answers" not in rain
    assert job.progress is not None
    assert (job.progress.current, job.progress.total, job.progress.message) == (3, 3, "3 analysed, 0 failed")


def test_a_batch_may_take_longer_than_an_invocation(
    services: Services, make_job: Any, make_worker: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"report-{n}" for n in range(9)]
    for name in names:
        store(services, name, f"{RAIN} This is {name}.")
    analysed: list[str] = []

    def slowly(text: Text) -> Analysis:
        analysed.append(text.text)
        clock.advance(280)
        return analyse(text)

    monkeypatch.setattr("tasks.documents.analyse", slowly)
    monkeypatch.setattr("tasks.documents.AT_A_TIME", 1)
    limit = next(task for task in REGISTRY if task.function is analyze_documents).timeout_seconds
    job = make_job(task="analyze_documents", input=given(document_ids=names), timeout_seconds=limit)
    services.queues.send(job)
    worker = make_worker(pace=FAST)
    for _ in range(3):
        worker()
    ended = services.store.get(job.id, clock(), consistent=True)
    assert ended is not None
    assert (ended.status, ended.attempt, ended.continuations) == (Status.COMPLETED, 1, 2)
    assert [each["document_id"] for each in result(services, ended)["results"]] == names
    assert len(analysed) == len(set(analysed)) == 9, "none of them twice"


def test_what_cannot_be_read_is_reported_and_the_others_are_kept(run: Run, services: Services) -> None:
    put_both(services)
    store(services, "scan", b"%PDF-1.4 rubbish", "application/pdf")
    store(services, "odd", b"\x00\x01\x02" * 99, "text/plain")
    ids = ["rain", "missing", "scan", "../x", "odd", "stone"]
    found = result(services, run(analyze_documents, input=given(document_ids=ids)))
    assert [each["document_id"] for each in found["results"]] == ids
    errors = {each["document_id"]: each["error"]["type"] for each in found["results"] if "error" in each}
    assert errors == {"missing": "NotFound", "scan": "Corrupt", "../x": "NotFound", "odd": "Corrupt"}
    assert (found["count"], found["failed"]) == (6, 4)


def test_a_batch_of_nothing_readable_ends_too(run: Run, services: Services) -> None:
    found = result(services, run(analyze_documents, input=given(document_ids=["a", "b"])))
    assert (found["count"], found["failed"]) == (2, 2)


def test_questions_are_answered_with_sentences(run: Run, services: Services) -> None:
    put_both(services)
    questions = ["What feeds the sea?", "What is zeugma?"]
    found = result(services, run(analyze_documents, input=given(document_ids=["rain", "stone"], questions=questions)))
    answered, unknown = found["results"][0]["answers"]
    assert answered["question"] == "What feeds the sea?"
    assert "rivers feed the sea" in answered["answer"]
    assert "[" not in answered["answer"]
    assert "rivers feed the sea" in answered["passage"]
    assert unknown == {"question": "What is zeugma?", "answer": None, "passage": None}


def test_without_questions_no_model_is_loaded(run: Run, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    put_both(services)
    for name in ["pydantic_ai", *(name for name in sys.modules if name.startswith("pydantic_ai."))]:
        monkeypatch.setitem(sys.modules, name, None)
    assert result(services, run(analyze_documents, input=given(document_ids=["rain"])))["failed"] == 0


# ---------------------------------------------------------------------------------------- with a language model


def test_a_model_summarises_and_answers(run: Run, services: Services, server: ModelServer) -> None:
    put_both(services)
    questions = ["What feeds the sea?", "Where is rain measured?"]
    job = run(analyze_documents, input=given(document_ids=["rain", "stone"], questions=questions))
    found = result(services, job)
    rain, stone = found["results"]
    assert (rain["title"], rain["language"], rain["summary"]) == ("Rain", "en", "About rain.")
    assert rain["entities"] == [{"name": "Bergen", "kind": "place"}]
    assert rain["answers"] == [
        {
            "question": "What feeds the sea?",
            "answer": "The rivers.",
            "passage": "Rain makes rivers grow, and rivers feed the sea.",
        },
        {"question": "Where is rain measured?", "answer": "In Bergen.", "passage": None},  # that is no quote
    ]
    assert [each["answer"] for each in stone["answers"]] == [None, None]
    assert [each["passage"] for each in stone["answers"]] == [None, None]
    assert (len(server.requests), job.usage.input_tokens) == (2, 24)
    assert found["model"]["model"] == "openai:test"


def test_of_a_long_document_a_part_is_read_and_it_says_so(run: Run, services: Services, server: ModelServer) -> None:
    pages = [f"Paragraph {n} is about matter {n}. " * 10 for n in range(400)]
    store(services, "book", "\n\n".join([*pages[:300], RAIN, *pages[300:]]))
    given_input = given(document_ids=["book"], questions=["What feeds the sea?"])
    (book,) = result(services, run(analyze_documents, input=given_input))["results"]
    assert "the model read" in book["note"]
    assert "rivers feed the sea" in server.requests[0].text
    assert len(server.requests[0].text) < 70_000
    assert book["answers"][0]["answer"] == "The rivers."


def test_throttling_and_service_errors_are_tried_again(
    run: Run, services: Services, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    get, failures = Documents.get, iter([ConnectionError("bucket"), TimeoutError("bucket")])

    def unreliable(self: Documents, owner: str, document_id: str) -> Any:
        if error := next(failures, None):
            raise error
        return get(self, owner, document_id)

    put_both(services)
    monkeypatch.setattr(Documents, "get", unreliable)
    server.script(Fails(429), Fails(503))
    found = result(services, run(analyze_documents, input=given(document_ids=["rain", "stone"])))
    assert (found["failed"], len(server.requests)) == (0, 4)


def test_what_the_model_refuses_is_reported_beside_what_was_found(
    run: Run, services: Services, server: ModelServer
) -> None:
    put_both(services)
    server.otherwise = lambda request: (
        Fails(400, "Flagged.", code="content_filter") if "Stones" in request.text else studied(request)
    )
    found = result(services, run(analyze_documents, input=given(document_ids=["rain", "stone"])))
    assert found["failed"] == 1
    stone = found["results"][1]
    assert stone["error"]["type"] == "ContentRefused"
    assert stone["words"] > 10


def test_a_model_that_cannot_be_used_ends_the_job(run: Run, services: Services, server: ModelServer) -> None:
    put_both(services)
    server.otherwise = lambda _: Fails(401)
    job = run(analyze_documents, input=given(document_ids=["rain", "stone"]))
    assert job.error is not None
    assert (job.status, job.error.type) == (Status.FAILED, "BadCredentials")


def test_if_the_provider_is_down_for_all_the_job_is_tried_again(
    run: Run, services: Services, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    put_both(services)
    server.otherwise = lambda _: Fails(503, headers={"retry-after": "90"})
    job = run(analyze_documents, input=given(document_ids=["rain", "stone"]))
    assert job.status is Status.PENDING
    assert job.run_at == pytest.approx(job.updated_at + 90, abs=0.1)


def test_it_is_cancelled_in_the_middle(run: Run, real_time: Services, services: Services, server: ModelServer) -> None:
    ids: list[str] = []

    async def cancelled(ctx: Context, input: Batch) -> Any:
        ids.append(ctx.job_id)
        return await analyze_documents(ctx, input)

    def hang(_: Request) -> Step:
        ask_to_cancel(real_time, ids[0])
        return Hangs()

    server.otherwise = hang
    put_both(services)
    assert run(cancelled, input=given(document_ids=["rain", "stone"] * 10)).status is Status.CANCELLED
    assert len(server.requests) <= 4


@pytest.mark.parametrize(
    "input",
    [
        {"document_ids": []},
        {"document_ids": [1]},
        {"document_ids": ["x"] * 1_001},
        {"document_ids": ["x"], "questions": ["why?"] * 21},
        {"document_ids": ["x"], "questions": [""]},
        {"document_ids": ["x"], "model": "y"},
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_does_not_fit_is_refused_at_submission(api: Api, input: dict[str, Any]) -> None:
    assert api("POST", "/jobs", json={"task": "analyze_documents", "input": input}).status == 422
