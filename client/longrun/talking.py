"""Events by WebSocket: a ticket opens it, a subscription tells what was missed, and then what happens as it does."""

import json
from collections.abc import Generator
from typing import Any

import httpx

from longrun.errors import ApiProblem, Unauthorized, UnexpectedAnswer, problem_class
from longrun.models import Event, LiveTicket, Problem
from longrun.retries import PASSING
from longrun.seen import Log
from longrun.service import AGENT, encoded
from longrun.steps import Cut, Give, Hear, LineStep, Open, Reading, Say, Send, Sleep, Steps
from longrun.uploads import JSON

#: Seconds of silence after which the subscription is made again; a second silence is a cut.
SILENCE = 25
#: How often a WebSocket that never worked is tried; some networks let none through.
FIRST_TRIES = 2


def by_socket(log: Log, *, forced: bool) -> Reading[Event]:
    """Every event until the job has ended; else why WebSockets cannot go on. Raises ApiProblem if nothing else may do."""
    retries, failures = log.service.retries, 0
    tries = retries.tries if forced else FIRST_TRIES
    while True:
        seen = log.seen
        try:
            ticket = yield from ticket_for(log)
        except (ApiProblem, UnexpectedAnswer) as error:
            if forced or isinstance(error, Unauthorized):
                raise
            return str(error)
        if ticket.url is None:
            return "the service has no address for it"
        url = httpx.URL(ticket.url).copy_add_param("ticket", ticket.ticket)
        cut: Cut | None = yield Open(Send("GET", str(url), headers={"User-Agent": AGENT}), websocket=True)
        if cut is None:
            tries = retries.tries
            cut = yield from Conversation(log).hold()
            if cut is None:
                return None
        failures = 1 if log.seen > seen else failures + 1
        if failures >= tries:
            return cut.reason
        yield Sleep(retries.backoff(failures))


def ticket_for(log: Log) -> Steps[LiveTicket]:
    """A new ticket, and the address that takes it. Raises ApiProblem, UnexpectedAnswer."""
    body = encoded({"job": log.job_id}, "the job's id")
    # One ticket more does no harm.
    request = log.service.request("POST", "/live-ticket", headers=JSON, content=body, harmless_twice=True)
    return (yield from log.service.ask(request)).parse(LiveTicket)


class Again:
    """Subscribe once more from what has been seen: that heals whatever went wrong."""


class Ended:
    """The job has, and all of it was told."""


class Conversation:
    """One connection's. Numbers come without gaps, or we subscribe again: the log has no gaps."""

    def __init__(self, log: Log) -> None:
        self._log = log
        #: Whether what was missed has been told, and from now on things are told as they happen.
        self._live = False
        #: Whether nothing has been heard since we subscribed.
        self._asked = False

    def hold(self) -> Generator[LineStep | Give[Event], Any, Cut | None]:
        """What cut it, or `None` if the job has ended."""
        verdict: type[Again | Ended] | Cut | None = Again
        while not isinstance(verdict, Cut):
            if verdict is Ended:
                return None
            if verdict is Again:
                self._live, self._asked = False, True
                said: Cut | None = yield self._subscription()
                if said is not None:
                    return said
            heard: str | Cut | None = yield Hear(SILENCE)
            if isinstance(heard, Cut):
                return heard
            if heard is None:
                verdict = Cut("it went silent") if self._asked else Again
            else:
                self._asked = False
                verdict = yield from self._take(message_of(heard))
        return verdict

    def _take(self, message: dict[str, Any]) -> Generator[Give[Event], None, type[Again | Ended] | Cut | None]:
        if message.get("job") not in (None, self._log.job_id):
            return None
        if "problem" in message:
            return self._refused(message["problem"])
        gap = False
        for one in message.get("events", ()):
            event = self._log.parse(Event, one)
            if event.seq is not None and event.seq > self._log.seen + 1:
                gap = True
            elif self._log.is_new(event):
                yield Give(event)
        end = message.get("end")
        told = end or (message if message.get("live") else None)
        if told is not None and told.get("last_event", 0) > self._log.seen:
            gap = True
        if gap and not self._live and told is not None:
            return Cut("events were left out")  # by a subscription that began with what we lack
        if end and not gap:
            return Ended
        # While what was missed is being told, a gap is no news: it is what was under way when we subscribed again.
        again = gap and self._live
        self._live |= told is not None
        return Again if again else None

    def _subscription(self) -> Say:
        return Say(json.dumps({"action": "subscribe", "job": self._log.job_id, "after": self._log.seen}))

    def _refused(self, problem: dict[str, Any]) -> Cut:
        """For what may pass. Raises ApiProblem for what will not."""
        found = self._log.parse(Problem, problem)
        if found.status in PASSING or found.status >= 500:
            return Cut(found.detail or found.title or f"status {found.status}")
        raise problem_class(found.status)(found, f"GET {self._log.path}")


def message_of(heard: str) -> dict[str, Any]:
    """A message; an empty one for what is none of Longrun's, such as a gateway's own."""
    try:
        message = json.loads(heard)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
