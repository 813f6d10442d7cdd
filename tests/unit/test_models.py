"""Which model is used, what it costs, and what its errors mean."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from botocore.exceptions import ClientError
from pydantic_ai import ModelHTTPError, UnexpectedModelBehavior, UserError
from pydantic_ai.exceptions import ContentFilterError, ModelAPIError
from pydantic_ai.usage import RequestUsage, RunUsage

from common.errors import BudgetExceeded, NotFound, Permanent, Retryable
from common.usage import NANO, Budget
from tasks.kit import providers
from tasks.kit.providers import classify
from tasks.models import Choice, ModelNotConfigured, chosen, open_model, price, record

ROOT = Path(__file__).parent.parent.parent


# ---------------------------------------------------------------------------------------- the choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("", Choice("extractive", "extractive")),
        ("extractive", Choice("extractive", "extractive")),
        ("openai:gpt-5.4", Choice("openai", "gpt-5.4")),
        ("anthropic:claude-sonnet-4-6", Choice("anthropic", "claude-sonnet-4-6")),
        ("bedrock:eu.amazon.nova-lite-v1:0", Choice("bedrock", "eu.amazon.nova-lite-v1:0")),
        (
            "bedrock:arn:aws:bedrock:eu-central-1:1:application-inference-profile/x",
            Choice("bedrock", "arn:aws:bedrock:eu-central-1:1:application-inference-profile/x"),
        ),
        (" openai:qwen3:8b ", Choice("openai", "qwen3:8b")),
    ],
)
def test_one_setting_chooses_the_model(text: str, choice: Choice) -> None:
    assert chosen({"LONGRUN_MODEL": text}) == choice


def test_without_the_setting_there_is_no_language_model() -> None:
    assert not chosen({}).is_language_model


def test_a_model_may_be_served_anywhere() -> None:
    choice = chosen({"LONGRUN_MODEL": "openai:qwen3", "LONGRUN_MODEL_URL": "http://localhost:11434/v1"})
    assert choice == Choice("openai", "qwen3", "http://localhost:11434/v1")


@pytest.mark.parametrize("text", ["gpt-5", "openai", "openai:", "google:gemini", ":x", "Bedrock:x", "bedrock"])
def test_a_wrong_setting_is_told_with_the_right_forms(text: str) -> None:
    with pytest.raises(
        ModelNotConfigured, match="bedrock:<model id or inference profile>, openai:<name>, anthropic:<name>"
    ):
        chosen({"LONGRUN_MODEL": text})


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://x", "http://", "file:///etc/passwd"])
def test_a_wrong_address_is_told(url: str) -> None:
    with pytest.raises(ModelNotConfigured, match="LONGRUN_MODEL_URL"):
        chosen({"LONGRUN_MODEL": "openai:x", "LONGRUN_MODEL_URL": url})


@pytest.mark.parametrize(
    ("text", "key"), [("openai:gpt-5", "OPENAI_API_KEY"), ("anthropic:claude", "ANTHROPIC_API_KEY")]
)
def test_a_missing_key_is_named(text: str, key: str) -> None:
    async def opening() -> None:
        async with open_model(chosen({"LONGRUN_MODEL": text}), environ={}):
            pass

    with pytest.raises(ModelNotConfigured, match=key):
        asyncio.run(opening())


def test_an_answer_says_which_model_gave_it() -> None:
    assert chosen({}).described() == {
        "model": "extractive",
        "language_model": False,
        "note": "No language model is configured; sentences were selected from the sources (LONGRUN_MODEL=extractive).",
    }
    assert Choice("anthropic", "claude-haiku-4-5").described() == {
        "model": "anthropic:claude-haiku-4-5",
        "language_model": True,
    }
    assert "price" in Choice("openai", "qwen3", "http://localhost:1/v1").described()["note"]


def test_nothing_heavy_is_imported_before_a_model_is_opened() -> None:
    code = "import tasks.models, tasks.kit.extractive, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"pydantic_ai", "openai", "anthropic", "genai_prices", "httpx2", "numpy", "tantivy", "regex", "sentencex"}
    assert not heavy & set(ran.stdout.split())


# ---------------------------------------------------------------------------------------- prices


@pytest.mark.parametrize(
    "choice",
    [
        Choice("bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0"),
        Choice("bedrock", "amazon.nova-lite-v1:0"),
        Choice("bedrock", "eu.amazon.nova-lite-v1:0", "https://vpce-1.bedrock-runtime.eu-central-1.vpce.amazonaws.com"),
        Choice("anthropic", "claude-haiku-4-5"),
        Choice("openai", "gpt-4o-mini"),
        Choice("openai", "llama-3.3-70b-versatile", "https://api.groq.com/openai/v1"),
    ],
    ids=str,
)
def test_known_models_have_a_price(choice: Choice) -> None:
    assert 0 < price(choice, RequestUsage(input_tokens=1_000, output_tokens=1_000)) < Decimal("0.1")
    assert "note" not in choice.described()


def test_cached_tokens_cost_less() -> None:
    choice = Choice("anthropic", "claude-haiku-4-5")
    cached = price(choice, RequestUsage(input_tokens=1_000, cache_read_tokens=900))
    assert 0 < cached < price(choice, RequestUsage(input_tokens=1_000))


@pytest.mark.parametrize(
    "choice",
    [
        Choice("extractive", "extractive"),
        Choice("openai", "gpt-4o", "http://localhost:8000/v1"),
        Choice("openai", "unheard-of"),
    ],
    ids=str,
)
def test_what_is_not_on_the_list_costs_nothing(choice: Choice) -> None:
    assert price(choice, RunUsage(input_tokens=1_000)) == 0


class Purse:
    """A context that only counts."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.recorded: list[dict[str, Any]] = []

    def usage(self, **used: Any) -> None:
        self.recorded.append(used)


