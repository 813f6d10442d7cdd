"""The routes of documents and of uploads that are too large for a request."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from common.blobs import LINK_LIFE
from common.documents import CONTENT_TYPES, Document, is_document_id
from common.errors import BadRequest, Unprocessable, UnsupportedMediaType
from common.jobs import MAX_PAYLOAD
from common.views import rfc3339
from functions.api import views
from functions.api.auth import Caller
from functions.api.body import read_bytes
from functions.api.requests import Body, answer, plain_cursor, read, services_of
from functions.api.submissions import upload_key, uploaded

router = APIRouter()


class Upload(Body):
    """A request for a link to upload to."""

    bytes: int = Field(ge=1, le=MAX_PAYLOAD, description="The exact size of what will be uploaded.")


@router.post("/uploads", status_code=201)
async def make_upload(request: Request, owner: Caller) -> Response:
    """A link that takes one PUT of exactly so many bytes, for an input or a document over the request limit."""
    services = services_of(request)
    wanted = await read(request, Upload)
    upload_id = secrets.token_hex(16)
    content = {
        "upload_id": upload_id,
        "url": services.blobs.upload_link(upload_key(owner, upload_id), wanted.bytes),
        "method": "PUT",
        "headers": {"Content-Length": str(wanted.bytes)},
        "expires_at": rfc3339(services.clock() + LINK_LIFE),
    }
    return answer(content, 201)


@router.put("/documents/{document_id}", status_code=201)
async def put_document(
    request: Request,
    document_id: str,
    owner: Caller,
    upload: Annotated[str | None, Query(max_length=32)] = None,
) -> Response:
    """Stores a document, the body or an `upload`, or replaces it: text, Markdown, HTML or PDF by its Content-Type."""
    services = services_of(request)
    if not is_document_id(document_id):
        raise BadRequest("A document's id is 1 to 128 letters, digits, . _ and -, beginning with a letter or digit.")
    content_type = request.headers.get("content-type", "").strip()
    if content_type.partition(";")[0].strip().lower() not in CONTENT_TYPES or len(content_type) > 100:
        raise UnsupportedMediaType(f"Documents are {', '.join(CONTENT_TYPES)}; say which in Content-Type.")
    data = await read_bytes(request) if upload is None else uploaded(services, owner, upload)
    if not data:
        raise Unprocessable("The document is empty.")
    entry = services.documents.put(owner, Document(document_id, content_type, data), services.clock())
    headers = {"Location": f"/documents/{document_id}"}
    return answer(views.document_view(entry), 201, headers)


@router.get("/documents")
async def list_documents(
    request: Request,
    owner: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    cursor: Annotated[str | None, Query(max_length=128)] = None,
) -> Response:
    """The caller's documents, by id."""
    after = plain_cursor(cursor, is_document_id)
    entries, next_cursor = services_of(request).documents.list(owner, limit=limit, after=after)
    return answer({"documents": [views.document_view(entry) for entry in entries], "next_cursor": next_cursor})


@router.get("/documents/{document_id}")
async def get_document(request: Request, document_id: str, owner: Caller) -> Response:
    """What is known of a document, without its bytes."""
    entry = services_of(request).documents.entry(owner, document_id)
    return answer(views.document_view(entry))


@router.delete("/documents/{document_id}", status_code=204)
async def delete_document(request: Request, document_id: str, owner: Caller) -> Response:
    services_of(request).documents.delete(owner, document_id)
    return Response(status_code=204)
