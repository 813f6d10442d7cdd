"""No secret, input or result is in what the functions log or print, whatever happens; and a job's lines carry its id."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from mangum import Mangum
from pydantic import BaseModel

from common.context import Context
from common.errors import Retryable
from common.jobs import LEASE, Job, Payload
from common.tasks import Registry, _defined
from common.telemetry import about, logger
from common.wiring import Services
from functions.api.application import create_app
from functions.webhooks.delivering import Courier
from tests.aws import Clock
from tests.handlers import Api
from tests.post import Post, post_office
from tests.receiver import receiving

CANARY = "canary-7f3a91"
#: Their debug lines are the bytes on the wire; no deployment turns those on.
WIRE = ("asyncio", "boto", "httpcore", "moto", "s3transfer", "urllib3", "werkzeug")


class Anything(BaseModel):
    text: str


async def talkative(ctx: Context, input: Anything) -> dict[str, str]:
    ctx.thought(input.text)
    ctx.log(input.text)
    ctx.progress(10, message=input.text)
    return {"text": await ctx.step("repeat", str, input.text)}


async def broken(ctx: Context, input: Anything) -> str:
    raise ValueError(input.text)


async def busy(ctx: Context, input: Anything) -> str:
    try:
        raise KeyError(input.text)
    except KeyError as error:
        raise Retryable(input.text) from error


async def asking(ctx: Context, input: Anything) -> Any:
    return await ctx.ask(input.text)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that is logged, at the most talkative level."""
    text, root = io.StringIO(), logging.getLogger()
    (ours,) = logger.handlers
    before, stream, level = logger.level, ours.stream, root.level  # type: ignore[attr-defined]
    theirs = logging.StreamHandler(text)
    theirs.addFilter(lambda record: record.name != logger.name)  # as Powertools does with Lambda's own
    theirs.addFilter(lambda record: record.levelno >= logging.INFO or not record.name.startswith(WIRE))
    ours.setStream(text)  # type: ignore[attr-defined]
    logger.setLevel("DEBUG")
    root.addHandler(theirs)
    root.setLevel("DEBUG")
    yield text
    ours.setStream(stream)  # type: ignore[attr-defined]
    logger.setLevel(before)
    root.removeHandler(theirs)
    root.setLevel(level)


@pytest.fixture
def laptop(services: Services) -> Services:
    """Receivers on loopback are allowed there."""
    return replace(services, settings=replace(services.settings, loopback=True))


@pytest.fixture
def api(laptop: Services) -> Api:
    return Api(Mangum(create_app(laptop), lifespan="off")).as_owner(laptop, "acme")


@pytest.fixture
def post(laptop: Services, clock: Clock) -> Iterator[Post]:
    with post_office(laptop, clock, lambda: Courier(laptop, lambda: 0.5)) as office:
        yield office


@pytest.fixture
def failing(services: Services) -> Iterator[Callable[[str], None]]:
    """From now on this operation of the table fails in a way that nobody foresaw, with words of the input."""
    begun: list[str] = []

    def fail(model: Any, **_: Any) -> None:
        if model.name in begun:
            raise ValueError(CANARY)

    emitter = services.store._client.meta.events
    emitter.register("provide-client-params.dynamodb.*", fail)
    yield begun.append
    emitter.unregister("provide-client-params.dynamodb.*", fail)


