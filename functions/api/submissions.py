"""Taking a job: everything is checked first, then one conditional put, then one message."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from common import metrics, tracing
from common.errors import (
    BadRequest,
    Fault,
    InvalidInput,
    KeyReused,
    NotFound,
    QuotaExceeded,
    Unavailable,
    Unprocessable,
)
from common.jobs import (
    DEFAULT_TTL,
    MAX_ATTEMPTS,
    MAX_DELAY,
    MAX_PAYLOAD,
    MAX_TIMEOUT,
    MAX_TTL,
    Job,
    Priority,
    derived_id,
    new_id,
)
from common.making import Order, make_job
from common.queue import MAX_DELAY as MAX_MESSAGE_DELAY
from common.tasks import REGISTRY, Task
from common.telemetry import about, logger
from common.usage import NANO, Budget
from common.wiring import Services
from functions.api.body import dump, parse
from functions.api.requests import Body, Receiver, valid

#: Longest idempotency key, in characters.
MAX_KEY = 255
#: Most metadata entries of a job.
MAX_METADATA = 20

_BARE_KEY = re.compile(r"[!#-+\--\[\]-~]+")
_QUOTED_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')

_MetaKey = Annotated[str, Field(min_length=1, max_length=64)]
_MetaValue = Annotated[str, Field(max_length=500)]


class Submission(Body):
    """A request to run a task."""

    task: str = Field(min_length=1, max_length=64, description="The task's name, one of GET /tasks.")
    input: dict[str, Any] | None = Field(default=None, description="The task's input, by its input_schema.")
    upload: str | None = Field(default=None, description="Instead of input: the id of an upload that holds it.")
    callback_url: Receiver | None = Field(default=None, description="An https address that is told of the job's end.")
    priority: Literal["low", "normal", "high"] = Field(
        default="normal", description="Which queue it waits in; each has workers of its own."
    )
    delay_seconds: int = Field(default=0, ge=0, le=MAX_DELAY, description="Not to be started before.")
    timeout_seconds: int | None = Field(default=None, ge=1, le=MAX_TIMEOUT, description="Time limit of one attempt.")
    max_attempts: int | None = Field(default=None, ge=1, le=MAX_ATTEMPTS)
    ttl_seconds: int = Field(default=DEFAULT_TTL, ge=1, le=MAX_TTL, description="How long it is kept after its end.")
    max_tokens: int | None = Field(default=None, ge=1, le=10**12, description="The most tokens that the job may use.")
    max_cost_usd: float | None = Field(
        default=None, gt=0, le=1_000_000, allow_inf_nan=False, description="The most that its model calls may cost."
    )
    metadata: dict[_MetaKey, _MetaValue] = Field(default_factory=dict, max_length=MAX_METADATA)

    @model_validator(mode="after")
    def _has_one_input(self) -> Submission:
        if (self.input is None) == (self.upload is None):
            raise ValueError("Give `input`, a JSON object, or `upload`, the id of one that was uploaded.")
        return self


@dataclass(frozen=True)
class Accepted:
    job: Job
    #: The job was there before, under the same idempotency key.
    replayed: bool


def read_submission(services: Services, body: Any) -> Submission:
    """Raises Unprocessable, saying what is wrong where."""
    return valid(services, Submission, body, "submission")


def read_key(header: str | None) -> str | None:
    """The Idempotency-Key, quoted or bare. Raises BadRequest."""
    if header is None:
        return None
    quoted = _QUOTED_KEY.fullmatch(header.strip())
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else header.strip()
    if (not quoted and not _BARE_KEY.fullmatch(key)) or len(key) > MAX_KEY:
        raise BadRequest(f'Idempotency-Key is a quoted string of 1 to {MAX_KEY} characters: "8e03978e-40d5-43dd…".')
    return key


def submit(
    services: Services, owner: str, submission: Submission, key: str | None, *, callback_form: str | None = None
) -> Accepted:
    """Raises Unprocessable or QuotaExceeded (nothing was stored), KeyReused, or Unavailable (stored, and it will run)."""
    task, text = checked(services, owner, submission)
    try:
        counted = services.limits.count(owner, services.clock())
    except QuotaExceeded:  # what was submitted before makes no job, so it is still answered
        before = None if key is None else services.store.get(derived_id(owner, key), services.clock(), consistent=True)
        if before is None:
            raise
        return _replay(before, submission, text)
    job = replace(_job(services, owner, submission, task, text, key), callback_form=callback_form)
    job, is_new = services.store.put(job, services.clock())
    if not is_new:
        services.limits.give_back(owner, counted)
        return _replay(job, submission, text)
    metrics.submitted(job)
    if submission.delay_seconds <= MAX_MESSAGE_DELAY:
        _send(services, job, submission.delay_seconds)
    return Accepted(job, replayed=False)


def _replay(job: Job, submission: Submission, text: str) -> Accepted:
    """Raises KeyReused."""
    if job.fingerprint != fingerprint(submission, text):
        raise KeyReused(f"Job {job.id} was made with this key and another payload; use a new key for a new job.")
    return Accepted(job, replayed=True)


def upload_key(owner: str, upload_id: str) -> str:
    """Where an upload lies in the bucket: below its owner, so that nobody can name another's."""
    return f"uploads/{owner}/{upload_id}"


