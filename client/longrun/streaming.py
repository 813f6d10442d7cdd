"""Events by Server-Sent Events: one long answer, or many that end by themselves where answers cannot go on."""

from collections.abc import Generator
from typing import Any

import httpx

from longrun.models import Event, EventsEnd
from longrun.retries import PASSING, retry_after
from longrun.seen import Log
from longrun.service import Answer
from longrun.sse import Frames
from longrun.steps import Cut, Give, Hear, LineStep, Open, Reading, Send, Sleep
from longrun.waiting import FIRST_PAUSE, HOLD

STREAM = "text/event-stream"
#: Statuses of services that have no streams; polling may do.
NO_STREAM = frozenset({405, 406})


def by_stream(log: Log) -> Reading[Event]:
    """Every event until the job has ended; else why streams cannot go on. Raises ApiProblem for what no channel mends."""
    retries, failures = log.service.retries, 0
    while True:
        seen, frames = log.seen, Frames()
        headers = {"Accept": STREAM}
        request = log.service.request("GET", log.path, params={"after": seen}, headers=headers, hold=HOLD)
        answer: httpx.Response | Cut = yield Open(request)
        if isinstance(answer, httpx.Response) and answer.status_code == 204:
            return None
        if isinstance(answer, httpx.Response) and is_stream(answer):
            cut = yield from hear(log, frames)
            if cut is None:
                return None
            answer = cut
        if isinstance(answer, Cut) and answer.ended:
            failures = 0
            yield Sleep(FIRST_PAUSE if frames.retry is None else frames.retry)
            continue
        if isinstance(answer, httpx.Response) and answer.status_code not in PASSING:
            return refusal(request, answer)
        failures = 1 if log.seen > seen else failures + 1
        if failures >= retries.tries:
            return answer.reason if isinstance(answer, Cut) else refusal(request, answer)
        asked = None if isinstance(answer, Cut) else retry_after(answer)
        yield Sleep(retries.backoff(failures) if asked is None else retries.spread(asked))


def hear(log: Log, frames: Frames) -> Generator[LineStep | Give[Event], Any, Cut | None]:
    """The events of one answer, and what ended it, or `None` if the job did."""
    while True:
        heard: bytes | Cut = yield Hear()
        if isinstance(heard, Cut):
            return heard
        for frame in frames.feed(heard):
            if frame.kind == "end":
                complete = log.parse(EventsEnd, frame.data).last_event <= log.seen
                return None if complete else Cut("events were left out")
            event = log.parse(Event, frame.data)
            if log.is_new(event):
                yield Give(event)


def is_stream(answer: httpx.Response) -> bool:
    """Whether it is one; an older service answers with JSON."""
    return answer.status_code == 200 and answer.headers.get("Content-Type", "").startswith(STREAM)


def refusal(request: Send, answer: httpx.Response) -> str:
    """In words, if another channel may do better. Raises ApiProblem for what none will."""
    if 400 <= answer.status_code < 500 and answer.status_code not in PASSING | NO_STREAM:
        raise Answer(answer, request, False).problem()
    return f"HTTP {answer.status_code} with {answer.headers.get('Content-Type', 'nothing')}"
