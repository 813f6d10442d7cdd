"""Agents that die, or are longer than an invocation: what was asked and paid is not asked again. Counted at the provider."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from common.documents import Documents
from common.jobs import LEASE, Job, Status
from common.tasks import Context, Registry, _defined
from common.wiring import Services
from functions.worker.supervision import Pace
from tasks.agent import agent
from tasks.chat import chat
from tasks.documents import analyze_documents
from tasks.kit.running import run_agent
from tasks.models import chosen, open_model
from tasks.research import research
from tests.conftest import Clock, Worker, client
from tests.functions.conftest import FAST
from tests.functions.scripted import given, kinds, log_of, result, store, use
from tests.functions.test_research import QUESTION, Researcher, lease
from tests.model_server import Breaks, Calls, Fails, Hangs, ModelServer, Request, Says, Step
from tests.page_server import Page, PageServer, html

#: Hears nothing from the table while it is paused, but for the steps that it writes.
FROZEN = Pace(progress=1_000, contact=1_000, renewal=1_000, patience=0.1, grace=0.4)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as server:
        use(monkeypatch, server)
        yield server


@pytest.fixture
def begin(registry: Registry, make_job: Any) -> Callable[..., Job]:
    """Puts a job of the function into the table."""

    def begin_one(function: Callable[..., Any], **options: Any) -> Job:
        registry.add(_defined(function))
        job: Job = make_job(task=function.__name__, **options)
        return job

    return begin_one


@pytest.fixture
def go_on(services: Services, clock: Clock, make_worker: Any, registry: Registry) -> Callable[..., Job]:
    """Runs the job's next invocation, at its time; `seconds` is how long the function may run."""

    def run(job_id: str, *, seconds: float = 900, pace: Pace = FAST) -> Job:
        worker: Worker = make_worker(registry=registry, pace=pace, chance=lambda: 0.0)
        client("sqs").delete_queue(QueueUrl=services.settings.queue_url)
        client("sqs").create_queue(QueueName=services.settings.queue_url.rpartition("/")[2])
        job = services.store.get(job_id, clock(), consistent=True)
        assert job is not None
        clock.now = max(clock.now, job.run_at)
        services.queues.send(replace(job, run_at=0))
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: seconds * 1000)
        worker.handler({"Records": worker.receive()}, context)
        found = services.store.get(job_id, clock(), consistent=True)
        assert found is not None
        return found

    return run


Killed = Callable[..., tuple[Job, list[Request]]]


