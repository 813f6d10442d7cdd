"""What a task says is written in pages, numbered without gaps, by the holder of the lease alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from common.errors import LeaseLost
from common.events import MAX_EVENT, MAX_PAGE, Event, event
from common.jobs import LEASE, Job, Report, Status
from common.tasks import Context
from common.usage import NANO, Budget, Usage
from common.wiring import Services
from functions.worker.outbox import MAX_WAITING, Outbox
from tests.aws import Clock
from tests.functions.conftest import Run
from tests.handlers import Api


class Given(BaseModel):
    pass


def log_of(services: Services, job: Job) -> list[tuple[int, str, Any]]:
    from common.views import log_view

    events = log_view(job, services.store.said(job, 0, 1_000_000), 0, 1_000_000)
    return [(one["seq"], one["type"], one["data"]) for one in events]


def test_an_agent_s_steps_are_its_job_s_log(run: Run, services: Services) -> None:
    async def agent(ctx: Context, input: Given) -> None:
        ctx.log("starting", model="m")
        ctx.thought("hm")
        ctx.tool_call("search", {"q": "ü"}, id="1")
        ctx.tool_result("search", ["found"], id="1")
        for piece in ("Hel", "lo", "!"):
            ctx.output(piece)

    job = run(agent)
    assert [(seq, kind) for seq, kind, _ in log_of(services, job)] == [
        (1, "status"),
        (2, "status"),
        (3, "log"),
        (4, "thought"),
        (5, "tool_call"),
        (6, "tool_result"),
        (7, "output"),
        (8, "status"),
    ]
    data = [found for _, _, found in log_of(services, job)]
    assert data[2] == {"message": "starting", "model": "m"}
    assert data[4] == {"name": "search", "arguments": {"q": "ü"}, "id": "1"}
    assert data[6] == {"text": "Hello!"}
    assert data[7] == {"status": "completed", "attempt": 1}
    assert job.last_event == 8


def test_ten_thousand_events_are_few_writes_and_none_is_lost(
    run: Run,
    services: Services,
    calls: list[tuple[str, Any]],
) -> None:
    async def talkative(ctx: Context, input: Given) -> None:
        for n in range(10_000):
            ctx.thought(f"{n} " + "x" * 200)
            if n % 500 == 0:
                await asyncio.sleep(0.005)

    job = run(talkative)
    assert job.status is Status.COMPLETED
    log = log_of(services, job)
    assert [seq for seq, _, _ in log] == list(range(1, 10_004))
    assert [data["text"].split()[0] for _, kind, data in log if kind == "thought"] == [str(n) for n in range(10_000)]
    assert [name for name, _ in calls].count("TransactWriteItems") <= 25


def test_the_log_can_be_read_from_anywhere(run: Run, api: Api) -> None:
    def counting(ctx: Context, input: Given) -> None:
        for n in range(5):
            ctx.log(str(n))

    job = run(counting)
    whole = api("GET", f"/jobs/{job.id}/events").json()
    assert (whole["last_event"], whole["final"], len(whole["events"])) == (8, True, 8)
    for after in range(9):
        part = api("GET", f"/jobs/{job.id}/events", after=after).json()
        assert part["events"] == whole["events"][after:]
    pages, after = [], 0
    while events := api("GET", f"/jobs/{job.id}/events", after=after, limit=3).json()["events"]:
        pages += events
        after = events[-1]["seq"]
    assert pages == whole["events"]


def test_another_owner_s_log_does_not_exist(api: Api, services: Services) -> None:
    job = api.submit()
    assert api.as_owner(services, "other")("GET", f"/jobs/{job['id']}/events").status == 404


def test_a_stale_worker_writes_no_event(services: Services, make_job: Callable[..., Job], clock: Clock) -> None:
    stale = services.store.claim(make_job().id, token="stale", now=clock())
    clock.advance(LEASE + 1)
    services.store.claim(stale.id, token="new", now=clock())
    with pytest.raises(LeaseLost):
        services.store.flush(stale, [event("log", clock(), {"message": "late"})], Report(), clock())
    found = services.store.get(stale.id, clock())
    assert found is not None
    assert found.last_event == 3
    assert services.store.said(found, 0, 100) == []


def test_a_page_whose_answer_was_lost_is_written_once(
    services: Services, make_job: Callable[..., Job], clock: Clock
) -> None:
    job = services.store.claim(make_job().id, token="w", now=clock())
    page = [event("log", clock(), {"message": "one"}), event("log", clock(), {"message": "two"})]
    first = services.store.flush(job, page, Report(), clock())
    again = services.store.flush(job, page, Report(), clock())
    assert first.last_event == again.last_event == 4
    assert [one.seq for one in services.store.said(again, 0, 100)] == [3, 4]


def test_a_page_whose_answer_was_lost_is_written_once_though_the_job_was_read_since(
    services: Services, make_job: Callable[..., Job], clock: Clock
) -> None:
    """Found by simulation: a renewal in between showed the page's own number, and the page was taken for a new one."""
    job = services.store.claim(make_job().id, token="w", now=clock())
    page = [event("log", clock(), {"message": "one"})]
    services.store.flush(job, page, Report(), clock(), after=job.last_event)
    renewed = services.store.renew(job, clock())
    assert renewed.last_event == 3
    again = services.store.flush(renewed, page, Report(), clock(), after=job.last_event)
    assert [one.seq for one in services.store.said(again, 0, 100)] == [3]


