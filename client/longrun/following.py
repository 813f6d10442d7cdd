"""Following a job's events by whichever channel works, every one once and in order, however often connections are lost."""

from typing import Literal, TypeAlias, get_args

from longrun.errors import ChannelUnavailable, InvalidInput
from longrun.models import Event, EventPage
from longrun.seen import Log
from longrun.steps import Give, Items, Sleep
from longrun.streaming import by_stream
from longrun.talking import by_socket
from longrun.waiting import FIRST_PAUSE, HOLD

Channel: TypeAlias = Literal["websocket", "sse", "poll"]
#: The best one first.
CHANNELS: tuple[Channel, ...] = get_args(Channel)
#: Most events that are asked for at a time.
PAGE = 500


def by_channel(log: Log, channel: Channel | None) -> Items[Event]:
    """Every event until the job has ended, by this channel or by the best. Raises ChannelUnavailable, InvalidInput."""
    if channel not in (None, *CHANNELS):
        raise InvalidInput(f"no such channel: {channel!r} (there are {', '.join(CHANNELS)})")
    reason: str | None = None
    if channel in (None, "websocket"):
        reason = yield from by_socket(log, forced=channel is not None)
        if reason is None:
            return
    if channel in (None, "sse"):
        reason = yield from by_stream(log)
        if reason is None:
            return
    if channel in (None, "poll"):
        yield from by_polling(log, HOLD)
    else:
        raise ChannelUnavailable(channel, reason or "")


def by_polling(log: Log, hold: int) -> Items[Event]:
    """Every event until the job has ended; with no `hold` (seconds), until all that there is now has been told."""
    while True:
        params = {"after": log.seen, "limit": PAGE, "wait": hold or None, "progress": "true" if hold else None}
        request = log.service.request("GET", log.path, params=params, hold=hold)
        page = (yield from log.service.ask(request)).parse(EventPage)
        told = (*page.events, *([page.progress] if page.progress else ()))
        new = [event for event in told if log.is_new(event)]
        for event in new:
            yield Give(event)
        if page.events and log.seen < page.last_event:
            continue
        if page.final or not hold:
            return
        if not new:
            yield Sleep(FIRST_PAUSE)
