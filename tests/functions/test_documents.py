"""Documents: stored, listed, deleted, and nobody else's."""

from __future__ import annotations

import pytest

from common.wiring import Services
from tests.handlers import Api


def put(
    api: Api, document_id: str, text: str = "# Title", kind: str = "text/markdown", **query: str
) -> dict[str, object]:
    answer = api("PUT", f"/documents/{document_id}", body=text.encode(), headers={"content-type": kind}, **query)
    assert answer.status == 201, answer.text
    assert answer.headers["location"] == f"/documents/{document_id}"
    stored: dict[str, object] = answer.json()
    return stored


def test_a_document_is_stored_replaced_and_deleted(api: Api, services: Services) -> None:
    assert put(api, "README.md", "# A") == {
        "id": "README.md",
        "content_type": "text/markdown",
        "bytes": 3,
        "updated_at": "2026-11-22T10:00:00.000Z",
    }
    assert put(api, "README.md", "<h1>ü</h1>", "text/html; charset=utf-8")["bytes"] == 11
    stored = services.documents.get("acme", "README.md")
    assert (stored.content_type, stored.data.decode()) == ("text/html; charset=utf-8", "<h1>ü</h1>")
    assert api("GET", "/documents/README.md").json()["bytes"] == 11

    assert api("DELETE", "/documents/README.md").status == 204
    assert api("GET", "/documents/README.md").status == 404
    assert api("DELETE", "/documents/README.md").status == 404


def test_documents_are_listed_by_id_in_pages(api: Api) -> None:
    for name in ("c", "a", "b"):
        put(api, name)
    first = api("GET", "/documents", limit=2).json()
    second = api("GET", "/documents", limit=2, cursor=first["next_cursor"]).json()
    assert [document["id"] for page in (first, second) for document in page["documents"]] == ["a", "b", "c"]
    assert second["next_cursor"] is None


def test_another_owner_s_documents_do_not_exist(api: Api, services: Services) -> None:
    put(api, "mine")
    other = api.as_owner(services, "other")
    assert other("GET", "/documents").json()["documents"] == []
    assert other("GET", "/documents/mine").status == 404
    assert other("DELETE", "/documents/mine").status == 404
    assert api("GET", "/documents/mine").status == 200


def test_a_large_document_is_uploaded(api: Api, services: Services) -> None:
    upload = api("POST", "/uploads", json={"bytes": 5}).json()["upload_id"]
    services.blobs.put(f"uploads/acme/{upload}", b"%PDF-", "application/octet-stream")
    assert put(api, "big.pdf", "", "application/pdf", upload=upload)["bytes"] == 5
    assert services.documents.get("acme", "big.pdf").data == b"%PDF-"


@pytest.mark.parametrize("name", [".hidden", "a b", "ü", "a" * 129, "a%2Fb", "-x"])
def test_ids_of_documents_are_checked(api: Api, name: str) -> None:
    answer = api("PUT", f"/documents/{name}", body=b"x", headers={"content-type": "text/plain"})
    assert answer.status in (400, 404)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/zip", 415),
        ("", 415),
        ("text/plain-ish", 415),
        ("TEXT/PLAIN", 201),
        ("text/html;charset=latin-1", 201),
    ],
)
def test_only_what_can_be_read_is_stored(api: Api, kind: str, status: int) -> None:
    assert api("PUT", "/documents/x", body=b"x", headers={"content-type": kind}).status == status


def test_an_empty_or_too_large_document_is_refused(api: Api) -> None:
    headers = {"content-type": "text/plain"}
    assert api("PUT", "/documents/x", body=b"", headers=headers).status == 422
    assert api("PUT", "/documents/x", body=b"x" * (4 * 1024 * 1024 + 1), headers=headers).status == 413
    assert api("PUT", "/documents/x", body=b"", headers=headers, upload="0" * 32).status == 422
    assert api("GET", "/documents").json()["documents"] == []


def test_a_wrong_cursor_is_refused(api: Api) -> None:
    assert api("GET", "/documents", cursor="../x").status == 400
