"""What /openapi.json says beyond what FastAPI reads from the routes: answers, refusals, keys, bodies read from the request.

Client generators read it; `tests/hostile/test_openapi.py` holds the API to it.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from common.chats import SESSION
from common.documents import CONTENT_TYPES
from common.jobs import Status
from functions.api.agents import Message
from functions.api.answers import SCHEMAS
from functions.api.documents import Upload
from functions.api.submissions import MAX_KEY

Schema = dict[str, Any]

#: Of each route: its answers' schemas by status, and the refusals that it has beside those of every route.
ROUTES: dict[str, tuple[dict[int, str | None], tuple[int, ...]]] = {
    "GET /health": ({200: "Health"}, ()),
    "POST /jobs": ({200: "Job", 202: "Job"}, (429,)),
    "POST /jobs:batch": ({200: "BatchAnswer"}, ()),
    "GET /jobs": ({200: "JobList"}, (400,)),
    "GET /jobs/{job_id}": ({200: "Job", 304: None}, (404,)),
    "DELETE /jobs/{job_id}": ({204: None}, (404, 409)),
    "POST /jobs/{job_id}/cancel": ({202: "Job"}, (404, 409)),
    "POST /jobs/{job_id}/retry": ({202: "Job"}, (400, 404, 409)),
    "GET /jobs/{job_id}/result": ({200: "Anything", 303: None}, (404, 409)),
    "GET /jobs/{job_id}/input": ({200: "Anything", 303: None}, (404,)),
    "POST /jobs/{job_id}/input": ({202: "Job"}, (404, 409)),
    "GET /jobs/{job_id}/children": ({200: "Children"}, (404,)),
    "GET /jobs/{job_id}/events": ({200: "Events", 204: None}, (400, 404)),
    "GET /jobs/{job_id}/deliveries": ({200: "DeliveryList"}, (404,)),
    "POST /jobs/{job_id}/deliveries/{delivery_id}/redeliver": ({202: "Delivery"}, (404, 409)),
    "GET /tasks": ({200: "TaskList"}, ()),
    "GET /tasks/{name}": ({200: "Task"}, (404,)),
    "POST /live-ticket": ({201: "Ticket"}, (404,)),
    "POST /agent/submit": ({202: "Taken"}, (429,)),
    "POST /agent/start": ({202: "Taken"}, (429,)),
    "POST /agent/submit-with-callback": ({202: "Taken"}, (429,)),
    "GET /agent/status/{task_id}": ({200: "AgentStatus"}, (404,)),
    "POST /research": ({202: "Taken"}, (429,)),
    "GET /research/{task_id}": ({200: "Research"}, (404,)),
    "POST /batch-analyze": ({202: "Taken"}, (429,)),
    "GET /batch-analyze/{task_id}": ({200: "BatchStatus"}, (404,)),
    "POST /chat": ({200: "ChatAnswer", 202: "Job"}, (429,)),
    "GET /chat/{session_id}": ({200: "ChatLog"}, (400,)),
    "POST /uploads": ({201: "UploadLink"}, ()),
    "PUT /documents/{document_id}": ({201: "Document"}, ()),
    "GET /documents/{document_id}": ({200: "Document"}, (404,)),
    "DELETE /documents/{document_id}": ({204: None}, (404,)),
    "GET /documents": ({200: "DocumentList"}, (400,)),
    "GET /webhook": ({200: "Endpoint"}, ()),
    "PUT /webhook": ({200: "EndpointWithSecret"}, ()),
    "DELETE /webhook": ({204: None}, ()),
    "POST /webhook/rotate": ({200: "EndpointWithSecret"}, (409,)),
    "GET /webhook/undelivered": ({200: "DeliveryList"}, (400,)),
    "POST /schedules": ({201: "Schedule"}, (409,)),
    "GET /schedules": ({200: "ScheduleList"}, (400,)),
    "GET /schedules/{schedule_id}": ({200: "Schedule"}, (404,)),
    "DELETE /schedules/{schedule_id}": ({204: None}, (404,)),
    "POST /schedules/{schedule_id}/pause": ({200: "Schedule"}, (404, 409, 422)),
    "POST /schedules/{schedule_id}/resume": ({200: "Schedule"}, (404, 409, 422)),
}

REFUSALS = {
    400: "Not well formed, or a cursor that is none of ours.",
    401: "No valid key.",
    404: "There is none, it has expired, or it is somebody else's.",
    409: "Not in its present state.",
    413: "The body is over 4 MB.",
    415: "A content type, or an encoding, that is not read.",
    422: "Well formed, but wrong; `errors` says where.",
    429: "Over a quota; `Retry-After` says when to come back.",
    503: "A part that is needed does not answer; safe to try again.",
}
#: Where an empty body is one, or stands for `?upload=`.
OPTIONAL_BODIES = ("POST /webhook/rotate", "PUT /documents/{document_id}")
#: What a cursor looks like, by the list's path; the others are opaque.
CURSORS = {
    "/documents": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
    "/schedules": "^[0-9a-f]{32}$",
    "/chat/{session_id}": r"^[0-9]{13}#[0-9a-f]{32}$",
}
KEYS: Schema = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`lr_…`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}
TICKET: Schema = {"type": "apiKey", "in": "query", "name": "ticket", "description": "From POST /live-ticket."}


def described(app: FastAPI) -> Schema:
    """The whole document."""
    return _completed(get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes))


def _completed(document: Schema) -> Schema:
    components = document.setdefault("components", {})
    components["schemas"] = (
        SCHEMAS | {"Message": Message.model_json_schema()} | {"Status": {"enum": list(Status), "type": "string"}}
    )
    components["securitySchemes"] = KEYS | {"ticket": TICKET}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, path, f"{method.upper()} {path}")
    return document


def _complete(operation: Schema, path: str, route: str) -> None:
    answers, refused = ROUTES[route]
    takes_parameters, is_open = bool(operation.get("parameters")), route == "GET /health"
    if (body := BODIES.get(route)) is not None:
        operation["requestBody"] = body
    if "requestBody" in operation:
        operation["requestBody"]["required"] = route not in OPTIONAL_BODIES
        refused = (*refused, 400, 413, 415, 422)
    if takes_parameters:
        refused = (*refused, 422)
    if not is_open:
        refused = (*refused, 401, 503)
        operation["security"] = [{name: []} for name in KEYS]
    if path.endswith("/events"):
        operation["security"].append({"ticket": []})
        operation["parameters"] = [each for each in operation["parameters"] if each["name"] != "ticket"]
    for parameter in operation.get("parameters", []):
        if parameter["name"] == "cursor" and path in CURSORS:
            parameter["schema"] = {"type": "string", "pattern": CURSORS[path]}
        if parameter["name"] == "session_id":
            parameter["schema"] = {"type": "string", "pattern": f"^{SESSION.pattern}$"}
        if parameter["name"] == "document_id":
            parameter["schema"] = {"type": "string", "pattern": CURSORS["/documents"]}
    headers = [HEADERS[name] for name in HEADERS_OF.get(route, ())]
    if headers:
        operation["parameters"] = [*operation.get("parameters", []), *headers]
    operation["responses"] = {str(status): _answer(schema, route) for status, schema in answers.items()} | {
        str(status): _refusal(status) for status in sorted(set(refused))
    }


def _answer(schema: str | None, route: str) -> Schema:
    if schema is None:
        return {"description": "Nothing, or a redirection."}
    content: Schema = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    if route.endswith("/events"):
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {"description": schema, "content": content}


def _refusal(status: int) -> Schema:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": REFUSALS[status], "content": {"application/problem+json": {"schema": schema}}}


def _json(schema: Schema) -> Schema:
    return {"content": {"application/json": {"schema": schema}}}


#: Bodies that the routes read themselves, and that they do not say.
BODIES: dict[str, Schema] = {
    "POST /jobs:batch": _json(
        {
            "type": "object",
            "properties": {"jobs": {"type": "array", "minItems": 1, "maxItems": 100, "items": {}}},
            "required": ["jobs"],
            "additionalProperties": False,
        }
    ),
    "POST /uploads": _json(Upload.model_json_schema()),
    "PUT /documents/{document_id}": {
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in CONTENT_TYPES}
    },
}
HEADERS: dict[str, Schema] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "The same caller, key and payload always gets the original.",
        "schema": {"type": "string", "pattern": rf"^[!#-+\--\[\]-~]{{1,{MAX_KEY}}}$"},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "description": "`wait=N` means the same as `?wait=N`.",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "An ETag: answers 304 while the job is as it was.",
        "schema": {"type": "string"},
    },
}
HEADERS_OF = {
    "POST /jobs": ("Idempotency-Key", "Prefer"),
    "POST /chat": ("Idempotency-Key", "Prefer"),
    "POST /agent/submit": ("Idempotency-Key",),
    "POST /agent/start": ("Idempotency-Key",),
    "POST /agent/submit-with-callback": ("Idempotency-Key",),
    "POST /research": ("Idempotency-Key",),
    "POST /batch-analyze": ("Idempotency-Key",),
    "POST /schedules": ("Idempotency-Key",),
    "POST /jobs/{job_id}/retry": ("Idempotency-Key",),
    "GET /jobs/{job_id}": ("If-None-Match",),
}
