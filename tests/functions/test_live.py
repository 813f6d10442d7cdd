"""Watching a job over a WebSocket: the past first and then live, nothing missing, nothing twice, and nobody held up."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import MethodType, SimpleNamespace
from typing import Any

import botocore.client
import pytest

from common.events import MAX_EVENT, event
from common.items import ms
from common.jobs import Job, Payload, Progress, Report, new_id
from common.live import MAX_JOBS, MAX_WATCHERS, Connection
from common.settings import AuthMode, Settings
from common.sockets import MAX_MESSAGE
from common.wiring import Services
from common.wiring import services as wire
from functions.live.handling import MARGIN, make_handler
from functions.notifier.live import LIMIT, push
from functions.notifier.records import job_change, notify
from tests.conftest import REGION, RESOURCES, SESSION, Api, Clock, load_event
from tests.gateway import Gateway, serving

#: As it is without the lock that the fixture `aws` puts around every call.
CALL = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as gateway:
        yield gateway


@pytest.fixture
def services(aws: Settings, clock: Clock, gateway: Gateway) -> Services:
    services = wire(replace(aws, live_endpoint=gateway.url), session=SESSION, clock=clock)
    posting: Any = services.sockets._client
    posting._make_api_call = MethodType(CALL, posting)  # posts do not wait for each other
    return services


@dataclass
class Page:
    """A client: its connection, what it was answered, what it says."""

    id: str
    handler: Callable[[Any, Any], Any]
    gateway: Gateway
    answer: Any = None

    def connect(
        self, *, ticket: str | None = None, protocols: str | None = None, header: str = "Sec-WebSocket-Protocol"
    ) -> int:
        given = load_event("live-connect")
        given["multiValueHeaders"].pop("Sec-WebSocket-Protocol")
        if protocols is not None:
            given["multiValueHeaders"][header] = [protocols]
        if ticket is not None:
            given["queryStringParameters"] = {"ticket": ticket}
        self.answer = self._send(given)
        return int(self.answer["statusCode"])

    def says(self, text: Any, seconds: float = 29) -> None:
        given = load_event("live-message")
        given["body"] = text if isinstance(text, str | None) else json.dumps(text)
        assert self._send(given, seconds) == {"statusCode": 200}

    def subscribe(self, job_id: str, after: int = 0, seconds: float = 29) -> None:
        self.says({"action": "subscribe", "job": job_id, "after": after}, seconds)

    def disconnect(self) -> None:
        self._send(load_event("live-disconnect"))

    @property
    def heard(self) -> list[Any]:
        return self.gateway.said_to(self.id)

    def numbers(self, job: Job) -> list[int]:
        return self.gateway.numbers(self.id, job.id)

    def _send(self, given: Any, seconds: float = 29) -> Any:
        given["requestContext"]["connectionId"] = self.id
        return self.handler(given, SimpleNamespace(get_remaining_time_in_millis=lambda: seconds * 1000))


@pytest.fixture
def make_page(services: Services, gateway: Gateway) -> Callable[..., Page]:
    """A client that is connected with an owner's key."""

    def make(name: str = "L0SM9cOFvHcCIhw=", owner: str | None = "acme", used: Services = services) -> Page:
        page = Page(name, make_handler(used), gateway)
        if owner is not None:
            key, _ = used.keys.create(owner, "test", used.clock())
            assert page.connect(protocols=f"longrun, key.{key}") == 200
        return page

    return make


@pytest.fixture
def page(make_page: Callable[..., Page]) -> Page:
    return make_page()


@dataclass
class Talker:
    """A job that runs, and says what the test has it say."""

    services: Services
    job: Job
    said: int = 0

    def says(self, count: int = 1, text: str = "hm", progress: Progress | None = None) -> None:
        now = self.services.clock()
        page = [event("thought", now, {"text": text}) for _ in range(count)]
        self.job = self.services.store.flush(self.job, page, Report(progress), now)

    def moves(self, percent: int) -> None:
        self.job = self.services.store.report(self.job, Report(Progress(percent=percent)), self.services.clock())

    def ends(self) -> None:
        result = Payload(size=2, inline="{}")
        self.job = self.services.store.complete(self.job, result, Report(), self.services.clock())


