"""The two clients. Both are made of the same calls (`calls.py`, where each is described); they differ in how they wait."""

import functools
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

import httpx

from longrun.calls import Calls
from longrun.driving import Awaiting, Blocking, awaiting, awaiting_iterator, blocking, blocking_iterator
from longrun.retries import Retries
from longrun.service import Service

DEFAULT_URL = "http://localhost:8000"
#: Seconds to connect, and between any two pieces of an answer; what a long poll may be held comes on top.
TIMEOUT = 30.0


@functools.cache
def _tls() -> ssl.SSLContext:
    """One for all clients: reading the certificates takes longer than everything else that a client is made of."""
    return httpx.create_ssl_context()


async def _asleep(seconds: float) -> None:
    import asyncio  # noqa: PLC0415 - half of the cost of this module, and the blocking client does without

    await asyncio.sleep(seconds)


class Client(Blocking):
    """A blocking client of one service; may be shared between threads.

    `http` brings a transport of your own (proxies, certificates); it is then yours to close. `sleep` and `clock` take
    and give seconds. Raises InvalidInput for an address or a key that cannot be one.

        with Client("https://jobs.example.com", api_key="…") as longrun:
            print(longrun.run("research", {"query": "tides"}))
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT,
        retries: Retries | None = None,
        http: httpx.Client | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = Calls(Service(url, api_key, retries or Retries()), clock)
        self._http = http or httpx.Client(verify=_tls())
        self._owns_http = http is None
        self._sleep, self._timeout = sleep, timeout

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The client that `LONGRUN_URL` and `LONGRUN_API_KEY` describe."""
        return cls(environ.get("LONGRUN_URL") or DEFAULT_URL, environ.get("LONGRUN_API_KEY"))

    @property
    def url(self) -> str:
        """The address of the service."""
        return self._calls.service.url

    def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    submit = blocking(Calls.submit)
    run = blocking(Calls.run)
    get = blocking(Calls.get)
    wait = blocking(Calls.wait)
    result = blocking(Calls.result)
    events = blocking_iterator(Calls.events)
    list = blocking(Calls.list)
    jobs = blocking_iterator(Calls.jobs)
    cancel = blocking(Calls.cancel)
    delete = blocking(Calls.delete)
    tasks = blocking(Calls.tasks)
    task = blocking(Calls.task)
    put_document = blocking(Calls.put_document)
    list_documents = blocking(Calls.list_documents)
    documents = blocking_iterator(Calls.documents)
    delete_document = blocking(Calls.delete_document)
    health = blocking(Calls.health)
    webhook = blocking(Calls.webhook)
    set_webhook = blocking(Calls.set_webhook)
    remove_webhook = blocking(Calls.remove_webhook)
    rotate_webhook_secret = blocking(Calls.rotate_webhook_secret)
    deliveries = blocking(Calls.deliveries)
    undelivered = blocking_iterator(Calls.undelivered)
    redeliver = blocking(Calls.redeliver)
    answer = blocking(Calls.answer)
    retry = blocking(Calls.retry)
    list_children = blocking(Calls.list_children)
    children = blocking_iterator(Calls.children)
    create_schedule = blocking(Calls.create_schedule)
    schedule = blocking(Calls.schedule)
    schedules = blocking_iterator(Calls.schedules)
    pause_schedule = blocking(Calls.pause_schedule)
    resume_schedule = blocking(Calls.resume_schedule)
    delete_schedule = blocking(Calls.delete_schedule)


class AsyncClient(Awaiting):
    """The same for asyncio: calls are awaited, and what is iterated (`events`, `jobs` and the like) is with `async for`.

        async with AsyncClient("https://jobs.example.com", api_key="…") as longrun:
            print(await longrun.run("research", {"query": "tides"}))

    On trio, give `sleep=trio.sleep`.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT,
        retries: Retries | None = None,
        http: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[object]] = _asleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = Calls(Service(url, api_key, retries or Retries()), clock)
        self._http = http or httpx.AsyncClient(verify=_tls())
        self._owns_http = http is None
        self._sleep, self._timeout = sleep, timeout

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The client that `LONGRUN_URL` and `LONGRUN_API_KEY` describe."""
        return cls(environ.get("LONGRUN_URL") or DEFAULT_URL, environ.get("LONGRUN_API_KEY"))

    @property
    def url(self) -> str:
        """The address of the service."""
        return self._calls.service.url

    async def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    submit = awaiting(Calls.submit)
    run = awaiting(Calls.run)
    get = awaiting(Calls.get)
    wait = awaiting(Calls.wait)
    result = awaiting(Calls.result)
    events = awaiting_iterator(Calls.events)
    list = awaiting(Calls.list)
    jobs = awaiting_iterator(Calls.jobs)
    cancel = awaiting(Calls.cancel)
    delete = awaiting(Calls.delete)
    tasks = awaiting(Calls.tasks)
    task = awaiting(Calls.task)
    put_document = awaiting(Calls.put_document)
    list_documents = awaiting(Calls.list_documents)
    documents = awaiting_iterator(Calls.documents)
    delete_document = awaiting(Calls.delete_document)
    health = awaiting(Calls.health)
    webhook = awaiting(Calls.webhook)
    set_webhook = awaiting(Calls.set_webhook)
    remove_webhook = awaiting(Calls.remove_webhook)
    rotate_webhook_secret = awaiting(Calls.rotate_webhook_secret)
    deliveries = awaiting(Calls.deliveries)
    undelivered = awaiting_iterator(Calls.undelivered)
    redeliver = awaiting(Calls.redeliver)
    answer = awaiting(Calls.answer)
    retry = awaiting(Calls.retry)
    list_children = awaiting(Calls.list_children)
    children = awaiting_iterator(Calls.children)
    create_schedule = awaiting(Calls.create_schedule)
    schedule = awaiting(Calls.schedule)
    schedules = awaiting_iterator(Calls.schedules)
    pause_schedule = awaiting(Calls.pause_schedule)
    resume_schedule = awaiting(Calls.resume_schedule)
    delete_schedule = awaiting(Calls.delete_schedule)
