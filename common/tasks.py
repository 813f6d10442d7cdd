"""What a task is, and what it sees while it runs: everything that code in `tasks/` may import.

    from pydantic import BaseModel
    from common.tasks import Context, task

    class Greeting(BaseModel):
        name: str

    @task(timeout_seconds=60)
    async def greet(ctx: Context, input: Greeting) -> str:
        ctx.progress(50, message="thinking")
        return f"Hello, {input.name}!"

A task is `async def` or a plain `def`; either way it runs in a thread of its own, so code that blocks hurts no neighbour.
What it returns is stored as JSON: pydantic models, dataclasses, dicts, lists, strings, numbers, None.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, TypeVar, overload

from pydantic import BaseModel, TypeAdapter, ValidationError

from common import steps
from common.documents import Document
from common.errors import Fault, InvalidInput, Permanent, Retryable
from common.jobs import DAY, MAX_ATTEMPTS, MAX_TIMEOUT, MAX_WAIT, Progress, WaitKind
from common.usage import NANO, Usage

__all__ = ["Child", "Context", "Document", "Permanent", "Retryable", "Stopped", "Task", "task"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: Most jobs that a task's `concurrency` may count.
MAX_CONCURRENCY = 1_000
#: Longest progress message, and longest question, in characters.
MESSAGE, QUESTION = 500, 4_000


class TaskDefinitionError(Exception):
    """A task is declared wrongly; raised when its module is imported."""


class Stopped(BaseException):
    """Raised inside a plain task to stop it: cancelled, out of time, or its job went to another worker.

    Not an Exception, so that `except Exception` in a task does not swallow it.
    """


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

        `schema` is what the answer must be: a type that pydantic knows, or a JSON Schema. Raises NoAnswer after `timeout`
        seconds. Two questions are told apart by `key`.
        """
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


@dataclass(frozen=True)
class Task:
    """A registered function."""

    name: str
    function: Callable[..., Any]
    input_type: type[BaseModel]
    description: str
    timeout_seconds: int
    max_attempts: int
    version: int = 1
    #: How many jobs of this task may run at a time, over all owners; None for any number.
    concurrency: int | None = None

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    def validate(self, value: Any) -> BaseModel:
        """The typed input of a JSON object. Raises InvalidInput."""
        try:
            return self.input_type.model_validate(value)
        except ValidationError as error:
            faults = faults_of(error)
            places = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'input'}: {f['msg']}" for f in faults[:5])
            raise InvalidInput(f"The input does not fit the task {self.name}: {places}", faults) from None

    def input_schema(self) -> dict[str, Any]:
        return self.input_type.model_json_schema()


class Registry:
    """The tasks by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, dict[int, Task]] = {}

    def add(self, new: Task) -> None:
        versions = self._tasks.setdefault(new.name, {})
        known = versions.get(new.version)
        if known is not None and known.function.__module__ != new.function.__module__:
            raise TaskDefinitionError(f"Two tasks are called {new.name!r}; give one of them a name= or a version=.")
        versions[new.version] = new

    def find(self, name: str, version: int | None = None) -> Task | None:
        """The newest version, or that one."""
        versions = self._tasks.get(name, {})
        return versions.get(max(versions, default=0) if version is None else version)

    def __iter__(self) -> Iterator[Task]:
        """The newest versions, by their names."""
        return iter(versions[max(versions)] for _, versions in sorted(self._tasks.items()))


#: Where @task puts what it decorates; importing the package `tasks` fills it.
REGISTRY = Registry()

_OPTIONS = {
    "name": str,
    "description": str,
    "timeout_seconds": int,
    "max_attempts": int,
    "concurrency": int,
    "version": int,
}


_F = TypeVar("_F", bound=Callable[..., Any])


@overload
def task(function: _F, /) -> _F: ...
@overload
def task(
    *,
    name: str = ...,
    description: str = ...,
    timeout_seconds: int = ...,
    max_attempts: int = ...,
    concurrency: int = ...,
    version: int = ...,
) -> Callable[[_F], _F]: ...
def task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Registers a function as a task: `@task` or `@task(timeout_seconds=60, max_attempts=5, name=…, description=…)`.

    The function takes a Context (if it wants one) and one pydantic model, both by their annotations. Time limits are
    seconds of one attempt. With `concurrency=N` at most N jobs of the task run at a time, whoever owns them; the others
    wait in the queue. A task whose steps change gets a new `version`; while its jobs run, the old one stays beside it.
    Raises TaskDefinitionError for anything that could only fail later.
    """
    for option, value in options.items():
        if option not in _OPTIONS:
            raise TaskDefinitionError(f"@task has no option {option!r}; it knows {', '.join(_OPTIONS)}.")
        if not isinstance(value, _OPTIONS[option]) or isinstance(value, bool):
            raise TaskDefinitionError(f"@task({option}=…) takes {_OPTIONS[option].__name__}, not {value!r}.")
    if function is None:
        return lambda decorated: task(decorated, **options)
    REGISTRY.add(_defined(function, **options))
    return function