@pytest.fixture
def make_talker(services: Services, make_job: Callable[..., Job], clock: Clock) -> Callable[..., Talker]:
    def make(**job: Any) -> Talker:
        return Talker(services, services.store.claim(make_job(**job).id, token="t", now=clock()))

    return make


@pytest.fixture
def talker(make_talker: Callable[..., Talker]) -> Talker:
    """Its log begins with two events: pending, running."""
    return make_talker()


class Stream:
    """The table's stream, given to the notifier by and by."""

    def __init__(self, services: Services) -> None:
        self._services = services
        place = f"https://streams.dynamodb.{REGION}.amazonaws.com"
        self._streams = SESSION.client("dynamodbstreams", endpoint_url=place)
        arn = self._streams.list_streams(TableName="longrun")["Streams"][0]["StreamArn"]
        shard = self._streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
        self._next = self._streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]

    def take(self) -> list[Any]:
        """The records that are new."""
        answer = self._streams.get_records(ShardIterator=self._next)
        self._next = answer["NextShardIterator"]
        records: list[Any] = answer["Records"]
        return records

    def __call__(self) -> None:
        assert notify(self._services, self.take()) == {"batchItemFailures": []}


@pytest.fixture
def stream(services: Services) -> Stream:
    return Stream(services)


def up_to(last: int) -> list[int]:
    return list(range(1, last + 1))


def left_of(services: Services, connection: str) -> list[str]:
    """The sort keys of what the table still holds for a connection."""
    items = SESSION.client("dynamodb").scan(TableName="longrun")["Items"]
    keys = [(item["pk"]["S"], item["sk"]["S"]) for item in items]
    return sorted(sk for pk, sk in keys if pk == f"connection#{connection}" or sk == f"live#{connection}")


# ---------------------------------------------------------------------------------------- who may connect


def test_a_key_connects_and_is_not_told_back(page: Page) -> None:
    assert page.answer["headers"] == {"Sec-WebSocket-Protocol": "longrun"}


@pytest.mark.parametrize("header", ["sec-websocket-protocol", "SEC-WEBSOCKET-PROTOCOL"])
def test_headers_may_be_written_in_any_way(make_page: Any, services: Services, header: str) -> None:
    key, _ = services.keys.create("acme", "test", services.clock())
    assert make_page(owner=None).connect(protocols=f"key.{key},longrun", header=header) == 200


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"protocols": "longrun"},
        {"protocols": "longrun, key."},
        {"protocols": f"longrun, key.lr_{'x' * 43}"},
        {"ticket": ""},
        {"ticket": f"lt_{'x' * 43}"},
        {"ticket": "key"},
    ],
)
def test_whoever_shows_nothing_valid_is_refused(
    make_page: Any, services: Services, credentials: dict[str, str]
) -> None:
    page = make_page(owner=None)
    assert page.connect(**credentials) == 401
    assert left_of(services, page.id) == []
    page.subscribe(new_id())
    assert page.gateway.closed == [page.id]  # a message on it would be of no use


def test_a_ticket_connects_until_it_expires(
    make_page: Any, services: Services, talker: Talker, clock: Clock, stream: Stream
) -> None:
    ticket, _ = services.tickets.create("acme", None, 60, clock())
    page = make_page(owner=None)
    assert page.connect(ticket=ticket) == 200
    assert "headers" not in page.answer
    page.subscribe(talker.job.id)
    assert page.numbers(talker.job) == [1, 2]
    clock.advance(61)
    assert make_page("late", owner=None).connect(ticket=ticket) == 401
    talker.says()
    stream()
    assert page.numbers(talker.job) == [1, 2, 3]  # what is open stays open


