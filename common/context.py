"""What a running task sees of its job: progress, the log, documents, steps, people, children.

Everything here is meant for code in `tasks/`, which imports it from `common.tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from pydantic import TypeAdapter

from common import steps
from common.documents import Document
from common.errors import Permanent
from common.jobs import DAY, MAX_WAIT, Progress, WaitKind
from common.schemas import checker
from common.usage import NANO, Usage

#: Longest progress message, and longest question, in characters.
MESSAGE, QUESTION = 500, 4_000


class Stopped(BaseException):
    """Raised inside a plain task to stop it: cancelled, out of time, or its job went to another worker.

    Not an Exception, so that `except Exception` in a task does not swallow it.
    """


@dataclass(frozen=True)
class Call:
    """A step as a task asks for it."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    key: str | None = None
    retries: int = 0
    timeout: float | None = None
    result_type: Any = None


@dataclass(frozen=True)
class Gathering:
    """Children as a task asks for them."""

    name: str
    key: str | None
    task: str
    inputs: list[Any]
    concurrency: int | None
    fail_fast: bool


@dataclass(frozen=True)
class Child:
    """What became of a child: `completed`, `failed` or `cancelled`; `error` says why it did not complete."""

    id: str | None
    status: str
    result: Any
    error: str | None

    @property
    def ok(self) -> bool:
        return self.status == "completed"


class Link(Protocol):
    """What a context needs of the worker that runs it."""

    def progress(self, progress: Progress) -> None: ...
    def say(self, kind: str, data: dict[str, Any]) -> None: ...
    def use(self, usage: Usage) -> None: ...
    def is_cancelled(self) -> bool: ...
    def remaining(self) -> float: ...
    def document(self, document_id: str) -> Document: ...
    def documents(self) -> list[str]: ...
    def remember(self, session_id: str, interaction: dict[str, Any]) -> None: ...
    def step(self, call: Call) -> Any: ...
    def wait(self, kind: WaitKind, name: str, key: str | None, seconds: float, **asked: Any) -> Any: ...
    def gather(self, asked: Gathering) -> Any: ...