def _defined(
    function: Callable[..., Any],
    name: str | None = None,
    description: str | None = None,
    timeout_seconds: int = 300,
    max_attempts: int = 3,
    concurrency: int | None = None,
    version: int = 1,
) -> Task:
    name = name or function.__name__
    if not _NAME.fullmatch(name):
        raise TaskDefinitionError(f"{name!r} is no name for a task: lower-case letters, digits and _, 64 at most.")
    if not 1 <= timeout_seconds <= MAX_TIMEOUT:
        raise TaskDefinitionError(f"{name}: timeout_seconds is 1 to {MAX_TIMEOUT}, not {timeout_seconds}.")
    if version < 1:
        raise TaskDefinitionError(f"{name}: version counts from 1, it is not {version}.")
    if not 1 <= max_attempts <= MAX_ATTEMPTS:
        raise TaskDefinitionError(f"{name}: max_attempts is 1 to {MAX_ATTEMPTS}, not {max_attempts}.")
    if concurrency is not None and not 1 <= concurrency <= MAX_CONCURRENCY:
        raise TaskDefinitionError(f"{name}: concurrency is 1 to {MAX_CONCURRENCY}, not {concurrency}.")
    return Task(
        name=name,
        function=function,
        input_type=_input_type(name, function),
        description=description or inspect.getdoc(function) or "",
        timeout_seconds=timeout_seconds,
        max_attempts=max_attempts,
        concurrency=concurrency,
        version=version,
    )


def _input_type(name: str, function: Callable[..., Any]) -> type[BaseModel]:
    hints = typing.get_type_hints(function)
    kinds = [hints.get(parameter) for parameter in inspect.signature(function).parameters]
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    if len(models) != 1 or len(kinds) > 2 or any(kind not in (*models, Context) for kind in kinds):
        raise TaskDefinitionError(
            f"{name}: declare it as (ctx: Context, input: YourModel) or (input: YourModel), YourModel a pydantic BaseModel."
        )
    return models[0]


def arguments(of: Task, ctx: Context, value: BaseModel) -> dict[str, Any]:
    """The keyword arguments that the task's function takes."""
    hints = typing.get_type_hints(of.function)
    return {
        parameter: ctx if hints[parameter] is Context else value
        for parameter in inspect.signature(of.function).parameters
    }


def faults_of(error: ValidationError) -> list[Fault]:
    """Pydantic's findings without the values: an input may hold secrets, or what JSON cannot say."""
    return [
        {"loc": list(found["loc"]), "msg": found["msg"]}
        for found in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def printable(text: str, most: int) -> str:
    """Text that can be stored and sent: no lone surrogates, `most` characters."""
    text = text.encode(errors="replace").decode()
    return text if len(text) <= most else text[: most - 1] + "…"
