"""The commands about documents."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from longrun.cli_session import session
from longrun.cli_text import time_text

CONTENT_TYPES = {
    ".txt": "text/plain",
    ".text": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".pdf": "application/pdf",
}
#: Characters of the longest document id.
LONGEST_ID = 128
#: Characters of the longest suffix that is kept whole.
LONGEST_SUFFIX = 10

documents = typer.Typer(no_args_is_help=True, help="Store, list and forget the documents that tasks read.")


@documents.command()
def put(
    ctx: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, show_default=False)
    ],
    document_id: Annotated[str | None, typer.Option("--id", help="Its id, when it is one file.")] = None,
    content_type: Annotated[
        str | None, typer.Option(help="text/plain, text/markdown, text/html or application/pdf.")
    ] = None,
) -> None:
    """Store files as documents. The id of each is made from its path, its type from its suffix."""
    client, output = session(ctx)
    if document_id is not None and len(files) > 1:
        raise typer.BadParameter("is for one file", param_hint="--id")
    ids = document_ids(files) if document_id is None else [document_id]
    # All types are known before anything is stored.
    types = [content_type or type_of(file) for file in files]
    stored = []
    for file, identifier, kind in zip(files, ids, types, strict=True):
        stored.append(client.put_document(identifier, file.read_bytes(), content_type=kind))
        if not output.machine:
            output.line(identifier)
    if output.machine:
        output.document({"documents": stored})


@documents.command("list")
def list_documents(ctx: typer.Context) -> None:
    """List the stored documents."""
    client, output = session(ctx)
    found = client.documents()
    if output.machine:
        output.document({"documents": tuple(found)})
        return
    output.table(
        ("ID", "TYPE", "BYTES", "UPDATED"),
        (
            (document.id, document.content_type, f"{document.bytes:,}", time_text(document.updated_at))
            for document in found
        ),
    )


@documents.command()
def delete(ctx: typer.Context, document_id: Annotated[str, typer.Argument(metavar="ID", show_default=False)]) -> None:
    """Forget a document."""
    client, output = session(ctx)
    client.delete_document(document_id)
    if output.machine:
        output.document({"deleted": document_id})
    else:
        output.note(f"document {document_id} is forgotten")


def type_of(file: Path) -> str:
    """A file's content type by its suffix. Raises BadParameter."""
    kind = CONTENT_TYPES.get(file.suffix.lower())
    if kind is None:
        known = " ".join(CONTENT_TYPES)
        raise typer.BadParameter(f"{file}: not one of {known}; give its --content-type", param_hint="FILES")
    return kind


def document_ids(files: Sequence[Path]) -> list[str]:
    """An id for each file, made from its path: the same for the same file, never the same for two."""
    ids: dict[Path, str] = {}
    for path in map(_absolute, files):
        taken = {identifier for other, identifier in ids.items() if other != path}
        identifier = document_id_of(path)
        ids[path] = document_id_of(path, marked=True) if identifier in taken else identifier
    return [ids[_absolute(file)] for file in files]


def document_id_of(path: Path, *, marked: bool = False) -> str:
    """The path from here (of what is not below here, the name alone) in the characters that an id may have.

    It is marked with a hash of the whole path when that is asked for, and when what is left of it is not all of it.
    """
    here = Path.cwd()
    text = path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name
    letters = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    suffix = path.suffix if path.suffix.isascii() and len(path.suffix) <= LONGEST_SUFFIX else ""
    name = _allowed(letters.removesuffix(suffix)).lstrip("._-")
    suffix = _allowed(suffix)
    if marked or not letters.isascii() or not name or len(name + suffix) > LONGEST_ID:
        mark = hashlib.sha256(str(path).encode()).hexdigest()[:8]
        name = f"{name[: LONGEST_ID - len(suffix) - len(mark) - 1] or 'document'}-{mark}"
    return name + suffix


def _allowed(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "".join(filter(str.isascii, text)))


def _absolute(file: Path) -> Path:
    # Not resolve(): a link is called by its own name, not by what it leads to.
    return Path(os.path.abspath(file))