def ids(line: dict[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in ("job_id", "owner", "attempt") if name in line}


def lines(logged: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged.getvalue().splitlines() if line.startswith("{")]


def test_requests_answers_and_webhooks_leave_no_secret_in_the_log(
    api: Api, post: Post, worker: Any, logged: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = {CANARY, api.headers["authorization"].removeprefix("Bearer ")}
    with receiving(lambda number: 500 if number == 0 else 200) as receiver:
        endpoint = api("PUT", "/webhook", json={"url": f"{receiver.url}/{CANARY}"}).json()
        secrets.add(endpoint["secret"])
        headers = {"idempotency-key": CANARY, "x-anything": CANARY, "cookie": CANARY}
        body = {"task": "echo", "input": {"v": CANARY}, "metadata": {"k": CANARY}}
        body |= {"callback_url": f"{receiver.url}/callback/{CANARY}"}
        for _ in range(2):
            submitted = api("POST", "/jobs", json=body, headers=headers)
            assert submitted.status == 202
        job = submitted.json()["id"]
        ticket = api("POST", "/live-ticket", json={"job": job, "seconds": 3600}).json()["ticket"]
        secrets.add(ticket)
        worker()
        post.run(600)
        assert len(receiver.received) == 3
        assert all(CANARY.encode() in each.body for each in receiver.received)
    assert api("GET", f"/jobs/{job}/events", ticket=ticket).status == 200
    assert api("GET", f"/jobs/{job}/result").json() == {"v": CANARY}

    refused = [
        api("POST", "/jobs", json=body | {"input": {"other": CANARY}}, headers=headers),
        api("POST", "/jobs", body=f'{{"{CANARY}": nonsense'.encode()),
        api("POST", "/jobs", json={"taks": CANARY}),
        api("POST", "/jobs", json={"task": CANARY, "input": {}}),
        api("POST", "/jobs", json={"task": "agent", "input": {"promt": CANARY}}),
        api("GET", "/jobs", cursor=CANARY),
        api("GET", "/jobs", headers={"authorization": f"Bearer lr_{CANARY}"}),
        api("GET", f"/jobs/{job}/events", ticket=f"lt_{CANARY}"),
        api("PUT", "/webhook", json={"url": f"https://user:{CANARY}@127.0.0.2/"}),
        api("POST", f"/jobs/{job}/input", json={"answer": CANARY}),
    ]
    assert all(400 <= each.status < 500 for each in refused), [each.status for each in refused]
    # A value is never echoed; the name of a member that is not known is, to say where it is.
    assert not [each.text for each in refused if CANARY in each.text]

    found = lines(logged)
    assert {"request", "attempt ended", "webhook tried"} <= {line["message"] for line in found}
    assert {line["job_id"] for line in found if line["message"] in ("attempt ended", "webhook tried")} == {job}
    printed = "".join(capsys.readouterr())
    assert not [secret for secret in secrets if secret in logged.getvalue() + printed]


@pytest.mark.parametrize("task", [talkative, broken, busy, asking], ids=lambda task: task.__name__)
def test_what_a_task_says_and_how_it_fails_is_in_the_job_and_not_in_the_log(
    task: Any,
    services: Services,
    make_job: Callable[..., Job],
    make_worker: Any,
    clock: Clock,
    logged: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry = Registry()
    registry.add(_defined(task))
    text = json.dumps({"text": CANARY})
    job = make_job(task=task.__name__, input=Payload(size=len(text), inline=text), max_attempts=2)
    services.queues.send(job, 0)
    make_worker(registry=registry)()
    seen = services.store.get(job.id, clock(), consistent=True)
    assert seen is not None
    assert seen.attempt == 1
    assert CANARY in repr(seen) or task is talkative

    told = lines(logged)
    assert "attempt ended" in {line["message"] for line in told}
    assert [about(job) | {"attempt": 1}] * len(told) == [ids(line) for line in told]
    assert CANARY not in logged.getvalue() + "".join(capsys.readouterr())


def test_lines_of_jobs_that_run_side_by_side_each_name_their_own(
    services: Services, make_job: Callable[..., Job], make_worker: Any, clock: Clock, logged: io.StringIO
) -> None:
    together = threading.Barrier(3)

    def inside(ctx: Context, input: Anything) -> None:
        together.wait(10)
        logger.info("inside")

    async def awaiting(ctx: Context, input: Anything) -> None:
        await asyncio.to_thread(together.wait, 10)
        await asyncio.to_thread(logger.info, "inside")

    registry = Registry()
    for task in (inside, awaiting):
        registry.add(_defined(task))
    payload = Payload(size=12, inline='{"text": ""}')
    taken_over = make_job(owner="acme", task="inside", input=payload)
    services.store.claim(taken_over.id, token="dead", now=clock())
    clock.advance(LEASE + 1)
    first = [make_job(owner=owner, task="awaiting", input=payload) for owner in ("acme", "emca")]
    for job in (taken_over, *first):
        services.queues.send(job)
    make_worker(registry=registry)()

    expected = [about(taken_over) | {"attempt": 2}, *(about(job) | {"attempt": 1} for job in first)]
    for message in ("inside", "attempt ended"):
        told = [ids(line) for line in lines(logged) if line["message"] == message]
        assert sorted(told, key=repr) == sorted(expected, key=repr)
    logger.info("outside")
    assert ids(lines(logged)[-1]) == {}


def test_lines_of_what_is_traced_name_the_trace_and_no_others_do(
    api: Api, worker: Any, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    for sampled in (1, 0):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root=1-{'0' * 7}1-{'1' * 24};Parent={'2' * 16};Sampled={sampled}")
        assert api("POST", "/jobs", json={"task": "echo", "input": {}}, headers=headers).status == 202
        worker()
    told = [(line["message"], line.get("trace_id")) for line in lines(logged)]
    assert told == [("request", "a" * 32), ("attempt ended", "a" * 32), ("request", None), ("attempt ended", None)]


def test_what_nobody_foresaw_is_logged_without_the_words_of_the_input(
    api: Api,
    worker: Any,
    failing: Callable[[str], None],
    logged: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = api.submit()["id"]
    failing("UpdateItem")
    assert len(worker()) == 1
    failing("GetItem")
    answer = api("GET", f"/jobs/{job}")
    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert CANARY not in answer.text

    (failed,) = [line for line in lines(logged) if line["message"] == "message failed"]
    assert ids(failed) == {"job_id": job, "owner": "acme"}, "it has no attempt yet"
    (unforeseen,) = [line for line in lines(logged) if line["message"] == "unforeseen"]
    for line in (failed, unforeseen):
        assert line["exception"].endswith("ValueError")
        assert "in fail\n    raise ValueError(CANARY)" in line["exception"]
    assert CANARY not in logged.getvalue() + "".join(capsys.readouterr())
