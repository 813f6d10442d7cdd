"""The JSON Schemas of what the API answers."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
ID_OR_NULL: Schema = {"type": ["string", "null"], "pattern": "^[0-9a-f]{32}$"}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
YES_OR_NO: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
AMOUNT_OR_NULL: Schema = {"type": ["number", "null"], "minimum": 0}
ANYTHING: Schema = {}


def one(optional: Schema | None = None, **members: Schema) -> Schema:
    """An object that has these members, those in `optional` sometimes, and no others."""
    properties = members | (optional or {})
    return {"type": "object", "properties": properties, "required": list(members), "additionalProperties": False}


def many(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


FAILURE = one(type=TEXT, message=TEXT, retryable=YES_OR_NO, attempt=COUNT)
PROGRESS = one(percent=COUNT_OR_NULL, current=COUNT_OR_NULL, total=COUNT_OR_NULL, message=TEXT_OR_NULL)
USAGE = one(input_tokens=COUNT, output_tokens=COUNT, cached_tokens=COUNT, cost_usd={"type": "number", "minimum": 0})
QUESTION = one(id=TEXT, question=TEXT_OR_NULL, schema=or_null({"type": "object"}), expires_at=TIME)
METADATA: Schema = {"type": "object", "additionalProperties": TEXT}
FAULT = one(loc=many({"type": ["string", "integer"]}), msg=TEXT)
PRIORITY: Schema = {"enum": ["low", "normal", "high"]}

JOB = one(
    {"input_link": TEXT, "result_link": TEXT},
    id=ID,
    task=TEXT,
    status=ref("Status"),
    priority=PRIORITY,
    progress=or_null(PROGRESS),
    input=ANYTHING,
    result=ANYTHING,
    error=or_null(FAILURE),
    attempt=COUNT,
    max_attempts=COUNT,
    timeout_seconds=COUNT,
    created_at=TIME,
    started_at=TIME_OR_NULL,
    updated_at=TIME,
    finished_at=TIME_OR_NULL,
    expires_at=TIME_OR_NULL,
    continuations=COUNT,
    parent=ID_OR_NULL,
    has_children=YES_OR_NO,
    questions=many(QUESTION),
    cancel_requested=YES_OR_NO,
    callback_url=TEXT_OR_NULL,
    metadata=METADATA,
    usage=USAGE,
    last_event=COUNT,
)
SUMMARY = one(
    id=ID,
    task=TEXT,
    status=ref("Status"),
    attempt=COUNT,
    max_attempts=COUNT,
    created_at=TIME,
    started_at=TIME_OR_NULL,
    finished_at=TIME_OR_NULL,
    expires_at=TIME_OR_NULL,
)
PROBLEM = one(
    {"errors": many(FAULT), "quota": TEXT, "limit": COUNT, "retry_after": COUNT},
    type=TEXT,
    title=TEXT,
    status={"type": "integer", "minimum": 400, "maximum": 599},
    detail=TEXT,
    instance=TEXT,
)
ENDPOINT: Schema = {
    "url": TEXT_OR_NULL,
    "enabled": YES_OR_NO,
    "created_at": TIME_OR_NULL,
    "disabled_at": TIME_OR_NULL,
    "disabled_reason": TEXT_OR_NULL,
    "failing_since": TIME_OR_NULL,
    "secrets": many(one(created_at=TIME, signs_until=TIME_OR_NULL)),
}
TRY = one(at=TIME, url=TEXT, status=COUNT_OR_NULL, seconds=AMOUNT_OR_NULL, error=TEXT_OR_NULL, answer=TEXT_OR_NULL)
SCHEDULE: Schema = {
    "id": ID,
    "name": TEXT_OR_NULL,
    "status": {"enum": ["arming", "active", "paused", "fired", "missed"]},
    "cron": TEXT_OR_NULL,
    "rate": TEXT_OR_NULL,
    "at": TIME_OR_NULL,
    "timezone": TEXT,
    "task": TEXT,
    "timeout_seconds": COUNT,
    "max_attempts": COUNT,
    "ttl_seconds": COUNT,
    "callback_url": TEXT_OR_NULL,
    "priority": PRIORITY,
    "max_tokens": COUNT_OR_NULL,
    "max_cost_usd": AMOUNT_OR_NULL,
    "metadata": METADATA,
    "created_at": TIME,
    "last_fired_at": TIME_OR_NULL,
    "last_job": ID_OR_NULL,
}

SCHEMAS: dict[str, Schema] = {
    "Problem": PROBLEM,
    "Anything": ANYTHING,
    "Health": one(status={"const": "ok"}),
    "Job": JOB,
    "JobList": one(jobs=many(SUMMARY), next_cursor=TEXT_OR_NULL),
    "BatchAnswer": one(
        results=many(one({"replayed": YES_OR_NO, "job": ref("Job"), "problem": ref("Problem")}, status=COUNT))
    ),
    "Children": one(
        steps=many(one(step=TEXT, task=TEXT, size=COUNT, ended=COUNT, failed=COUNT)),
        children=many(
            one(
                id=ID,
                step=TEXT,
                number=COUNT,
                task=TEXT,
                status=or_null(ref("Status")),
                error=or_null(FAILURE),
                has_children=YES_OR_NO,
            )
        ),
        next_cursor=COUNT_OR_NULL,
    ),
    "Events": one(
        {"progress": or_null(one(type={"const": "progress"}, at=TIME, data=PROGRESS))},
        events=many(one(seq=COUNT, at=TIME, type=TEXT, data={"type": "object"})),
        last_event=COUNT,
        final=YES_OR_NO,
    ),
    "Delivery": one(
        id=TEXT,
        job=ID,
        type=TEXT,
        to={"enum": ["endpoint", "callback"]},
        url=TEXT_OR_NULL,
        status={"enum": ["pending", "delivered", "exhausted"]},
        reason=TEXT_OR_NULL,
        created_at=TIME,
        next_try_at=TIME_OR_NULL,
        tried=COUNT,
        tries=many(TRY),
    ),
    "DeliveryList": one({"next_cursor": TEXT_OR_NULL}, deliveries=many(ref("Delivery"))),
    "Task": one(
        name=TEXT, description=TEXT, timeout_seconds=COUNT, max_attempts=COUNT, input_schema={"type": "object"}
    ),
    "TaskList": one(tasks=many(ref("Task"))),
    "Ticket": one(ticket=TEXT, expires_at=TIME, url=TEXT_OR_NULL),
    "Taken": one(task_id=ID, status={"enum": ["pending", "submitted", "queued"]}),
    "AgentStatus": one(id=ID, task_id=ID, status=ref("Status"), progress=COUNT, result=ANYTHING, error=TEXT_OR_NULL),
    "Research": one(
        task_id=ID,
        status=ref("Status"),
        result=ANYTHING,
        error=TEXT_OR_NULL,
        created_at=TIME,
        completed_at=TIME_OR_NULL,
    ),
    "BatchStatus": one(
        task_id=ID,
        status=ref("Status"),
        progress=one(current=COUNT, total=COUNT),
        result=ANYTHING,
        error=TEXT_OR_NULL,
    ),
    "ChatAnswer": one(response=TEXT, task_id=ID),
    "ChatLog": one(session_id=TEXT, interactions=many({"type": "object"}), next_cursor=TEXT_OR_NULL),
    "UploadLink": one(upload_id=ID, url=TEXT, method={"const": "PUT"}, headers={"type": "object"}, expires_at=TIME),
    "Document": one(id=TEXT, content_type=TEXT, bytes=COUNT, updated_at=TIME),
    "DocumentList": one(documents=many(ref("Document")), next_cursor=TEXT_OR_NULL),
    "Endpoint": one(**ENDPOINT),
    "EndpointWithSecret": one(**ENDPOINT, secret=TEXT_OR_NULL),
    "Schedule": one(**SCHEDULE, input={"type": "object"}),
    "ScheduleList": one(schedules=many(one(**SCHEDULE)), next_cursor=TEXT_OR_NULL),
}