def test_a_ticket_for_one_job_opens_no_other(
    make_page: Any, services: Services, make_talker: Any, clock: Clock
) -> None:
    one, other = make_talker(), make_talker()
    ticket, _ = services.tickets.create("acme", one.job.id, 60, clock())
    page = make_page(owner=None)
    page.connect(ticket=ticket)
    page.subscribe(other.job.id)
    page.subscribe(one.job.id)
    assert page.heard[0]["problem"]["status"] == 404
    assert page.numbers(one.job) == [1, 2]


def test_on_a_laptop_no_key_is_needed_and_a_wrong_one_is_wrong(
    make_page: Any, services: Services, make_job: Any
) -> None:
    opened = replace(services, settings=replace(services.settings, auth_mode=AuthMode.OPEN))
    page = make_page(owner=None, used=opened)
    assert page.connect() == 200
    page.subscribe(make_job(owner="local").id)
    assert page.heard[-1]["live"]
    assert make_page("other", owner=None, used=opened).connect(protocols=f"longrun, key.lr_{'x' * 43}") == 401


def test_the_entry_point_works_as_it_is_deployed(
    entry_point: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, gateway: Gateway
) -> None:
    monkeypatch.setenv("LIVE_ENDPOINT", gateway.url)
    page = Page("c", entry_point("live").handler, gateway)
    assert page.connect(protocols="longrun") == 401
    page.says({"action": "ping"})
    assert page.heard == [{"pong": True}]


# ---------------------------------------------------------------------------------------- from the past into the present


def test_a_job_is_watched_from_its_beginning_to_its_end(page: Page, talker: Talker, stream: Stream) -> None:
    talker.says(3)
    stream()
    page.subscribe(talker.job.id)
    stream()
    assert page.heard[-1] == {"job": talker.job.id, "live": True, "last_event": 5}
    for _ in range(3):
        talker.says(2)
        stream()
    talker.ends()
    stream()
    assert page.numbers(talker.job) == up_to(12)
    assert page.heard[-1] == {"job": talker.job.id, "end": {"status": "completed", "last_event": 12}}


def test_events_look_as_on_every_channel(page: Page, api: Api, talker: Talker, stream: Stream) -> None:
    talker.says(2)
    page.subscribe(talker.job.id)
    talker.says(2)
    talker.ends()
    stream()
    polled = api("GET", f"/jobs/{talker.job.id}/events").json()["events"]
    assert page.gateway.events_of(page.id, talker.job.id) == polled


@pytest.mark.parametrize("after", range(7))
def test_a_finished_job_is_told_from_any_number_and_leaves_nothing(
    page: Page, talker: Talker, services: Services, after: int
) -> None:
    talker.says(2)
    talker.ends()
    page.subscribe(talker.job.id, after)
    assert page.numbers(talker.job) == up_to(5)[after:]
    assert page.heard[-1] == {"job": talker.job.id, "end": {"status": "completed", "last_event": 5}}
    assert left_of(services, page.id) == ["connection"]


def count_calls(services: Services, what: Callable[[], object]) -> list[str]:
    """The calls to the table that `what` makes."""
    seen: list[str] = []

    def note(model: Any, **_: Any) -> None:
        seen.append(model.name)

    events = services.store._client.meta.events
    events.register("provide-client-params.*.*", note)
    try:
        what()
    finally:
        events.unregister("provide-client-params.*.*", note)
    return seen


#: The calls to the table while a running job is subscribed to: what happens before each of them is tried.
STEPS = 9


def test_a_subscription_has_so_many_steps(page: Page, talker: Talker, services: Services) -> None:
    assert len(count_calls(services, lambda: page.subscribe(talker.job.id))) == STEPS