def uploaded(services: Services, owner: str, upload_id: str) -> bytes:
    """What was uploaded. Raises Unprocessable."""
    try:
        if not re.fullmatch(r"[0-9a-f]{32}", upload_id):
            raise NotFound
        return services.blobs.get(upload_key(owner, upload_id), MAX_PAYLOAD)
    except NotFound:
        fault: Fault = {"loc": ["upload"], "msg": "No such upload, not finished, or older than a day."}
        raise Unprocessable("There is no such upload.", [fault]) from None


def checked(services: Services, owner: str, submission: Submission) -> tuple[Task, str]:
    """The task and the input's text."""
    task = REGISTRY.find(submission.task)
    if task is None:
        known = ", ".join(found.name for found in REGISTRY)
        raise Unprocessable("There is no such task.", [{"loc": ["task"], "msg": f"Unknown; there are: {known}"}])
    value = submission.input
    if submission.upload is not None:
        value = parse(uploaded(services, owner, submission.upload))
    try:
        task.validate(value)
    except InvalidInput as error:
        faults: list[Fault] = [{"loc": ["input", *fault["loc"]], "msg": fault["msg"]} for fault in error.faults]
        raise Unprocessable(f"The input does not fit the task {task.name}.", faults) from None
    return task, dump(value)


def order_of(submission: Submission, task: Task, text: str) -> Order:
    """What was asked for, with the task's own limits where it says nothing."""
    return Order(
        task=task.name,
        input=text,
        max_attempts=submission.max_attempts or task.max_attempts,
        timeout_seconds=submission.timeout_seconds or task.timeout_seconds,
        ttl_seconds=submission.ttl_seconds,
        task_version=task.version,
        callback_url=submission.callback_url,
        budget=Budget(
            max_tokens=submission.max_tokens,
            max_cost_nano_usd=None if submission.max_cost_usd is None else round(submission.max_cost_usd * NANO),
        ),
        metadata=submission.metadata,
        priority=Priority(submission.priority),
    )


def _job(services: Services, owner: str, submission: Submission, task: Task, text: str, key: str | None) -> Job:
    return make_job(
        services.payloads,
        order_of(submission, task, text),
        job_id=new_id() if key is None else derived_id(owner, key),
        owner=owner,
        now=services.clock(),
        fingerprint=fingerprint(submission, text),
        delay=submission.delay_seconds,
        trace=tracing.here(),
    )


def fingerprint(submission: Submission, text: str) -> str:
    """Tells payloads apart; an input counts the same however it came and in whatever order its keys were."""
    options = submission.model_dump(exclude={"input", "upload"}, exclude_defaults=True)
    canonical = json.dumps([options, json.loads(text)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _send(services: Services, job: Job, delay: int) -> None:
    try:
        services.queues.send(job, delay)
    except Exception as error:
        logger.error("message not sent", **about(job), error=type(error).__name__)
        raise Unavailable(
            "The job is stored and will start within minutes, but its message could not be sent now. "
            "Trying again with the same Idempotency-Key is safe; without one it would make a second job.",
            instance=f"/jobs/{job.id}",
        ) from error
