"""What the service answers, as frozen values. Fields that a newer server adds are ignored, so older clients keep working.

Times are aware datetimes in UTC; sizes are bytes; lengths of time are seconds; costs are US dollars.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Status(StrEnum):
    """Where a job is. `completed`, `failed` and `cancelled` are final."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class Value(BaseModel):
    """The base of everything that the service answers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Progress(Value):
    """How far a job is, as its task last said; any part of it may be missing."""

    percent: int | float | None = None
    current: int | float | None = None
    total: int | float | None = None
    message: str | None = None


class JobError(Value):
    """Why a job failed: the kind of error, what it said, and in which attempt."""

    type: str
    message: str
    retryable: bool = False
    attempt: int | None = None


class Usage(Value):
    """What the job's models used so far."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0


class Question(Value):
    """What a waiting job asks, of whoever answers: text, the JSON Schema of the answer, and until when."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_alias=True, validate_by_name=True)

    id: str
    question: str
    # `schema` is a method of every model.
    answer_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    expires_at: AwareDatetime | None = None


class Job(Value):
    """One run of a task, as it was when the service answered. In a list, `input`, `result` and `progress` are left out.

    A result too large to be sent along is `None` here and has a `result_link`; `Client.result` fetches either kind.
    """

    id: str
    task: str
    # A status that a newer server invents stays a plain string; it is not final as far as this client knows.
    status: Annotated[Status | str, Field(union_mode="left_to_right")]
    progress: Progress | None = None
    input: Any = None
    input_link: str | None = None
    result: Any = None
    result_link: str | None = None
    error: JobError | None = None
    attempt: int = 0
    max_attempts: int | None = None
    timeout_seconds: int | float | None = None
    created_at: AwareDatetime | None = None
    started_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    cancel_requested: bool = False
    callback_url: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    priority: str | None = None
    # How often it went on in another invocation; the job whose step has begun it; whether its own steps have begun any.
    continuations: int = 0
    parent: str | None = None
    has_children: bool = False
    # What it waits for somebody to answer, while it is `waiting`.
    questions: tuple[Question, ...] = ()
    usage: Usage | None = None
    last_event: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether the job has ended, in whichever way."""
        return self.status in FINAL


class Event(Value):
    """Something that happened in a job; `seq` counts from 1 without gaps, and is `None` for progress, which is not kept.

    `type` is `status`, `log`, `thought`, `tool_call`, `tool_result`, `output`, `usage`, `step`, `question`, `progress` or
    what a newer server adds; `data` is its own.
    """

    seq: int | None = None
    at: AwareDatetime
    type: str
    data: dict[str, Any] = Field(default_factory=dict)


class EventPage(Value):
    """Some of a job's events; there are more while the last one's number is not `last_event`, or the job not `final`."""

    events: tuple[Event, ...]
    last_event: int
    final: bool
    progress: Event | None = None


class EventsEnd(Value):
    """How a job ended, and its last event's number."""

    status: str
    last_event: int


class LiveTicket(Value):
    """What opens a WebSocket, and where; `url` is `None` where the service has none."""

    ticket: str = Field(repr=False)
    url: str | None = None


class JobPage(Value):
    """Some jobs, newest first; `next_cursor` asks for the ones after them and is `None` at the end."""

    jobs: tuple[Job, ...]
    next_cursor: str | None = None


class Task(Value):
    """What can be run: its name, the JSON Schema of its input, and its limits."""

    name: str
    description: str | None = None
    input_schema: dict[str, Any] = Field(default_factory=dict)
    timeout_seconds: int | float | None = None
    max_attempts: int | None = None


class TaskList(Value):
    """Every task of the service."""

    tasks: tuple[Task, ...]


class Document(Value):
    """A stored document that tasks can read; its content is not in it."""

    id: str
    content_type: str
    bytes: int
    created_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None


class DocumentPage(Value):
    """Some documents; `next_cursor` asks for the ones after them and is `None` at the end."""

    documents: tuple[Document, ...]
    next_cursor: str | None = None


class Upload(Value):
    """Where to send a body that is too large for the service's front door, and how. The link works for a short time."""

    upload_id: str
    url: str
    method: str = "PUT"
    headers: dict[str, str] = Field(default_factory=dict)


class Health(Value):
    """What the service says about itself; `status` is `ok` when it is well."""

    status: str


class FieldError(Value):
    """One thing wrong with a body: where, and what."""

    loc: tuple[str | int, ...] = ()
    msg: str = ""

    def __str__(self) -> str:
        """For example `body.input.urls[0]: not a URL`."""
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.loc).lstrip(".")
        return f"{place}: {self.msg}" if place else self.msg


class Problem(Value):
    """An error as RFC 9457 writes it (`application/problem+json`). Members of its own are kept in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    status: int
    type: str = "about:blank"
    title: str = ""
    detail: str | None = None
    instance: str | None = None
    errors: tuple[FieldError, ...] = ()
