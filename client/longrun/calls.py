"""Every call of the client, written once, as a generator of steps. `client.py` makes blocking and async methods of them.

Each may raise Unreachable, UnexpectedAnswer and ApiProblem (Unauthorized, RateLimited, Unavailable, …), see `errors.py`;
the docstrings name what is particular to a call.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, Unpack, overload

from longrun.durable import DurableCalls
from longrun.following import Channel, by_channel, by_polling
from longrun.models import Document, DocumentPage, Event, Health, Job, JobPage, Task, TaskList
from longrun.results import result_of
from longrun.schedules import ScheduleCalls
from longrun.seen import Log
from longrun.service import Service, encoded, quoted, segment
from longrun.steps import Items, Steps, paged
from longrun.uploads import JSON, LARGE, upload
from longrun.waiting import Clock, wait
from longrun.webhooks import WebhookCalls

R = TypeVar("R")

#: Called with the job each time that it has changed; the async client awaits it if it is a coroutine function.
OnChange = Callable[[Job], object]


class SubmitOptions(TypedDict, total=False):
    """What a job can be given besides its input, see `Calls.submit`."""

    callback_url: str | None
    delay_seconds: float | None
    timeout_seconds: float | None
    max_attempts: int | None
    ttl_seconds: float | None
    metadata: Mapping[str, str] | None
    priority: str | None
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Calls(DurableCalls, WebhookCalls, ScheduleCalls):
    """The calls to one service."""

    service: Service
    clock: Clock = time.monotonic

    def submit(
        self,
        task: str,
        input: object = None,
        *,
        callback_url: str | None = None,
        delay_seconds: float | None = None,
        timeout_seconds: float | None = None,
        max_attempts: int | None = None,
        ttl_seconds: float | None = None,
        metadata: Mapping[str, str] | None = None,
        priority: str | None = None,
        idempotency_key: str | None = None,
    ) -> Steps[Job]:
        """Submit a job and return it at once, not yet started.

        `input` is anything that can be JSON: a dict, a pydantic model, a dataclass; over 4 MB it is uploaded first.
        `callback_url` gets a signed webhook when the job ends. The job starts after `delay_seconds`, may run for
        `timeout_seconds` in each of `max_attempts`, and is forgotten `ttl_seconds` after its end. `priority` is `low`,
        `normal` (unless said) or `high`: which queue it waits in. The same `idempotency_key` (by default a new
        one for each call) always gives the same job, so that trying again after a lost answer never makes two. Raises
        InvalidInput before anything is sent, InvalidRequest, NotFound (no such task).
        """
        options = {
            "callback_url": callback_url,
            "delay_seconds": delay_seconds,
            "timeout_seconds": timeout_seconds,
            "max_attempts": max_attempts,
            "ttl_seconds": ttl_seconds,
            "metadata": metadata,
            "priority": priority,
        }
        job = {"task": task} | {name: value for name, value in options.items() if value is not None}
        headers = JSON | {"Idempotency-Key": quoted(idempotency_key or str(uuid.uuid4()))}
        text = encoded({} if input is None else input, "the input")
        if len(text) > LARGE:
            body = encoded(job | {"upload": (yield from upload(self.service, text))}, "the job")
        else:
            body = encoded(job, "the job")[:-1] + b',"input":' + text + b"}"
        request = self.service.request("POST", "/jobs", headers=headers, content=body)
        return (yield from self.service.ask(request)).parse(Job)

    @overload
    def run(
        self,
        task: str,
        input: object = None,
        *,
        result_type: type[R],
        timeout: float | None = None,
        on_change: OnChange | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Steps[R]: ...

    @overload
    def run(
        self,
        task: str,
        input: object = None,
        *,
        result_type: None = None,
        timeout: float | None = None,
        on_change: OnChange | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Steps[Any]: ...

    def run(
        self,
        task: str,
        input: object = None,
        *,
        result_type: Any = None,
        timeout: float | None = None,
        on_change: OnChange | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Steps[Any]:
        """Submit a job, wait for it, and return its result: `submit`, `wait` and `result` in one, with their errors."""
        job = yield from self.submit(task, input, **options)
        ended = yield from self.wait(job.id, timeout=timeout, on_change=on_change)
        return (yield from self.result(ended, result_type=result_type))

    def get(self, job_id: str) -> Steps[Job]:
        """The job as it is now. Raises NotFound."""
        request = self.service.request("GET", f"/jobs/{segment('job', job_id)}")
        return (yield from self.service.ask(request)).parse(Job)

    def wait(self, job_id: str, *, timeout: float | None = None, on_change: OnChange | None = None) -> Steps[Job]:
        """Wait until the job has ended, in whichever way, and return it; one that is `waiting` has not.

        `on_change` is called with the job as it is first seen and each time that its status, attempt, progress,
        usage or events have changed; without it, polls are fewer. Raises NotFound, and WaitTimeout when the job has
        not ended after `timeout` seconds (it goes on).
        """
        return wait(self.service, self.clock, job_id, timeout, on_change)

    @overload
    def result(self, job: str | Job, *, result_type: type[R]) -> Steps[R]: ...

    @overload
    def result(self, job: str | Job, *, result_type: None = None) -> Steps[Any]: ...

    def result(self, job: str | Job, *, result_type: Any = None) -> Steps[Any]:
        """The result of a job (its id, or the job itself), however large, as JSON values or as `result_type`.

        `result_type` is what pydantic can validate: a model, a dataclass, `list[int]`. Raises NotFound, JobFailed,
        JobCancelled, JobUnfinished, InvalidResult, TransferFailed.
        """
        if not isinstance(job, Job):
            job = yield from self.get(job)
        elif not job.is_final or "result" not in job.model_fields_set:
            job = yield from self.get(job.id)  # It may have ended since, and lists leave results out.
        return (yield from result_of(self.service, job, result_type))

    def events(
        self,
        job_id: str,
        *,
        after: int = 0,
        follow: bool = True,
        channel: Channel | None = None,
        progress: bool = True,
    ) -> Items[Event]:
        """What happens in the job, each numbered event after number `after` once and in order, until the job has ended.

        Lost connections are made again from where they were. The best `channel` that works is taken: "websocket",
        "sse" (Server-Sent Events) or "poll", unless one is named. `progress` is given too, without a number and only
        as it changes, unless it is not wanted. With `follow=False` the iteration ends with the log as it is now.
        Raises NotFound, InvalidInput (no such channel), ChannelUnavailable.
        """
        log = Log(self.service, job_id, after, progress=progress)
        return by_channel(log, channel) if follow else by_polling(log, 0)

    def list(
        self, *, status: str | None = None, task: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Steps[JobPage]:
        """One page of jobs, newest first, up to `limit` (1 to 100) of them, after `cursor`."""
        params = {"status": status, "task": task, "limit": limit, "cursor": cursor}
        return (yield from self.service.ask(self.service.request("GET", "/jobs", params=params))).parse(JobPage)

    def jobs(self, *, status: str | None = None, task: str | None = None, page_size: int = 100) -> Items[Job]:
        """Every job, newest first, asked for page by page as the iteration goes on."""
        return paged(
            lambda cursor: self.list(status=status, task=task, limit=page_size, cursor=cursor), lambda page: page.jobs
        )

    def cancel(self, job_id: str) -> Steps[Job]:
        """Ask the job to stop; asking twice is harmless. Raises NotFound, and Conflict when it has ended already."""
        path = f"/jobs/{segment('job', job_id)}/cancel"
        return (yield from self.service.ask(self.service.request("POST", path, harmless_twice=True))).parse(Job)

    def delete(self, job_id: str) -> Steps[None]:
        """Forget a finished job and all that is stored for it. Raises NotFound, and Conflict while it has not ended."""
        return self.service.delete(f"/jobs/{segment('job', job_id)}")

    def tasks(self) -> Steps[tuple[Task, ...]]:
        """What can be run."""
        return (yield from self.service.ask(self.service.request("GET", "/tasks"))).parse(TaskList).tasks

    def task(self, name: str) -> Steps[Task]:
        """One task, with the JSON Schema of its input. Raises NotFound."""
        request = self.service.request("GET", f"/tasks/{segment('task', name)}")
        return (yield from self.service.ask(request)).parse(Task)

    def put_document(
        self, document_id: str, content: bytes | str, *, content_type: str = "text/plain"
    ) -> Steps[Document]:
        """Store a document for tasks to read, in place of any with the same id; over 4 MB it is uploaded first.

        `document_id` is 1 to 128 of letters, digits, `.`, `_` and `-`, and starts with a letter or digit. `content_type`
        is `text/plain`, `text/markdown`, `text/html` or `application/pdf`. Raises InvalidRequest.
        """
        body = content.encode() if isinstance(content, str) else content
        params: dict[str, str | int | None] = {}
        if len(body) > LARGE:
            params, body = {"upload": (yield from upload(self.service, body))}, b""
        request = self.service.request(
            "PUT",
            f"/documents/{segment('document', document_id)}",
            params=params,
            headers={"Content-Type": content_type},
            content=body,
        )
        return (yield from self.service.ask(request)).parse(Document)

    def list_documents(self, *, limit: int | None = None, cursor: str | None = None) -> Steps[DocumentPage]:
        """One page of the stored documents, up to `limit` of them, after `cursor`."""
        request = self.service.request("GET", "/documents", params={"limit": limit, "cursor": cursor})
        return (yield from self.service.ask(request)).parse(DocumentPage)

    def documents(self, *, page_size: int = 100) -> Items[Document]:
        """Every stored document, asked for page by page as the iteration goes on."""
        return paged(lambda cursor: self.list_documents(limit=page_size, cursor=cursor), lambda page: page.documents)

    def delete_document(self, document_id: str) -> Steps[None]:
        """Forget a document. Raises NotFound."""
        return self.service.delete(f"/documents/{segment('document', document_id)}")

    def health(self) -> Steps[Health]:
        """What the service says about itself. Raises Unreachable, Unavailable."""
        return (yield from self.service.ask(self.service.request("GET", "/health"))).parse(Health)
