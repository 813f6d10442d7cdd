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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ValidationError

from common.context import Child, Context, Stopped, printable
from common.documents import Document
from common.errors import Fault, InvalidInput, Permanent, Retryable
from common.jobs import MAX_ATTEMPTS, MAX_TIMEOUT

__all__ = ["Child", "Context", "Document", "Permanent", "Retryable", "Stopped", "Task", "printable", "task"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: Most jobs that a task's `concurrency` may count.
MAX_CONCURRENCY = 1_000


class TaskDefinitionError(Exception):
    """A task is declared wrongly; raised when its module is imported."""


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
        {"loc": list(found["loc"]), "msg": found["msg"].removeprefix("Value error, ")}
        for found in error.errors(include_url=False, include_input=False, include_context=False)
    ]