@pytest.mark.parametrize("told", [True, False], ids=["pushed at once", "pushed later"])
@pytest.mark.parametrize("watched", [True, False], ids=["watched already", "first to watch"])
@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("what", ["says", "ends"])
def test_what_happens_at_any_moment_of_a_subscription_comes_once(
    make_page: Any,
    services: Services,
    talker: Talker,
    stream: Stream,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    watched: bool,
    told: bool,
    what: str,
) -> None:
    page, earlier = make_page("new"), make_page("earlier")
    if watched:
        earlier.subscribe(talker.job.id)
    stream()
    table: Any = services.store._client
    call, calls = table._make_api_call, []

    def call_after_something(*arguments: Any) -> Any:
        calls.append(arguments[0])
        if len(calls) == step + 1:
            talker.says() if what == "says" else talker.ends()
            if told:
                stream()
        return call(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(table, "_make_api_call", call_after_something)
        page.subscribe(talker.job.id)
    stream()
    if what == "says":
        assert talker.job.last_event == 3
        talker.says()
        stream()
        talker.ends()
        stream()
    assert page.numbers(talker.job) == up_to(talker.job.last_event)
    assert [message for message in page.heard if "end" in message] == page.heard[-1:]
    assert left_of(services, page.id) == ["connection"]
    if watched:
        assert earlier.numbers(talker.job) == up_to(talker.job.last_event)


def test_two_at_different_places_each_get_what_they_lack(
    make_page: Any, talker: Talker, stream: Stream, services: Services
) -> None:
    one, other, ahead = make_page("one"), make_page("other"), make_page("ahead")
    talker.says(5)
    one.subscribe(talker.job.id)
    other.subscribe(talker.job.id, 4)
    ahead.subscribe(talker.job.id, 8)  # it may have seen more than there is here: it is believed
    talker.says(3)
    queries = count_calls(services, stream).count("Query")
    assert one.numbers(talker.job) == up_to(10)
    assert other.numbers(talker.job) == up_to(10)[4:]
    assert ahead.numbers(talker.job) == [9, 10]
    assert queries == 2  # who watches, and the log: once for all of them


def test_who_subscribes_again_goes_on_where_it_was(page: Page, talker: Talker, stream: Stream) -> None:
    talker.says(3)
    page.subscribe(talker.job.id, 2)
    page.subscribe(talker.job.id, 2)
    talker.says()
    stream()
    assert page.numbers(talker.job) == [3, 4, 5, 3, 4, 5, 6]


def test_who_only_asks_whether_all_is_well_costs_no_write(
    page: Page, talker: Talker, stream: Stream, services: Services
) -> None:
    page.subscribe(talker.job.id)
    stream()
    calls = count_calls(services, lambda: page.subscribe(talker.job.id, 2))
    assert calls == ["GetItem"] * 3
    assert page.heard[-1] == {"job": talker.job.id, "live": True, "last_event": 2}
    talker.says()
    stream()
    page.subscribe(talker.job.id, 2)  # that post got lost: it is told again
    assert page.numbers(talker.job) == [1, 2, 3, 3]
    talker.says()
    stream()
    assert page.numbers(talker.job) == [1, 2, 3, 3, 4]


def test_a_replay_that_has_no_time_left_stops_and_goes_on_when_asked(
    page: Page, talker: Talker, stream: Stream
) -> None:
    talker.says(10, "x" * 30_000)
    posted = page.gateway.posts[page.id]
    in_time = SimpleNamespace(get_remaining_time_in_millis=lambda: (MARGIN + 5 - len(posted)) * 1000)
    given = load_event("live-message")
    given["requestContext"]["connectionId"] = page.id
    given["body"] = json.dumps({"action": "subscribe", "job": talker.job.id})
    page.handler(given, in_time)
    known = page.numbers(talker.job)
    assert known == up_to(len(known))
    assert 2 < len(known) < 12
    talker.says()
    stream()
    assert page.numbers(talker.job) == known  # nothing is told past a gap
    page.subscribe(talker.job.id, known[-1])
    assert page.numbers(talker.job) == up_to(13)


def test_progress_is_told_without_a_number_and_to_whoever_comes(make_page: Any, talker: Talker, stream: Stream) -> None:
    page, late = make_page("page"), make_page("late")
    page.subscribe(talker.job.id)
    stream()
    talker.moves(10)
    talker.says(progress=Progress(percent=20))
    talker.moves(30)
    stream()
    late.subscribe(talker.job.id)
    stream()
    told = [found["data"]["percent"] for found in page.gateway.events_of(page.id, talker.job.id) if "seq" not in found]
    assert set(told) == {30}
    assert late.gateway.events_of(late.id, talker.job.id)[-1] == {
        "type": "progress",
        "at": "2026-11-22T10:00:00.000Z",
        "data": {"percent": 30, "current": None, "total": None, "message": None},
    }
    assert page.numbers(talker.job) == late.numbers(talker.job) == [1, 2, 3]


@pytest.mark.parametrize("text", ["x" * 60_000, "ü" * 60_000, '"\n' * 60_000])
def test_no_message_is_longer_than_a_frame(page: Page, talker: Talker, stream: Stream, text: str) -> None:
    long = event("thought", 0, {"text": text})
    assert long.size > MAX_EVENT - 300
    talker.says(4, text)
    page.subscribe(talker.job.id)
    talker.says(3, text)
    talker.says(500, "short")
    stream()
    assert page.numbers(talker.job) == up_to(509)
    sizes = [len(data) for data in page.gateway.posts[page.id]]
    assert max(sizes) <= MAX_MESSAGE
    assert len(sizes) < 14  # short ones go together


def test_a_job_that_took_an_expired_one_s_place_is_another(
    page: Page, make_talker: Any, clock: Clock, stream: Stream
) -> None:
    old = make_talker()
    page.subscribe(old.job.id)
    old.ends()
    clock.advance(90_000)
    new = make_talker(id=old.job.id)
    new.says()
    stream()
    assert page.numbers(new.job) == [1, 2]


# ---------------------------------------------------------------------------------------- what it costs


def test_a_job_that_nobody_watches_costs_no_call(services: Services, talker: Talker, stream: Stream) -> None:
    stream()
    talker.says(3)
    talker.ends()
    changes = [change for record in stream.take() if (change := job_change(record))]
    assert len(changes) == 2
    assert count_calls(services, lambda: push(services, changes)) == []


def test_many_changes_of_one_batch_are_one_push(page: Page, services: Services, talker: Talker, stream: Stream) -> None:
    page.subscribe(talker.job.id)
    stream()
    for _ in range(10):
        talker.says()
    assert count_calls(services, stream) == ["Query", "Query", "UpdateItem"]
    assert len([message for message in page.heard if "events" in message]) == 2


def test_watching_is_no_change_that_a_client_sees(page: Page, api: Api, talker: Talker, clock: Clock) -> None:
    before = api("GET", f"/jobs/{talker.job.id}")
    clock.advance(1)
    page.subscribe(talker.job.id)
    after = api("GET", f"/jobs/{talker.job.id}")
    assert (after.headers["etag"], after.json()) == (before.headers["etag"], before.json())


def test_the_worker_s_own_writes_come_first(page: Page, services: Services, talker: Talker, stream: Stream) -> None:
    refusals = iter([True, True])

    def conflict(model: Any, params: dict[str, Any], **_: Any) -> Any:
        if b"watched_until" in params["body"] and next(refusals, False):
            error = {"Error": {"Code": "TransactionConflictException", "Message": "ongoing"}}
            return SimpleNamespace(status_code=400, headers={}), error | {"ResponseMetadata": {}}
        return None

    events = services.store._client.meta.events
    events.register("before-call.dynamodb.UpdateItem", conflict)
    page.subscribe(talker.job.id)
    events.unregister("before-call.dynamodb.UpdateItem", conflict)
    assert next(refusals, None) is None
    talker.says()
    stream()
    assert page.numbers(talker.job) == [1, 2, 3]


# ---------------------------------------------------------------------------------------- clients that are gone, slow or wrong


def test_a_client_that_has_gone_is_forgotten(
    make_page: Any, services: Services, make_talker: Any, stream: Stream, gateway: Gateway
) -> None:
    gone, page = make_page("gone"), make_page("page")
    talkers = [make_talker(), make_talker()]
    for talker in talkers:
        gone.subscribe(talker.job.id)
        page.subscribe(talker.job.id)
    gateway.statuses["gone"] = 410
    talkers[0].says()
    stream()
    assert left_of(services, "gone") == []
    assert gateway.closed == []
    assert page.numbers(talkers[0].job) == [1, 2, 3]


def test_a_client_that_takes_nothing_is_closed_and_holds_nobody_up(
    make_page: Any, services: Services, talker: Talker, stream: Stream, gateway: Gateway
) -> None:
    slow = [make_page(f"slow-{n}") for n in range(8)]
    full, page = make_page("full"), make_page("page")
    for each in (*slow, full, page):
        each.subscribe(talker.job.id)
    stream()
    gateway.hanging |= {each.id for each in slow}
    gateway.statuses["full"] = 429
    talker.says()
    stream()
    assert gateway.most_waiting == len(slow)
    assert page.numbers(talker.job) == [1, 2, 3]
    assert sorted(gateway.closed) == sorted(["full", *(each.id for each in slow)])
    for each in (*slow, full):
        assert left_of(services, each.id) == []


def test_a_client_that_goes_while_it_is_told_the_past_is_forgotten(
    page: Page, services: Services, talker: Talker, gateway: Gateway
) -> None:
    gateway.statuses[page.id] = 410
    page.subscribe(talker.job.id)
    assert left_of(services, page.id) == []


def test_a_client_that_disconnects_leaves_nothing(page: Page, services: Services, make_talker: Any) -> None:
    jobs = [make_talker().job for _ in range(3)]
    for job in jobs:
        page.subscribe(job.id)
    assert len(left_of(services, page.id)) == 4
    page.disconnect()
    page.disconnect()
    assert left_of(services, page.id) == []


def test_after_a_crash_between_post_and_note_nothing_is_lost(
    page: Page, services: Services, talker: Talker, stream: Stream
) -> None:
    page.subscribe(talker.job.id)
    stream()
    talker.says()
    records = stream.take()

    def crash(**_: Any) -> None:
        raise KeyboardInterrupt

    events = services.store._client.meta.events
    events.register("before-call.dynamodb.UpdateItem", crash)
    with contextlib.suppress(KeyboardInterrupt):
        notify(services, records)
    events.unregister("before-call.dynamodb.UpdateItem", crash)
    assert page.numbers(talker.job) == [1, 2, 3]
    notify(services, records)
    talker.says()
    stream()
    assert page.numbers(talker.job) == [1, 2, 3, 3, 4]  # by its number the client knows that it has it


def test_who_unsubscribes_hears_no_more(page: Page, services: Services, talker: Talker, stream: Stream) -> None:
    page.subscribe(talker.job.id)
    page.says({"action": "unsubscribe", "job": talker.job.id})
    talker.says()
    stream()
    assert page.heard[-1] == {"job": talker.job.id, "unsubscribed": True}
    assert left_of(services, page.id) == ["connection"]


def test_another_s_job_is_a_job_that_there_is_not(page: Page, api: Api, make_job: Any) -> None:
    foreign = make_job(owner="other").id
    for job_id in (foreign, new_id(), "nonsense"):
        page.subscribe(job_id)
    answer = api("GET", f"/jobs/{new_id()}").json()
    problems = [message["problem"] for message in page.heard]
    assert problems == [{name: answer[name] for name in ("status", "title", "detail")}] * 3
    assert page.heard[0]["job"] == foreign


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "hello",
        "[]",
        "{}",
        "[" * 4_000,
        "{" + '"a":' * 1_500,
        '{"action": "subscribe"}',
        '{"action": "subscribe", "job": 7}',
        '{"action": "subscribe", "job": null}',
        '{"action": ["subscribe"]}',
        '{"action": "delete", "job": "0123456789abcdef0123456789abcdef"}',
        *(
            f'{{"action": "subscribe", "job": "0123456789abcdef0123456789abcdef", "after": {after}}}'
            for after in ("-1", "1.0", "true", '"1"', "null", "100000000", "NaN", "9" * 3_000)
        ),
        '{"action": "ping"}' + " " * 5_000,
    ],
)
def test_what_is_no_message_is_answered_with_a_problem(page: Page, text: str | None) -> None:
    page.says(text)
    (message,) = page.heard
    assert message["job"] is None
    assert message["problem"]["status"] == 400
    assert len(message["problem"]["detail"]) < 100


