"""PDF files, by hand."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from io import BytesIO

FONT = b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding>>"
STORY = """The Night Train
The train leaves the coast at nine in the evening and climbs all night. It
stops at every station, for the mail as much as for the passengers, and exam-
ines none of their tickets.
Nobody knows who drives it."""


def pdf_of_objects(*objects: bytes, trailer: bytes = b"") -> bytes:
    out, offsets = b"%PDF-1.7\n", []
    for number, item in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = b"xref\n0 %d\n0000000000 65535 f \n%strailer <</Size %d /Root 1 0 R %s>>" % (
        len(objects) + 1, table, len(objects) + 1, trailer,
    )  # fmt: skip
    return out + start + b"\nstartxref\n%d\n%%%%EOF\n" % len(out)


def stream(data: bytes, entries: bytes = b"") -> bytes:
    packed = zlib.compress(data, 9)
    return b"<</Length %d /Filter /FlateDecode %s>>\nstream\n%s\nendstream" % (len(packed), entries, packed)


def shown(page: str) -> bytes:
    """What a page draws: its lines, one under the other."""
    lines = [line.translate({40: r"\(", 41: r"\)"}).encode("cp1252") for line in page.splitlines()]
    return b"BT /F1 12 Tf 14 TL 72 720 Td " + b" ".join(b"(%s) Tj T*" % line for line in lines) + b" ET"


def pdf(
    *pages: str, title: str = "", drawn: bytes | None = None, resources: bytes = b"", more: Iterable[bytes] = ()
) -> bytes:
    """A file with these pages; or one whose pages are all drawn by the same bytes."""
    contents = [stream(shown(page)) for page in pages] if drawn is None else [stream(drawn)]
    first_page = 5 + len(contents)
    kids = b" ".join(b"%d 0 R" % (first_page + n) for n in range(len(pages)))
    leaves = [
        b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources <</Font <</F1 3 0 R>> %s>> >>"
        % (5 + min(n, len(contents) - 1), resources)
        for n in range(len(pages))
    ]
    return pdf_of_objects(
        b"<</Type /Catalog /Pages 2 0 R>>",
        b"<</Type /Pages /Kids [%s] /Count %d>>" % (kids, len(pages)),
        FONT,
        b"<</Title (%s)>>" % title.encode("cp1252"),
        *contents,
        *leaves,
        *more,
        trailer=b"/Info 4 0 R",
    )


def encrypted(data: bytes, password: str, algorithm: str = "RC4-128") -> bytes:
    from pypdf import PdfReader, PdfWriter

    writer, out = PdfWriter(PdfReader(BytesIO(data))), BytesIO()
    writer.encrypt(user_password=password, owner_password="owner", algorithm=algorithm)
    writer.write(out)
    return out.getvalue()