class Context:
    """A running task's hold on its job.

    Its methods may be called from any thread and never wait, but for `document` and for the steps: `step`, `sleep`, `ask` and
    `gather` are awaited in an async task, and just called in a plain one or in a thread that an async one has begun.
    """

    def __init__(self, link: Link, *, job_id: str, task: str, attempt: int) -> None:
        self._link = link
        self.job_id = job_id
        self.task = task
        self.attempt = attempt

    def progress(
        self,
        percent: float | None = None,
        *,
        current: int | None = None,
        total: int | None = None,
        message: str | None = None,
    ) -> None:
        """Says where the job is. Call it as often as you like: the latest is written at most once a second.

        In a plain (not async) task this raises Stopped once the job is to stop.
        """
        if percent is None and current is not None and total:
            percent = 100 * current / total
        self._link.progress(
            Progress(
                percent=None if percent is None else min(100, max(0, int(percent))),
                current=None if current is None else int(current),
                total=None if total is None else int(total),
                message=None if message is None else printable(str(message), MESSAGE),
            )
        )

    def log(self, message: str, **data: Any) -> None:
        """A line for the job's event log, with whatever JSON belongs to it."""
        self._link.say("log", {"message": message} | data)

    def thought(self, text: str) -> None:
        """What the agent is thinking."""
        self._link.say("thought", {"text": text})

    def tool_call(self, name: str, arguments: Any, id: str | None = None) -> None:
        """The agent calls a tool; `id` pairs the call with its result."""
        self._link.say("tool_call", {"name": name, "arguments": arguments, "id": id})

    def tool_result(self, name: str, result: Any, id: str | None = None) -> None:
        self._link.say("tool_result", {"name": name, "result": result, "id": id})

    def output(self, text: str) -> None:
        """A piece of streamed text; neighbouring pieces are joined."""
        self._link.say("output", {"text": text})

    def usage(
        self, *, input_tokens: int = 0, output_tokens: int = 0, cached_tokens: int = 0, cost_usd: float | Decimal = 0
    ) -> None:
        """Adds to what the job has used. Raises BudgetExceeded once it has used more than it may."""
        cost = round(Decimal(cost_usd) * NANO)
        self._link.use(Usage(int(input_tokens), int(output_tokens), int(cached_tokens), cost))

    @property
    def cancelled(self) -> bool:
        """Whether the job is to stop: its owner asked for it, its time is up, or another worker has it."""
        return self._link.is_cancelled()

    @property
    def remaining(self) -> float:
        """Seconds until the time limit of this attempt."""
        return self._link.remaining()

    def document(self, document_id: str) -> Document:
        """A document that the job's owner stored. Waits for the bucket; raises NotFound."""
        return self._link.document(document_id)

    def documents(self) -> list[str]:
        """The ids of all documents that the job's owner stored."""
        return self._link.documents()

    def step(
        self,
        name: str,
        function: Callable[..., Any],
        *arguments: Any,
        key: str | None = None,
        retries: int = 0,
        timeout: float | None = None,
        result_type: Any = None,
        **options: Any,
    ) -> Any:
        """Calls `function(*arguments, **options)` once in the life of the job, and gives what it returned: `await` it.

        The result is stored before the next line runs, so after a crash, a retry or a continuation in another invocation
        it is not called again. It must be JSON, and is given as JSON's values, or as `result_type` (what pydantic can
        validate). `key` tells steps of one name apart. Up to `retries` more tries, each of at most `timeout` seconds.

        A step that was broken off half-way runs again: give what it changes outside the key `ctx.step_key(name, key)`.
        Raises StepReused, StepMismatch, ResultNotStorable, and whatever the function raises.
        """
        return self._link.step(Call(name, function, arguments, options, key, retries, timeout, result_type))

    def step_key(self, name: str, key: str | None = None) -> str:
        """The same for every try of a step, and for no other: for services that take an idempotency key."""
        return f"{self.job_id}:{steps.step_key(name, key)}"

    def sleep(
        self,
        *,
        seconds: float = 0,
        minutes: float = 0,
        hours: float = 0,
        days: float = 0,
        name: str = "sleep",
        key: str | None = None,
    ) -> Any:
        """Goes on so much later, without a worker meanwhile: `await` it. Two sleeps are told apart by `key`."""
        whole = seconds + 60 * minutes + 3_600 * hours + DAY * days
        if not 0 <= whole <= MAX_WAIT:
            raise ValueError(f"A job sleeps 0 to {MAX_WAIT:,} seconds, not {whole:,}.")
        return self._link.wait(WaitKind.SLEEP, name, key, whole)

    def ask(
        self, question: str, *, schema: Any = str, timeout: float = 7 * DAY, name: str = "ask", key: str | None = None
    ) -> Any:
        """Asks a person (POST /jobs/{id}/input) and gives the answer, without a worker meanwhile: `await` it.

        `schema` is what the answer must be: a type that pydantic knows, or a JSON Schema (Permanent if it is none). Raises
        NoAnswer after `timeout` seconds. Two questions are told apart by `key`.
        """
        if isinstance(schema, dict):
            try:
                checker(schema)
            except ValueError as error:  # nobody could answer: better now than after a week
                raise Permanent(str(error)) from None
        told = schema if isinstance(schema, dict) else TypeAdapter(schema).json_schema()
        kind = None if isinstance(schema, dict) else schema
        text = printable(question, QUESTION)
        return self._link.wait(WaitKind.ANSWER, name, key, timeout, question=text, schema=told, result_type=kind)

    def gather(
        self,
        task: str | Callable[..., Any],
        inputs: Iterable[Any],
        *,
        concurrency: int | None = None,
        fail_fast: bool = False,
        name: str | None = None,
        key: str | None = None,
    ) -> Any:
        """Runs a job of `task` for each input, without a worker meanwhile, and gives a Child for each: `await` it.

        `inputs` are the task's input models, or what JSON has for them, 10,000 at most; at most `concurrency` run at a
        time. Children have this job's owner and priority, and are cancelled with it. With `fail_fast` the first that does
        not complete ends the others, and raises ChildFailed. Two gatherings of one task are told apart by `name` or `key`.
        """
        called = task if isinstance(task, str) else task.__name__
        if concurrency is not None and concurrency < 1:
            raise ValueError(f"concurrency counts from 1, it is not {concurrency}.")
        return self._link.gather(Gathering(name or called, key, called, list(inputs), concurrency, fail_fast))

    def remember(self, session_id: str, interaction: dict[str, Any]) -> None:
        """Puts an interaction into a chat session's log: once for this job, however often it is tried."""
        self._link.remember(session_id, interaction)


def printable(text: str, most: int) -> str:
    """Text that can be stored and sent: no lone surrogates, `most` characters."""
    text = text.encode(errors="replace").decode()
    return text if len(text) <= most else text[: most - 1] + "…"