def test_a_request_is_recorded_with_its_price() -> None:
    purse = Purse(Budget())
    usage = RequestUsage(input_tokens=1_000, output_tokens=10, cache_read_tokens=500)
    record(purse, Choice("anthropic", "claude-haiku-4-5"), usage)  # type: ignore[arg-type]
    (used,) = purse.recorded
    assert (used["input_tokens"], used["output_tokens"], used["cached_tokens"]) == (1_000, 10, 500)
    assert 0 < used["cost_usd"] * NANO < NANO


# ---------------------------------------------------------------------------------------- errors


def aws(code: str, message: str = "", status: int = 400, operation: str = "Converse", **headers: str) -> ClientError:
    answer: Any = {"HTTPStatusCode": status, "HTTPHeaders": headers, "RequestId": "", "HostId": "", "RetryAttempts": 0}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": answer}, operation)


def of_openai(status: int, code: str = "", message: str = "No.", headers: dict[str, str] | None = None) -> Exception:
    import openai

    body = {"message": message, "code": code}
    response = httpx2.Response(
        status, headers=headers, json={"error": body}, request=httpx2.Request("POST", "https://x")
    )
    return openai.APIStatusError(message, response=response, body=body)


def of_httpx(status: int, headers: dict[str, str] | None = None) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "https://x")
    return httpx.HTTPStatusError(
        "No.", request=request, response=httpx.Response(status, headers=headers, request=request)
    )


def caused_by(cause: Exception) -> Exception:
    error = RuntimeError("while asking the model")
    error.__cause__ = cause
    return error


MEANINGS: Sequence[tuple[BaseException, type[Exception]]] = [
    (ModelHTTPError(429, "m"), providers.ModelBusy),
    (ModelHTTPError(408, "m"), providers.ModelUnavailable),
    (ModelHTTPError(424, "m", provider_error_code="modelStreamErrorException"), providers.ModelUnavailable),
    (ModelHTTPError(403, "m", provider_error_code="MPAgreementBeingCreated"), providers.ModelUnavailable),
    (
        ModelHTTPError(500, "m", body={"error": {"message": "the request exceeds the context size"}}),
        providers.ContextTooLong,
    ),
    (ModelHTTPError(400, "m", body={"message": "violates our usage policies"}), providers.ContentRefused),
    (ModelHTTPError(418, "m"), providers.BadModelRequest),
    (ModelAPIError("m", "Something broke."), providers.ModelUnavailable),
    (ContentFilterError("filtered"), providers.ContentRefused),
    (UnexpectedModelBehavior("Exceeded maximum output retries (1)"), providers.UnusableAnswer),
    (
        UnexpectedModelBehavior("Model token limit (100) exceeded before any response was generated."),
        providers.ContextTooLong,
    ),
    (UserError("Tool output is not supported by this model."), providers.BadModelRequest),
    (of_openai(429), providers.ModelBusy),
    (of_openai(400, "context_length_exceeded"), providers.ContextTooLong),
    (of_openai(401), providers.BadCredentials),
    (of_httpx(503), providers.ModelUnavailable),
    (of_httpx(404), providers.UnknownModel),
    (httpx.ConnectTimeout("slow"), providers.ModelUnavailable),
    (httpx.RemoteProtocolError("peer closed connection"), providers.ModelUnavailable),
    (httpx2.ReadError("reset"), providers.ModelUnavailable),
    (aws("ThrottlingException", status=429), providers.ModelBusy),
    (aws("ModelNotReadyException", status=429), providers.ModelBusy),
    (aws("ServiceQuotaExceededException"), providers.ModelBusy),
    (aws("ModelTimeoutException", status=408), providers.ModelUnavailable),
    (aws("ValidationException", "Input is too long for requested model."), providers.ContextTooLong),
    (aws("AccessDeniedException", status=403), providers.BadCredentials),
    (caused_by(ModelHTTPError(401, "m")), providers.BadCredentials),
    (caused_by(Permanent("ours")), Permanent),
]