def test_a_job_under_a_used_key_does_not_show_its_forerunner_s_log(
    services: Services, make_job: Callable[..., Job], clock: Clock
) -> None:
    job = services.store.claim(make_job(ttl_seconds=1).id, token="w", now=clock())
    job = services.store.flush(job, [event("log", clock(), {"message": "old"})] * 3, Report(), clock())
    services.store.end_cancelled(job, Report(), clock())
    clock.advance(5)
    new = services.store.claim(make_job(id=job.id).id, token="v", now=clock())
    new = services.store.flush(new, [event("log", clock(), {"message": "new"})] * 5, Report(), clock())
    assert {one.event.data["message"] for one in services.store.said(new, 0, 100)} == {"new"}


# ---------------------------------------------------------------------------------------- single events


def test_an_event_that_is_too_long_is_cut_and_says_so() -> None:
    cut = event("thought", 0, {"text": "ü" * 50_000})
    assert cut.size <= MAX_EVENT
    assert cut.data["cut_from_bytes"] > 100_000
    assert set(cut.data["text"]) == {"ü"}
    result = event("tool_result", 0, {"name": "read", "result": ['"\n' * 50_000], "id": "7"})
    assert result.size <= MAX_EVENT
    assert (result.data["name"], result.data["id"]) == ("read", "7")


@pytest.mark.parametrize(
    "value",
    [float("nan"), object(), b"\xff", {1: 2}, "\ud800"],
    ids=["nan", "object", "bytes", "number as key", "surrogate"],
)
def test_anything_can_be_told(value: Any) -> None:
    assert event("log", 0, {"message": "m", "value": value}).size < 500


def test_a_task_that_says_too_much_at_once_waits() -> None:
    box = Outbox(lambda: None)
    large = Event("log", 0, {"message": "x" * 30_000})
    filled = threading.Event()

    def fill() -> None:
        for _ in range(100):
            box.put(large)
        filled.set()

    threading.Thread(target=fill, daemon=True).start()
    pages = []
    while not filled.is_set() or box:
        if page := box.page():
            assert page == box.page()  # the same until it is dropped
            assert sum(found.size for found in page) <= MAX_PAGE
            assert box._bytes <= MAX_WAITING + large.size
            pages.append(len(page))
            box.drop()
    assert sum(pages) == 100


def test_a_task_that_was_given_up_is_not_held() -> None:
    box = Outbox(lambda: None)
    box.close()
    for _ in range(100):
        box.put(Event("log", 0, {"message": "x" * 30_000}))
    assert not box


# ---------------------------------------------------------------------------------------- usage, budgets


def test_usage_is_summed_over_attempts(run: Run, services: Services, make_job: Any, clock: Clock) -> None:
    def thinking(ctx: Context, input: Given) -> None:
        ctx.usage(input_tokens=100, output_tokens=20, cached_tokens=50, cost_usd=0.0015)
        ctx.usage(input_tokens=1)
        raise ConnectionError

    job = run(thinking)
    assert job.status is Status.PENDING
    assert job.usage == Usage(101, 20, 50, 1_500_000)
    later = services.store.claim(job.id, token="next", now=job.run_at)
    assert later.usage == job.usage


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (Budget(max_tokens=100), "120 tokens were used; the job may use 100."),
        (Budget(max_cost_nano_usd=NANO // 100), "$0.012000 was spent; the job may spend $0.010000."),
    ],
)
def test_a_job_over_its_budget_is_stopped(run: Run, budget: Budget, says: str) -> None:
    reached: list[int] = []

    async def expensive(ctx: Context, input: Given) -> None:
        for n in range(10):
            reached.append(n)
            ctx.usage(input_tokens=30, output_tokens=10, cost_usd=0.004)

    job = run(expensive, budget=budget)
    assert job.error is not None
    assert (job.status, job.error.type, job.error.message) == (Status.FAILED, "BudgetExceeded", says)
    assert not job.error.retryable
    assert reached == [0, 1, 2]
    assert job.usage.input_tokens == 90


def test_a_submission_may_set_a_budget(api: Api, services: Services) -> None:
    job = api.submit("echo", {}, max_cost_usd=0.5, max_tokens=1_000)
    found = services.store.get(job["id"], services.clock())
    assert found is not None
    assert found.budget == Budget(1_000, NANO // 2)
    for wrong in ({"max_cost_usd": 0}, {"max_cost_usd": "1"}, {"max_tokens": 0}, {"max_tokens": 1.5}):
        assert api("POST", "/jobs", json={"task": "echo", "input": {}, **wrong}).status == 422
