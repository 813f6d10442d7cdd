"""Documents on the command line: stored, listed and forgotten, under ids that never clash."""

import json
from pathlib import Path

import pytest

from longrun.cli_documents import document_ids
from tests.unit.conftest import Run
from tests.unit.scripted_service import Reply, ScriptedService


def test_documents_are_stored_listed_and_forgotten(
    service: ScriptedService, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    Path("docs/a b.MD").write_text("# A")
    Path("page.html").write_text("<p>")
    view = {"content_type": "text/markdown", "bytes": 3, "updated_at": "2026-01-31T12:00:00Z"}
    for name in ("docs-a-b.MD", "page.html"):
        service.on(f"PUT /documents/{name}", Reply(201, {"id": name} | view))
    service.on("GET /documents", {"documents": [{"id": "page.html"} | view]})
    service.on("DELETE /documents/page.html", Reply(204))
    assert run("documents", "put", "docs/a b.MD", "page.html").stdout.split() == ["docs-a-b.MD", "page.html"]
    assert [sent.headers["content-type"] for sent in service.seen] == ["text/markdown", "text/html"]
    stored = json.loads(run("documents", "put", "page.html", "--json").stdout)["documents"]
    assert [document["id"] for document in stored] == ["page.html"]
    assert "page.html" in run("documents", "list").stdout
    assert json.loads(run("documents", "list", "--json").stdout)["documents"][0]["id"] == "page.html"
    assert run("documents", "delete", "page.html").exit_code == 0
    assert "longrun documents list" in run("documents", "delete", "missing").stderr


def test_nothing_is_stored_when_a_type_is_not_known(service: ScriptedService, run: Run, tmp_path: Path) -> None:
    good, bad = tmp_path / "a.txt", tmp_path / "b.docx"
    good.touch()
    bad.touch()
    done = run("documents", "put", str(good), str(bad))
    assert (done.exit_code, service.seen) == (2, [])
    assert run("documents", "put", str(good), str(good), "--id", "x").exit_code == 2
    assert run("documents", "put", str(tmp_path / "missing.txt")).exit_code == 2
    service.on("PUT /documents/x", Reply(201, {"id": "x", "content_type": "text/plain", "bytes": 0}))
    assert run("documents", "put", str(bad), "--id", "x", "--content-type", "text/plain").exit_code == 0


def test_document_ids_come_from_paths_and_never_clash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    same, accents, japanese = ["notes/a.md", "./notes/../notes/a.md"], "Résumé (1).pdf", "日本.pdf"
    given = [*same, "notes-a.md", accents, ".hidden.txt", japanese, "/elsewhere/x.txt", "y" * 200 + ".txt"]
    ids = document_ids([Path(name) for name in given])
    assert ids[:2] == ["notes-a.md"] * 2, "the same file"
    assert ids[2].startswith("notes-a-")
    assert ids[3:5] == ["Resume-1-.pdf", "hidden.txt"]
    assert ids[5].startswith("document-")
    assert ids[5].endswith(".pdf")
    assert ids[6] == "x.txt"
    assert len(ids[7]) == 128
    assert ids[7].endswith(".txt")
    assert len({*ids}) == len(ids) - 1
    assert document_ids([Path(japanese)]) == ids[5:6], "the same the next time"
