"""What to do after a failure: one table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from common.errors import InvalidInput, NotFound, Permanent, ResultNotStorable, Retryable, TaskTimeout, WorkerLost
from common.retries import CAP, GiveUp, Retry, decide, is_retryable


class ProviderError(Exception):
    """As the SDKs of OpenAI and Anthropic make them."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.status_code = status
        self.response = SimpleNamespace(status_code=status, headers=headers or {})


class TransportError(Exception):
    """As httpx makes them: the status is on the response alone."""

    def __init__(self, status: int) -> None:
        self.response = SimpleNamespace(status_code=status, headers={})


def aws(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "Converse")


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (Retryable("x"), True),
        (WorkerLost("x"), True),
        (ConnectionError(), True),
        (TimeoutError(), True),
        (ConnectTimeoutError(endpoint_url="x"), True),
        (RuntimeError("anything unknown"), True),
        (ValueError("what a model answered"), True),
        (ProviderError(429), True),
        (ProviderError(529), True),
        (TransportError(503), True),
        (aws("ThrottlingException"), True),
        (aws("ServiceUnavailableException"), True),
        (aws("ModelTimeoutException"), True),
        (aws("InternalServerException"), True),
        (Permanent("x"), False),
        (InvalidInput("x"), False),
        (ResultNotStorable("x"), False),
        (TaskTimeout("x"), False),
        (TypeError("a bug"), False),
        (ModuleNotFoundError("a bug"), False),
        (ProviderError(400), False),
        (ProviderError(401), False),
        (TransportError(404), False),
        (aws("ValidationException"), False),
        (aws("AccessDeniedException"), False),
        (SystemExit(), False),
        (NotFound("no such document"), False),
    ],
    ids=repr,
)
def test_errors_that_may_pass_are_tried_again(error: BaseException, retryable: bool) -> None:
    assert is_retryable(error) is retryable
    decision = decide(error, attempt=1, max_attempts=2, chance=lambda: 1)
    assert isinstance(decision, Retry if retryable else GiveUp)
    assert decide(error, attempt=2, max_attempts=2, chance=lambda: 1) == GiveUp()


@pytest.mark.parametrize(("attempt", "most"), [(1, 4), (2, 8), (3, 16), (8, 512), (9, 900), (19, 900)])
def test_waits_double_up_to_a_cap_with_full_jitter(attempt: int, most: float) -> None:
    waits = [decide(OSError(), attempt, 20, lambda chance=chance: chance) for chance in (0, 0.5, 1)]  # type: ignore[misc]
    assert waits == [Retry(after=0), Retry(after=most / 2), Retry(after=most)]


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (Retryable(after=60), 60),
        (Retryable(after=1), 4),
        (Retryable(after=86_400), CAP),
        (ProviderError(429, {"retry-after": "30"}), 30),
        (ProviderError(429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), 4),
        (WorkerLost("x"), 0),
    ],
    ids=repr,
)
def test_what_the_provider_asked_for_is_the_least_wait(error: Exception, wait: float) -> None:
    assert decide(error, 1, 3, lambda: 1) == Retry(after=wait)


def test_odd_attributes_are_no_waits() -> None:
    odd: Any = OSError()
    odd.after = "soon"
    odd.response = "text"
    assert decide(odd, 1, 3, lambda: 0) == Retry(after=0)
