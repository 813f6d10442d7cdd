"""Questions and what is written down of them: real handlers on moto, on a controlled clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from common.errors import NoAnswer
from common.jobs import Job
from common.tasks import Context, Registry, Retryable, _defined
from common.wiring import Services
from tests.aws import Clock
from tests.functions.conftest import FAST
from tests.handlers import Api, Worker
from tests.page_server import Page, PageServer


class Given(BaseModel):
    n: int = 0


#: Runs the job's next message.
Go = Callable[[Job], None]


@pytest.fixture
def go(services: Services, make_worker: Any, registry: Registry) -> Go:
    worker: Worker = make_worker(registry=registry, pace=FAST, chance=lambda: 0.0)

    def go_on(job: Job) -> None:
        services.queues.send(job)
        worker()

    return go_on


@pytest.fixture
def begin(registry: Registry, make_job: Any, go: Go) -> Callable[..., Job]:
    def begin_one(function: Callable[..., Any], **options: Any) -> Job:
        registry.add(_defined(function))
        job: Job = make_job(task=function.__name__, **options)
        go(job)
        return job

    return begin_one


def test_a_question_that_nobody_answered_in_time_is_not_open_any_more(
    begin: Callable[..., Job], go: Go, clock: Clock, api: Api
) -> None:
    """Its step is finished, and must not be written over when the job comes back to pending."""
    heard = []

    async def asking(ctx: Context, input: Given) -> None:
        try:
            heard.append(await ctx.ask("Anybody?", timeout=3_600))
        except NoAnswer as error:
            heard.append(str(error))
        raise Retryable("not yet")

    job = begin(asking)
    (question,) = api.job(job.id)["questions"]
    clock.advance(3_601)
    go(job)
    assert (api.job(job.id)["status"], api.job(job.id)["questions"]) == ("pending", [])
    late = api("POST", f"/jobs/{job.id}/input", json={"answer": "yes", "question": question["id"]})
    assert late.status == 409, late.text
    go(job)
    assert heard == ["Nobody answered in time."] * 2


def test_a_step_that_is_written_closes_its_own_question_alone(
    begin: Callable[..., Job], go: Go, services: Services, clock: Clock, api: Api
) -> None:
    async def both(ctx: Context, input: Given) -> Any:
        soon, late = ctx.ask("Soon?", name="soon", timeout=60), ctx.ask("Late?", name="late", timeout=7_200)
        return await asyncio.gather(soon, late, return_exceptions=True)

    job = begin(both)
    clock.advance(61)
    go(job)
    assert [one["question"] for one in api.job(job.id)["questions"]] == ["Late?"]
    assert api("POST", f"/jobs/{job.id}/input", json={"answer": "l"}).status == 202
    assert set(services.store.steps(job)) == {"soon", "late"}


def test_an_answer_comes_after_the_steps_of_the_run_that_asked(
    begin: Callable[..., Job], go: Go, services: Services, api: Api
) -> None:
    """So a retry from a step before it forgets the answer, and one from the answer keeps the step."""
    broken = [True]

    async def publish(ctx: Context, input: Given) -> Any:
        draft = await ctx.step("draft", lambda: "a draft")
        answer = await ctx.ask("Publish?")
        done = await ctx.step("publish", lambda: "published")
        if broken:
            raise TypeError("broken")
        return [draft, answer, done]

    job = begin(publish)
    assert api("POST", f"/jobs/{job.id}/input", json={"answer": "yes"}).status == 202
    go(job)
    assert api.job(job.id)["status"] == "failed"
    orders = services.store.steps(job)
    assert sorted(orders, key=lambda name: orders[name].order) == ["draft", "ask", "publish"]
    assert api("POST", f"/jobs/{job.id}/retry", from_step="ask").status == 202
    assert set(services.store.steps(job)) == {"draft"}


# ------------------------------------------------------------------ schemas


def ask_by(schema: dict[str, Any]) -> Callable[..., Any]:
    async def asking(ctx: Context, input: Given) -> Any:
        return await ctx.ask("What?", schema=schema)

    return asking


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"pattern": "("},
        {"properties": 3},
        {"anyOf": 3},
        {"$ref": 5},
        {"$ref": "#/nowhere"},
        {"$ref": "other.json"},
    ],
    ids=str,
)
def test_a_question_whose_schema_is_none_is_not_asked(
    begin: Callable[..., Job], api: Api, schema: dict[str, Any]
) -> None:
    job = api.job(begin(ask_by(schema)).id)
    assert (job["status"], job["attempt"], job["error"]["type"]) == ("failed", 1, "Permanent")
    assert "schema" in job["error"]["message"]


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"multipleOf": 0}], ids=str)
def test_a_schema_whose_mistake_shows_with_the_answer_leaves_the_question_open(
    begin: Callable[..., Job], api: Api, schema: dict[str, Any]
) -> None:
    job = begin(ask_by(schema))
    refused = api("POST", f"/jobs/{job.id}/input", json={"answer": 5})
    assert refused.status == 409, refused.text
    assert "schema" in refused.json()["detail"]
    assert len(api.job(job.id)["questions"]) == 1, "it stays open"


@pytest.mark.parametrize("scheme", ["http", "file", "data"])
def test_nothing_is_fetched_for_a_schema(begin: Callable[..., Job], api: Api, tmp_path: Path, scheme: str) -> None:
    schema = '{"type":"integer"}'
    stored = tmp_path / "schema.json"
    stored.write_text(schema)
    with PageServer() as pages:
        address = {
            "http": pages.add("/schema.json", Page(schema.encode(), "application/json")),
            "file": stored.as_uri(),
            "data": f"data:application/json,{schema}",
        }[scheme]
        job = begin(ask_by({"$ref": address}))
    assert (api.job(job.id)["status"], pages.asked) == ("failed", [])


def test_an_answer_is_recorded_as_it_was_given(begin: Callable[..., Job], go: Go, api: Api) -> None:
    job = begin(ask_by({"type": "object", "properties": {"colour": {"type": "string", "default": "red"}}}))
    assert api("POST", f"/jobs/{job.id}/input", json={"answer": {}}).status == 202
    go(job)
    assert api.job(job.id)["result"] == {}
