"""The real code on moto: handlers are called with the events of `events/`, on the template's own table, queues and bucket."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import botocore.client
import pytest

from common.jobs import Job, Payload, Status, new_id
from common.settings import AuthMode, Settings
from common.wiring import Services
from common.wiring import services as wire
from tests.aws import SESSION, Clock, deployed
from tests.handlers import Api, Worker, anywhere


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The template's table, queues and bucket on moto."""
    lock, call = threading.RLock(), botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def one_at_a_time(self: Any, *arguments: Any) -> Any:
        with lock:  # moto checks a condition and writes without one: two threads could both win
            return call(self, *arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", one_at_a_time)
    with deployed() as settings:
        yield settings


@pytest.fixture
def services(aws: Settings, clock: Clock) -> Services:
    return wire(aws, session=SESSION, clock=clock)


@pytest.fixture
def make_job(services: Services, clock: Clock) -> Callable[..., Job]:
    """Puts a job straight into the table."""

    def make(**changes: Any) -> Job:
        values: dict[str, Any] = {
            "id": new_id(),
            "owner": "acme",
            "task": "echo",
            "status": Status.PENDING,
            "input": Payload(size=2, inline="{}"),
            "created_at": clock(),
            "updated_at": clock(),
            "max_attempts": 3,
            "timeout_seconds": 300,
            "ttl_seconds": 86_400,
            "fingerprint": "",
            "token": new_id(),
            "run_at": 0,
            "wake_at": clock() + 60,
        }
        job, is_new = services.store.put(Job(**(values | changes)), clock())
        assert is_new
        return job

    return make


@pytest.fixture
def anybody(services: Services) -> Api:
    """The API with no key."""
    from mangum import Mangum

    from functions.api.application import create_app

    return Api(Mangum(create_app(services, resolve=anywhere), lifespan="off"))


@pytest.fixture
def api(anybody: Api, services: Services) -> Api:
    """The API, called by the owner acme."""
    return anybody.as_owner(services, "acme")


@pytest.fixture
def open_api(services: Services) -> Api:
    """The API of a laptop, where no key is needed."""
    from dataclasses import replace

    from mangum import Mangum

    from functions.api.application import create_app

    settings = replace(services.settings, auth_mode=AuthMode.OPEN)
    return Api(Mangum(create_app(replace(services, settings=settings), resolve=anywhere), lifespan="off"))


@pytest.fixture
def make_worker(services: Services) -> Callable[..., Worker]:
    def make(**options: Any) -> Worker:
        import tasks  # noqa: F401
        from common.tasks import REGISTRY
        from functions.worker.batches import make_handler
        from functions.worker.runner import Runner

        used = options.pop("services", services)
        registry = options.pop("registry", REGISTRY)
        settings = used.settings
        handler = make_handler(used, Runner(used, registry, **options))
        return Worker(handler, settings.queue_url, (settings.queue_url_high, settings.queue_url_low))

    return make


@pytest.fixture
def worker(make_worker: Callable[..., Worker]) -> Worker:
    return make_worker()


@pytest.fixture
def entry_point(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A function's real `app` module, made anew from the environment, as Lambda does at a cold start."""
    variables = {
        "TABLE_NAME": aws.table_name,
        "QUEUE_URL": aws.queue_url,
        "QUEUE_URL_HIGH": aws.queue_url_high,
        "QUEUE_URL_LOW": aws.queue_url_low,
        "BUCKET_NAME": aws.bucket_name,
        "WEBHOOK_QUEUE_URL": aws.webhook_queue_url,
        "SECRETS_KEY": aws.secrets_key,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def load(function: str) -> Any:
        module = importlib.import_module(f"functions.{function}.app")
        return importlib.reload(module)

    return load


@pytest.fixture
def enlist(services: Services) -> Callable[[], int]:
    """One run of the stragglers' function over what is new in the stream; returns how many jobs the sweeper knows since."""
    from functions.stragglers.enlisting import enlist as run
    from tests.streams import Stream

    stream = Stream(services, "StragglersFunction")
    return lambda: run(services, stream.records())[0]


@pytest.fixture
def sweep(services: Services, enlist: Callable[[], int]) -> Callable[[], int]:
    """One run of the sweeper, to which all is known that began before; returns how many messages it sent."""
    from functions.sweeper.sweep import sweep as run

    def swept() -> int:
        enlist()
        return run(services, has_time=lambda: True)

    return swept


@pytest.fixture
def calls(services: Services) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every AWS call of our code from now on: (operation, parameters)."""
    seen: list[tuple[str, dict[str, Any]]] = []

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        seen.append((model.name, params))

    events = [
        made.meta.events for made in (services.store._client, services.webhook_queue._client, services.blobs._client)
    ]
    for emitter in events:
        emitter.register("provide-client-params.*.*", note)
    yield seen
    for emitter in events:
        emitter.unregister("provide-client-params.*.*", note)