@pytest.mark.parametrize(("error", "kind"), MEANINGS, ids=[f"{type(e).__name__}-{k.__name__}" for e, k in MEANINGS])
def test_an_error_s_meaning(error: BaseException, kind: type[Exception]) -> None:
    meaning = classify(error)
    assert type(meaning) is kind
    assert classify(meaning) is meaning


@pytest.mark.parametrize(
    "error",
    [
        BudgetExceeded("over"),
        NotFound("no such document"),
        ValueError("a bug"),
        asyncio.CancelledError(),
        aws("ThrottlingException", operation="GetItem"),
        ExceptionGroup("two", [ValueError("a bug"), ModelHTTPError(429, "m")]),
    ],
    ids=repr,
)
def test_what_is_no_provider_s_error_stays_what_it_is(error: BaseException) -> None:
    assert classify(error) is error


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (of_openai(429, headers={"Retry-After": "12"}), 12),
        (of_openai(429, headers={"retry-after-ms": "1500", "retry-after": "9"}), 1.5),
        (of_openai(429, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}), 0),
        (of_openai(429, headers={"retry-after": "inf"}), None),
        (of_openai(429, headers={"retry-after": "-5"}), 0),
        (of_openai(429), None),
        (of_httpx(503, headers={"Retry-After": "7"}), 7),
        (aws("ThrottlingException", status=429, **{"retry-after": "3"}), 3),
        (ModelHTTPError(429, "m", retry_after=4.5), 4.5),
    ],
)
def test_the_wait_that_is_asked_for(error: BaseException, after: float | None) -> None:
    meaning = classify(error)
    assert isinstance(meaning, Retryable)
    assert meaning.after == after


def test_of_a_group_the_longest_wait_is_taken() -> None:
    errors = [
        ModelHTTPError(429, "m", retry_after=4),
        ModelHTTPError(429, "m", retry_after=9),
        ModelHTTPError(500, "m"),
    ]
    meaning = classify(ExceptionGroup("three", errors))
    assert isinstance(meaning, providers.ModelBusy)
    assert meaning.after == 9


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: sk-proj-abcDEF123*****xyz.",
        "Invalid header: Bearer abcdef123456",
        "The security token AKIAIOSFODNN7EXAMPLE is invalid.",
        "arn:aws:iam::123456789012:role/worker may not do that",
        "key=secret-value-1234 is wrong",
        "0123456789abcdef0123456789abcdef is no valid key",
    ],
)
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_no_message_holds_a_secret(status: int, said: str) -> None:
    told = str(classify(of_openai(status, message=said)))
    for secret in ("abcDEF", "abcdef123456", "AKIA", "123456789012", "secret-value", "0123456789abcdef"):
        assert secret not in told


def test_an_account_is_not_named_by_its_model() -> None:
    profile = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/x"
    assert "123456789012" not in str(classify(ModelHTTPError(429, profile)))


def test_a_message_says_what_happened_and_what_to_do() -> None:
    error = ModelHTTPError(
        404, "gpt-9", body={"message": "The model `gpt-9` does not exist."}, provider_error_code="model_not_found"
    )
    assert str(classify(error)) == (
        "The provider has no such model (gpt-9, status 404, model_not_found). The operator of this deployment has to correct "
        "LONGRUN_MODEL or LONGRUN_MODEL_URL. It said: The model `gpt-9` does not exist."
    )


def test_a_long_answer_of_a_provider_is_cut() -> None:
    assert len(str(classify(of_openai(400, message="no " * 10_000)))) < 500