def test_a_table_that_does_not_answer_is_a_problem(page: Page, services: Services, talker: Talker) -> None:
    def fail(**_: Any) -> Any:
        error = {"Error": {"Code": "AccessDeniedException", "Message": "no"}, "ResponseMetadata": {}}
        return SimpleNamespace(status_code=400, headers={}), error

    events = services.store._client.meta.events
    events.register("before-call.dynamodb.*", fail)
    page.subscribe(talker.job.id)
    events.unregister("before-call.dynamodb.*", fail)
    assert page.heard[-1]["problem"]["status"] == 503
    page.subscribe(talker.job.id)
    assert page.heard[-1]["live"]


def test_a_connection_watches_so_many_jobs_and_no_more(page: Page, services: Services, make_job: Any) -> None:
    jobs = [make_job() for _ in range(MAX_JOBS + 1)]
    for job in jobs:
        page.subscribe(job.id)
    assert page.heard[-1]["problem"]["status"] == 409
    assert str(MAX_JOBS) in page.heard[-1]["problem"]["detail"]
    page.subscribe(jobs[0].id)  # which it has
    assert page.heard[-1]["live"]
    page.says({"action": "unsubscribe", "job": jobs[0].id})
    page.subscribe(jobs[-1].id)
    assert page.heard[-1] == {"job": jobs[-1].id, "live": True, "last_event": 1}


