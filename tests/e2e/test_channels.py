"""One job, read by polling, by Server-Sent Events and by WebSocket, while the connections are cut a hundred times."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from longrun import Client, Event, Retries
from longrun.following import Channel
from tests.cuts import Cuts
from tests.e2e.test_run import Run, Start, sources, start  # noqa: F401  # fixtures

#: Events that the task says, besides the three changes of the job's status, and the seconds that it takes for them.
EVENTS, SECONDS = 400, 30
CHANNELS: tuple[Channel, ...] = ("poll", "sse", "websocket")
#: More than a hundred in all.
CUTS_EACH = 34

TASK = """
import asyncio
from pydantic import BaseModel
from common.tasks import Context, task

class Talk(BaseModel):
    events: int
    seconds: float

@task
async def talk(ctx: Context, input: Talk) -> None:
    for n in range(input.events):
        ctx.thought(f"{n} " + "ü\\n" * (n % 150))
        ctx.progress(100 * n / input.events)
        await asyncio.sleep(input.seconds / input.events)
"""


@pytest.fixture
def run(start: Start, sources: Path) -> Run:  # noqa: F811  # as pytest finds fixtures
    (sources / "tasks" / "talk.py").write_text(TASK)
    run = start()
    run.wait_for("Ready on http://localhost:")
    return run


class Redirected(httpx.HTTPTransport):
    """Leads whoever asks for the WebSocket's address to another port."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if request.url.path != "/live-ticket":
            return response
        ticket = json.loads(response.read())
        ticket["url"] = str(httpx.URL(ticket["url"]).copy_with(port=self._port))
        response.close()
        return httpx.Response(response.status_code, json=ticket)


def test_every_channel_tells_the_same_however_often_it_is_cut(run: Run) -> None:
    with ExitStack() as stack:
        api = ("127.0.0.1", run.http.base_url.port or 80)
        live = httpx.URL(run.http.post("/live-ticket", json={}).json()["url"])
        targets = {"poll": api, "sse": api, "websocket": (live.host, live.port or 80)}
        cuts = {
            channel: stack.enter_context(Cuts(targets[channel], seed=seed, most=CUTS_EACH, seconds=0.3))
            for seed, channel in enumerate(CHANNELS)
        }
        job_id = run.http.post("/jobs", json={"task": "talk", "input": {"events": EVENTS, "seconds": SECONDS}}).json()[
            "id"
        ]

        def read(channel: Channel) -> list[Event]:
            port = cuts[channel].port
            retries = Retries(tries=50, first_pause=0.02, longest_pause=0.2)
            if channel == "websocket":
                http = stack.enter_context(httpx.Client(transport=Redirected(port)))
                client = Client(str(run.http.base_url), retries=retries, http=http)
            else:
                client = stack.enter_context(Client(f"http://127.0.0.1:{port}", retries=retries))
            return list(client.events(job_id, channel=channel, progress=False))

        with ThreadPoolExecutor() as readers:
            found = dict(zip(CHANNELS, readers.map(read, CHANNELS), strict=True))

    made = {channel: each.made for channel, each in cuts.items()}
    assert sum(made.values()) >= 100, made
    expected = list(range(1, EVENTS + 4))
    for channel, events in found.items():
        assert [event.seq for event in events] == expected, channel
    with Client(str(run.http.base_url)) as client:
        whole = list(client.events(job_id, follow=False))
    assert found["poll"] == found["sse"] == found["websocket"] == whole
    assert [event.data["text"].split()[0] for event in whole if event.type == "thought"] == [
        str(n) for n in range(EVENTS)
    ]
