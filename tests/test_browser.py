"""A web page with nothing but `new EventSource(…)` shows every event of a job, whatever happens to its connections."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from common.jobs import Job
from common.wiring import Services
from dev.emulator import listen, until
from functions.api.application import create_app
from tests.cuts import Cuts
from tests.functions.test_sse import Writer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

#: Seconds; they tell hanging from working.
LIMIT = 60
PAGE = """<!doctype html><ol></ol><script>
const source = new EventSource("/jobs/JOB/events?ticket=TICKET");
source.onmessage = (message) => {
  const event = JSON.parse(message.data);
  document.querySelector("ol").append(Object.assign(document.createElement("li"), {textContent: event.seq}));
};
</script>"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine: the page cannot be shown (Debian's package is `chromium`)")
    with sync_api.sync_playwright() as playwright:
        # Its sandbox does not work for root, as in many containers; the page is ours.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture
def writer(services: Services, make_job: Callable[..., Job]) -> Writer:
    """At a job that runs, on the machine's clock."""
    now = replace(services, clock=time.time)
    return Writer(now, now.store.claim(make_job(created_at=time.time()).id, token="w", now=time.time()))


@contextmanager
def served(services: Services, job: Job) -> Iterator[tuple[str, int]]:
    """The API, and the page beside it."""
    ticket, _ = services.tickets.create(job.owner, job.id, 3_600, services.clock())
    app: FastAPI = create_app(services)
    page = PAGE.replace("JOB", job.id).replace("TICKET", ticket)
    app.add_api_route("/page", lambda: HTMLResponse(page))
    listener = listen(0)
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(LIMIT)


def shown(page: Any) -> list[int]:
    return [int(text) for text in page.locator("li").all_text_contents()]


def wait_until_shown(page: Any, count: int) -> None:
    page.wait_for_function(f"document.querySelectorAll('li').length >= {count}", timeout=LIMIT * 1000)


@pytest.mark.parametrize("streams", [True, False], ids=["streams that are cut", "answers that end"])
def test_a_page_shows_all_events_of_a_job_that_outlives_its_connections(
    chromium: Any, writer: Writer, streams: bool
) -> None:
    services = replace(writer.services, settings=replace(writer.services.settings, streams=streams))
    with served(services, writer.job) as target, Cuts(target) as proxy:
        page = chromium.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{proxy.port}/page")
        for n in range(6):
            writer.say(*(f"{n} {i}" for i in range(7)))
            wait_until_shown(page, writer.job.last_event)
            if streams and n < 4:
                proxy.cut_now()
        writer.say("the last")
        writer.end()
        wait_until_shown(page, writer.job.last_event)
        until(lambda: page.evaluate("source.readyState") == 2, seconds=LIMIT, what="the end of the stream")

        assert shown(page) == list(range(1, 2 + 6 * 7 + 1 + 1 + 1))
        reads = [url for url in asked if "/events" in url]
        assert len(reads) >= 5, "the first, and four reconnects"
        if streams:
            assert proxy.made >= 4
        page.close()