@pytest.fixture
def killed(
    services: Services,
    clock: Clock,
    go_on: Callable[..., Job],
    server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Killed:
    """Runs a job until its provider is silent. Then its worker is as good as dead: another one has the job, and ends it.

    Gives the job, and the requests that it took.

    The provider is silent at the first request that `at` chooses; `steps` is how many are waited for before the worker dies.
    """

    def run(job: Job, *, at: Callable[[Request], bool] = lambda _: True, steps: int = 0) -> tuple[Job, list[Request]]:
        silent, otherwise = threading.Event(), server.otherwise
        monkeypatch.setattr("random.random", lambda: 0.0)  # nobody waits between two tries

        def hang(request: Request) -> Step:
            if silent.is_set() or not at(request):
                return otherwise(request)
            silent.set()
            return Hangs()

        server.otherwise = hang
        dead = threading.Thread(target=lambda: go_on(job.id, pace=FROZEN), daemon=True)
        dead.start()
        try:
            assert silent.wait(30)
            assert until(lambda: len(services.store.steps(job)) >= steps)
            clock.advance(LEASE + 1)
            ended, requests = go_on(job.id), [*server.requests]
        finally:
            server.closing.set()  # the dead one comes to, and finds that the job is not its own any more
            dead.join(30)
        assert not dead.is_alive()
        assert services.store.get(job.id, clock(), consistent=True) == ended
        return ended, requests

    return run


def until(holds: Callable[[], bool]) -> bool:
    """Waits for what another thread does."""
    return any(holds() or threading.Event().wait(0.01) for _ in range(3_000))


CALLS = (
    Calls("calculate", expression="1 + 1").after("First I add."),
    Calls("calculate", expression="2 * 2").and_("read_document", id="missing"),
    Calls("calculate", expression="3 ** 2"),
)
ANSWER = Says("Two, four and nine.")


def check_log(services: Services, job: Job) -> None:
    """Everything once; `log_of` sees to it that the numbers have no gaps."""
    log = log_of(services, job)
    told = [(kind, data) for kind, data in log if kind != "status"]
    assert [kind for kind, _ in told] == [
        *("output", "tool_call", "tool_result"),
        *("tool_call", "tool_call", "tool_result", "tool_result"),
        *("tool_call", "tool_result", "output"),
    ]
    assert [data["text"] for kind, data in told if kind == "output"] == ["First I add.", "Two, four and nine."]
    results = [json.dumps(data["result"]) for kind, data in told if kind == "tool_result"]
    assert sorted(results) == sorted(['"2"', '"4"', '{"error": "No document missing."}', '"9"'])


# ---------------------------------------------------------------------------------------- dying


@pytest.mark.parametrize(
    ("provider", "fourth"),
    [("openai", Fails(503)), ("openai", Breaks("")), ("anthropic", Breaks("")), ("bedrock", Fails(503))],
    ids=repr,
)
def test_a_fourth_call_that_fails_does_not_repeat_the_first_three(
    begin: Callable[..., Job],
    go_on: Callable[..., Job],
    services: Services,
    server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    fourth: Step,
) -> None:
    if provider != "openai":
        monkeypatch.setenv("LONGRUN_MODEL", f"{provider}:eu.anthropic.claude-haiku-4-5-20251001-v1:0")
        monkeypatch.setenv("LONGRUN_MODEL_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    server.script(*CALLS, fourth, ANSWER)
    job = begin(agent, input=given(prompt="Add, multiply, square."))

    once = go_on(job.id)
    assert (once.status, len(server.requests)) == (Status.PENDING, 4)
    ended = go_on(job.id)

    assert len(server.requests) == 5
    assert server.requests[4].body == server.requests[3].body, "the conversation is the same to the letter"
    assert result(services, ended) == {
        "answer": "Two, four and nine.",
        "model": chosen().described(),
        "tool_calls": 3,
        "requests": 4,
    }
    assert ended.attempt == 2
    # Of what breaks off, the request's own tokens are counted, by estimate: it was made, and is made again.
    assert once.usage.input_tokens >= 3 * 12
    assert ended.usage.input_tokens - once.usage.input_tokens == 12
    assert ended.usage.output_tokens - once.usage.output_tokens == 7
    check_log(services, ended)


def test_a_worker_that_dies_in_the_fourth_call_has_not_made_the_first_three_in_vain(
    begin: Callable[..., Job], killed: Killed, services: Services, server: ModelServer
) -> None:
    server.script(*CALLS)
    server.otherwise = lambda _: ANSWER
    ended, requests = killed(begin(agent, input=given(prompt="Add, multiply, square.")))
    assert len(requests) == 5
    assert requests[4].body == requests[3].body
    assert result(services, ended)["answer"] == "Two, four and nine."
    assert ended.attempt == 2
    assert (ended.usage.input_tokens, ended.usage.output_tokens) == (4 * 12, 4 * 7)
    check_log(services, ended)


def test_each_request_and_each_call_of_a_tool_is_a_step(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services, server: ModelServer
) -> None:
    server.script(*CALLS, ANSWER)
    ended = go_on(begin(agent, input=given(prompt="Add, multiply, square.")).id)
    assert set(services.store.steps(ended)) == {
        *("model:1", "model:2", "model:3", "model:4"),
        *("tool:calculate:1.1", "tool:calculate:2.1", "tool:read_document:2.2", "tool:calculate:3.1"),
    }


def test_a_chat_goes_on_too(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services, server: ModelServer
) -> None:
    server.script(Calls("calculate", expression="60 / 2"), Fails(500), Says("Thirty."))
    said = [
        {"role": role, "content": text} for role, text in (("user", "60?"), ("assistant", "Yes."), ("user", "Half?"))
    ]
    job = begin(chat, input=given(session_id="s", messages=said))
    assert go_on(job.id).status is Status.PENDING
    ended = go_on(job.id)
    assert (result(services, ended)["response"], len(server.requests)) == ("Thirty.", 3)
    assert kinds(log_of(services, ended)).count("tool_call") == 1


# ---------------------------------------------------------------------------------------- tools


class Nothing(BaseModel):
    pass


def test_what_a_tool_told_the_model_is_told_again_without_calling_it(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services, server: ModelServer
) -> None:
    from pydantic_ai import ModelRetry, Tool, ToolFailed

    called = Counter[str]()

    async def ask_again(question: str) -> str:
        called["ask_again"] += 1
        raise ModelRetry(f"{question} is not clear")

    async def fail(question: str) -> str:
        called["fail"] += 1
        raise ToolFailed(f"{question} is too hard")

    async def trying(ctx: Context, input: Nothing) -> str:
        async with open_model(chosen(), ctx) as model:
            return (await run_agent(ctx, model, "Try.", tools=[Tool(ask_again), Tool(fail)])).answer

    wrong = Calls("fail", number=1).and_("missing", x=1)
    server.script(Calls("ask_again", question="A").and_("fail", question="B"), wrong, Fails(503), Says("No."))
    job = begin(trying)
    go_on(job.id)
    ended = go_on(job.id)
    assert result(services, ended) == "No."
    assert called == {"ask_again": 1, "fail": 1}
    assert server.requests[3].body == server.requests[2].body
    assert "A is not clear" in server.requests[3].text
    assert "B is too hard" in server.requests[3].text
    log = log_of(services, ended)
    told = {data["name"]: data["result"]["error"] for kind, data in log[:7] if kind == "tool_result"}
    assert told == {"ask_again": "A is not clear", "fail": "B is too hard"}
    assert kinds(log)[2:-1] == [*["tool_call"] * 2, *["tool_result"] * 2] * 2 + ["status", "status", "output"]


def test_of_parallel_calls_the_finished_ones_stay(
    begin: Callable[..., Job],
    go_on: Callable[..., Job],
    services: Services,
    server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads, get = Counter[str](), Documents.get
    both = threading.Barrier(2, timeout=30)

    def unreliable(self: Documents, owner: str, document_id: str) -> Any:
        reads[document_id] += 1
        if reads[document_id] == 1:
            both.wait()  # they are read side by side
        if document_id == "bad" and reads["bad"] == 1:
            assert until(lambda: "tool:read_document:1.1" in services.store.steps(job))
            raise ConnectionError("the bucket does not answer")
        return get(self, owner, document_id)

    monkeypatch.setattr(Documents, "get", unreliable)
    store(services, "good", "It is good.")
    store(services, "bad", "It is bad.")
    server.script(Calls("read_document", id="good").and_("read_document", id="bad"), Says("Mixed."))
    job = begin(agent, input=given(prompt="Read both."))
    assert go_on(job.id).status is Status.PENDING
    ended = go_on(job.id)
    assert result(services, ended)["answer"] == "Mixed."
    assert reads == {"good": 1, "bad": 2}
    assert len(server.requests) == 2
    assert kinds(log_of(services, ended)).count("tool_result") == 2


def test_ids_of_calls_may_come_again_and_a_job_may_run_two_agents(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services
) -> None:
    from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

    from tasks.kit.library import Library
    from tasks.kit.tools import tools

    async def twice(messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
        if len(messages) < 5:
            yield {0: DeltaToolCall("calculate", json.dumps({"expression": f"{len(messages)} * 2"}), tool_call_id="0")}
        else:
            yield "Done."

    async def pair(ctx: Context, input: Nothing) -> list[int]:
        model, offered = FunctionModel(stream_function=twice), tools(["calculate"], Library(ctx))
        ran = [await run_agent(ctx, model, "Go.", tools=offered, name=name) for name in ("", "critic")]
        return [each.tool_calls for each in ran]

    ended = go_on(begin(pair).id)
    assert result(services, ended) == [2, 2]
    assert "tool:calculate:critic.2.1" in services.store.steps(ended)


def test_a_changed_agent_is_found_out(
    begin: Callable[..., Job], go_on: Callable[..., Job], server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script(*CALLS, Fails(503))
    job = begin(agent, input=given(prompt="Add, multiply, square."))
    go_on(job.id)
    monkeypatch.setattr("tasks.kit.running.INSTRUCTIONS", "Guess.")
    ended = go_on(job.id)
    assert ended.error is not None
    assert (ended.status, ended.error.type, len(server.requests)) == (Status.FAILED, "StepMismatch", 4)
    assert "'model:1'" in ended.error.message


# ---------------------------------------------------------------------------------------- longer than an invocation


def test_an_agent_goes_on_over_many_invocations(
    begin: Callable[..., Job], go_on: Callable[..., Job], services: Services, clock: Clock, server: ModelServer
) -> None:
    """It takes fourteen requests of three seconds each, and a function has thirty."""

    def working(_: Request) -> Step:
        clock.advance(3)
        number = len(server.requests)
        return Calls("calculate", expression=f"{number} * {number}") if number % 14 else Says("Enough.")

    server.otherwise = working
    straight = go_on(begin(agent, input=given(prompt="Square.")).id)
    assert straight.continuations == 0

    job = begin(agent, input=given(prompt="Square."), max_attempts=1)
    found = go_on(job.id, seconds=30)
    while not found.status.is_final and found.continuations < 30:
        assert (found.status, found.attempt) == (Status.PENDING, 1)
        found = go_on(job.id, seconds=30)
    assert found.continuations >= 2
    assert len(server.requests) == 28, "no request is broken off for it, and none made twice"
    assert result(services, found) == result(services, straight)
    assert found.usage == straight.usage

    def said(of: Job) -> list[Any]:
        return [(kind, data.get("result", data.get("text"))) for kind, data in log_of(services, of) if kind != "status"]

    assert len(said(found)) == len(said(straight)) == 2 * 13 + 1
    assert [kind for kind, _ in said(found)] == [kind for kind, _ in said(straight)]


# ---------------------------------------------------------------------------------------- research and batches


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
    asked = Counter(path for path in web.asked if path != "/busy")
    assert set(asked.values()) == {1}
    assert {source["status"] for source in found["sources"]} == {"used", "unused", "failed"}
    assert [source["source"] for source in found["sources"] if source["status"] == "failed"] == [gone, busy]
    assert len(found["citations"]) == 2
    assert all(citation["passage"] for citation in found["citations"])
    assert ended.usage.input_tokens == 12 * 8
    log = log_of(services, ended)
    assert "".join(data["text"] for kind, data in log if kind == "output") == found["report"]
    said = Counter((data["message"], data["source"]) for kind, data in log if kind == "log")
    assert len(said) == 8
    assert {source for (_, source), times in said.items() if times > 1} == {busy}, "what may pass is tried again"
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
