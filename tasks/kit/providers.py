"""What went wrong at a model's provider, in the terms of a job: try again, or not, and what to do.

    Retryable
    ├── ModelBusy           throttled, overloaded or still starting; `after` is what the provider asked for
    ├── ModelUnavailable    its server failed, timed out, could not be reached, or broke off in the middle
    └── UnusableAnswer      the model answered with something that does not fit what it was asked for
    Permanent
    ├── ContextTooLong      the conversation does not fit the model
    ├── ContentRefused      the provider's filter or the model itself refused
    ├── BadCredentials      the deployment's key or role may not use the model
    ├── UnknownModel        the provider has no such model
    ├── NoCredit            the account's credit or quota is used up
    ├── BadModelRequest     the provider does not accept the request, for another reason
    ├── TooManySteps        the agent made more requests than it may
    └── ModelNotConfigured  LONGRUN_MODEL or what belongs to it is wrong

A message says what happened and what to do next. It never holds a key, and of refused credentials nothing that the provider
said, for a job's error is read by its owner, who need not be the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from common.errors import LongrunError, Permanent, Retryable, TaskError
from common.retries import LATER, THROTTLED
from tasks.kit.complaints import Facts, facts_of, is_of_a_model

#: Most characters of a provider's own words in a message.
QUOTE = 300

#: Codes and words of an account that cannot pay: a wait does not help. Bedrock's ServiceQuotaExceeded passes, and is not here.
UNPAID = ("insufficient_quota", "billing", "credit balance", "credit_balance", "spend_limit", "usage_limit_exceeded")
#: Codes of a provider that is busy, besides common.retries.THROTTLED.
BUSY = ("throttl", "overloaded", "ModelNotReady", "ServiceQuotaExceeded", "rate_limit")
#: Codes of what passes, whatever the status: Bedrock has some with 400, 403 and 424.
PASSING = (
    "Timeout",
    "ModelStreamError",
    "modelStreamError",
    "InternalServer",
    "internalServer",
    "MPAgreementBeingCreated",
)
#: How providers and servers word that a conversation is too long (OpenAI, vLLM, llama.cpp, Anthropic, Bedrock).
TOO_LONG = (
    "context length",
    "context_length",
    "context window",
    "context size",
    "context limit",
    "prompt is too long",
    "input is too long",
    "input tokens exceeded",
    "too many input tokens",
    "reduce the length",
)
#: How they word a refusal.
REFUSED = ("content_filter", "content_policy", "content management policy", "flagged", "usage policies", "usage policy")


class ModelBusy(Retryable):
    """The model's provider is busy"""


class ModelUnavailable(Retryable):
    """The model's provider does not answer"""


class UnusableAnswer(Retryable):
    """The model's answer does not fit what it was asked for"""


class ContextTooLong(Permanent):
    """The conversation is longer than the model takes"""


class ContentRefused(Permanent):
    """The model or its provider refused the content"""


class BadCredentials(Permanent):
    """The model's provider refused the credentials"""


class UnknownModel(Permanent):
    """The provider has no such model"""


class NoCredit(Permanent):
    """The account at the model's provider has no credit left"""


class BadModelRequest(Permanent):
    """The model's provider did not accept the request"""


class TooManySteps(Permanent):
    """The agent made more requests than it may"""


class ModelNotConfigured(Permanent):
    """The model is not configured"""


def classify(error: BaseException) -> BaseException:
    """What a model's or an agent's error means for the job: one of the classes above, or `error` itself if it is none of these.

    Of a chain of causes the first that is known counts. Of a group, what lasts outweighs what passes, and the longest wait is
    taken. Errors of this project stay what they are, so classifying twice changes nothing. Made for errors that leave a model
    or an agent: a tool's own trouble with HTTP would be taken for the provider's.
    """
    if isinstance(error, BaseExceptionGroup):
        return _of_group(error)
    for cause in _causes(error):
        if isinstance(cause, LongrunError):
            return cause
        if is_of_a_model(cause):
            return _meaning(facts_of(cause))
    return error


def _of_group(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found = [classify(error) for error in group.exceptions]
    for error in found:
        if isinstance(error, Permanent):
            return error
    passing = [error for error in found if isinstance(error, Retryable)]
    return max(passing, key=lambda error: error.after or 0) if len(passing) == len(found) else group


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while isinstance(cause, Exception):
        yield cause
        cause = cause.__cause__


#: The first that holds decides. What a provider calls too long, refused or unpaid is that under any status; a throttled
#: request is asked again even if its words speak of lengths, for limits are also of tokens in a minute.
_RULES: tuple[tuple[type[TaskError], Callable[[Facts], bool]], ...] = (
    (ContentRefused, lambda it: "ContentFilterError" in it.kinds),
    (TooManySteps, lambda it: "UsageLimitExceeded" in it.kinds),
    (ContextTooLong, lambda it: "UnexpectedModelBehavior" in it.kinds and it.says("token limit")),
    (UnusableAnswer, lambda it: "UnexpectedModelBehavior" in it.kinds),
    (NoCredit, lambda it: it.status == 402 or it.says(*UNPAID)),
    (ModelBusy, lambda it: it.status in {429, 529} or it.has_code(*BUSY, *THROTTLED)),
    (ContextTooLong, lambda it: it.status == 413 or it.says(*TOO_LONG)),
    (ContentRefused, lambda it: it.says(*REFUSED)),
    (
        ModelUnavailable,
        lambda it: it.has_code(*PASSING) or bool(it.status and (it.status in LATER or it.status >= 500)),
    ),
    (BadCredentials, lambda it: "ModelAuthenticationError" in it.kinds or it.status in {401, 403}),
    (UnknownModel, lambda it: "ModelNotFoundError" in it.kinds or it.status == 404),
    (BadModelRequest, lambda it: it.status is not None or "UserError" in it.kinds),
    (ModelUnavailable, lambda _: True),
)

_ADVICE: dict[type[TaskError], str] = {
    TooManySteps: "Ask for less at a time.",
    NoCredit: "The operator of this deployment has to top it up, or to raise its limit.",
    ContextTooLong: "Send fewer or shorter documents, a shorter history, or ask for a shorter answer.",
    ContentRefused: "Change the prompt or the sources.",
    BadCredentials: "The operator of this deployment has to set a valid key, or to let its role invoke the model.",
    UnknownModel: "The operator of this deployment has to correct LONGRUN_MODEL or LONGRUN_MODEL_URL.",
}
#: Of these nothing that the provider said is shown.
_UNQUOTED = (BadCredentials, NoCredit)


def _meaning(facts: Facts) -> TaskError:
    kind = next(kind for kind, holds in _RULES if holds(facts))
    known = [facts.model, f"status {facts.status}" if facts.status else "", facts.code]
    named = ", ".join(filter(None, known))
    quoted = (
        "" if kind in _UNQUOTED else f"{'It said' if facts.status or facts.code else 'The cause'}: {_cut(facts.words)}"
    )
    sentences = [f"{kind.__doc__}{f' ({named})' if named else ''}.", _ADVICE.get(kind, ""), quoted]
    message = " ".join(filter(None, sentences))
    return kind(message, after=facts.wait) if issubclass(kind, Retryable) else kind(message)


def _cut(text: str) -> str:
    return text if len(text) <= QUOTE else f"{text[: QUOTE - 1]}…"
