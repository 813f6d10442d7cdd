"""Declaring tasks: what is wrong is said at import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError, field_validator

from common import tasks
from common.context import Call, Gathering
from common.errors import InvalidInput
from common.jobs import Progress, WaitKind
from common.tasks import Context, Document, Registry, TaskDefinitionError, task
from common.usage import Usage


class Given(BaseModel):
    n: int = 1


def good(ctx: Context, input: Given) -> None:
    """Does good."""


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    fresh = Registry()
    monkeypatch.setattr(tasks, "REGISTRY", fresh)
    return fresh


def test_a_bare_decorator_takes_what_the_function_says(registry: Registry) -> None:
    assert task(good) is good
    found = registry.find("good")
    assert found is not None
    assert (found.description, found.timeout_seconds, found.max_attempts, found.is_async) == (
        "Does good.",
        300,
        3,
        False,
    )
    assert found.input_type is Given


def test_options_are_taken(registry: Registry) -> None:
    task(name="better", description="d", timeout_seconds=840, max_attempts=20)(good)
    found = registry.find("better")
    assert found is not None
    assert (found.description, found.timeout_seconds, found.max_attempts) == ("d", 840, 20)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_atempts": 3}, "max_attempts"),
        ({"timeout_seconds": 0}, "1 to 604800"),
        ({"timeout_seconds": 604_801}, "1 to 604800"),
        ({"timeout_seconds": "60"}, "takes int"),
        ({"timeout_seconds": True}, "takes int"),
        ({"max_attempts": 0}, "1 to 20"),
        ({"max_attempts": 21}, "1 to 20"),
        ({"name": "Upper"}, "lower-case"),
        ({"name": "a b"}, "lower-case"),
        ({"name": "x" * 65}, "lower-case"),
    ],
)
def test_a_wrong_option_is_said_at_once(options: dict[str, Any], says: str) -> None:
    with pytest.raises(TaskDefinitionError, match=says):
        task(**options)(good)


def none() -> None: ...
def untyped(ctx, input): ...  # type: ignore[no-untyped-def]
def not_a_model(input: dict[str, Any]) -> None: ...
def two_models(a: Given, b: Given) -> None: ...
def too_many(ctx: Context, input: Given, more: int) -> None: ...
def only_context(ctx: Context) -> None: ...


@pytest.mark.parametrize("function", [none, untyped, not_a_model, two_models, too_many, only_context])
def test_a_signature_that_cannot_be_called_is_said_at_once(function: Callable[..., Any]) -> None:
    with pytest.raises(TaskDefinitionError, match="ctx: Context, input: YourModel"):
        task(function)


def test_two_tasks_of_one_name_are_an_error(registry: Registry) -> None:
    task(good)
    task(good)  # a module that is imported again is no second task

    def other(input: Given) -> None: ...

    other.__module__ = "elsewhere"
    with pytest.raises(TaskDefinitionError, match="Two tasks are called 'good'"):
        task(name="good")(other)


def test_an_input_is_validated_without_echoing_it(registry: Registry) -> None:
    task(good)
    found = registry.find("good")
    assert found is not None
    assert found.validate({"n": 5}) == Given(n=5)
    with pytest.raises(InvalidInput) as refused:
        found.validate({"n": "hunter2"})
    assert refused.value.faults[0]["loc"] == ["n"]
    assert "hunter2" not in str(refused.value)


def test_what_a_model_says_of_its_input_is_told_in_its_own_words() -> None:
    class Even(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def _is_even(cls, n: int) -> int:
            raise ValueError(f"An even number, not {n}.")

    with pytest.raises(ValidationError) as refused:
        Even(n=3)
    assert tasks.faults_of(refused.value) == [{"loc": ["n"], "msg": "An even number, not 3."}]


@dataclass
class Link:
    """Notes what the context says."""

    said: list[Progress] = field(default_factory=list)

    def progress(self, progress: Progress) -> None:
        self.said.append(progress)

    def say(self, kind: str, data: dict[str, Any]) -> None:
        raise NotImplementedError

    def use(self, usage: Usage) -> None:
        raise NotImplementedError

    def is_cancelled(self) -> bool:
        return True

    def remaining(self) -> float:
        return 12.5

    def documents(self) -> list[str]:
        return ["d"]

    def remember(self, session_id: str, interaction: dict[str, Any]) -> None:
        raise NotImplementedError

    def document(self, document_id: str) -> Document:
        return Document(document_id, "text/plain", b"x")

    def step(self, call: Call) -> Any:
        raise NotImplementedError

    def wait(self, kind: WaitKind, name: str, key: str | None, seconds: float, **asked: Any) -> Any:
        raise NotImplementedError

    def gather(self, asked: Gathering) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"percent": 33.9}, Progress(percent=33)),
        ({"percent": -5}, Progress(percent=0)),
        ({"percent": 500}, Progress(percent=100)),
        ({"current": 2, "total": 5}, Progress(percent=40, current=2, total=5)),
        ({"current": 2, "total": 0}, Progress(current=2, total=0)),
        ({"current": 1, "total": 3, "percent": 90}, Progress(percent=90, current=1, total=3)),
        ({"message": "x" * 600}, Progress(message="x" * 499 + "…")),
        ({"message": "\ud800"}, Progress(message="?")),
    ],
)
def test_progress_is_made_to_fit(given: dict[str, Any], meant: Progress) -> None:
    link = Link()
    ctx = Context(link, job_id="j", task="t", attempt=1)
    ctx.progress(**given)
    assert link.said == [meant]
    assert (ctx.cancelled, ctx.remaining, ctx.document("d").data) == (True, 12.5, b"x")