def test_so_many_watch_a_job_and_no_more(page: Page, services: Services, make_job: Any, clock: Clock) -> None:
    job = make_job()
    for n in range(MAX_WATCHERS):
        connection = Connection(f"c{n}", "acme", jobs=frozenset([job.id]))
        services.subscriptions.begin(connection, job, 0, clock())
    page.subscribe(job.id)
    assert page.heard[-1]["problem"]["status"] == 409
    clock.advance(3 * 3_600)  # those are long over, though nobody has noticed
    page.subscribe(job.id)
    assert page.heard[-1]["live"]


def test_no_ticket_or_key_is_logged(make_page: Any, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    ticket, _ = services.tickets.create("acme", None, 60, services.clock())
    key, _ = services.keys.create("acme", "test", services.clock())
    make_page("a", owner=None).connect(ticket=ticket)
    make_page("b", owner=None).connect(protocols=f"longrun, key.{key}")
    records = [record.__dict__ for record in caplog.records]
    assert [record["event_type"] for record in records] == ["CONNECT", "CONNECT"]
    for secret in (ticket, key):
        assert secret not in str(records)


def test_what_is_stored_of_a_subscription_expires(page: Page, talker: Talker, clock: Clock) -> None:
    page.subscribe(talker.job.id)
    items = SESSION.client("dynamodb").scan(TableName="longrun")["Items"]
    mine = [item for item in items if page.id in item["pk"]["S"] + item["sk"]["S"]]
    assert len(mine) == 2
    assert all(clock() + 7_200 < int(item["expires_at"]["N"]) < clock() + 8_000 for item in mine)
    (job,) = [item for item in items if item["sk"]["S"] == "job"]
    assert int(job["watched_until"]["N"]) > ms(clock() + 7_200)


def test_functions_may_run_for_as_long_as_they_need() -> None:
    notifier, live = (RESOURCES[name]["Properties"] for name in ("NotifierFunction", "LiveFunction"))
    assert notifier["Timeout"] > 2 * LIMIT
    gateway = RESOURCES["LiveApi"]["Properties"]["Routes"]["$default"]["IntegrationTimeout"] / 1000
    assert 2 * MARGIN < live["Timeout"] <= gateway
