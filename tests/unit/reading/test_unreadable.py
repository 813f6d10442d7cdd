"""What is no document, or has no text, is refused with the reason."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.kit.reading import read
from tasks.kit.texts import Corrupt, Empty, NoText, UnknownCharset, UnknownType, Unreadable
from tests.unit.reading.cases import ALL_TYPES, TYPES
from tests.unit.reading.pdf_files import STORY, pdf, pdf_of_objects


@pytest.mark.parametrize("content_type", ALL_TYPES)
@pytest.mark.parametrize("data", [b"", b" \n\t\r\n "])
def test_an_empty_document_is_refused(content_type: str, data: bytes) -> None:
    with pytest.raises(Empty, match="empty"):
        read(content_type, data)


@pytest.mark.parametrize(
    "content_type", ["", "image/png", "text", "application/json; charset=utf-8", "text/plain/x", "x" * 9000]
)
def test_an_unknown_type_is_refused(content_type: str) -> None:
    with pytest.raises(UnknownType) as error:
        read(content_type, b"Hello")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("content_type", TYPES.values())
@pytest.mark.parametrize(
    "junk",
    [
        random.Random(1).randbytes(100_000),
        b"\x89PNG\r\n\x1a\n" + random.Random(2).randbytes(5_000),
        zlib.compress(random.Random(3).randbytes(5_000)),
        b"\0" * 100_000,
        b"PK\x03\x04" + bytes(range(256)) * 50,
        "UTF-16 without a mark".encode("utf-16-le"),
    ],
)
def test_binary_junk_is_not_text(content_type: str, junk: bytes) -> None:
    with pytest.raises((Corrupt, UnknownCharset)):
        read(content_type, junk)


@pytest.mark.parametrize("data", [b"***", b"<!-- -->", b"<p></p>", b"---\n---\n", "…".encode()])
@pytest.mark.parametrize("content_type", ["text/html", "text/markdown"])
def test_a_document_without_a_word_has_no_text(content_type: str, data: bytes) -> None:
    with pytest.raises(NoText):
        read(content_type, data)


@pytest.mark.parametrize(
    "data",
    [
        b"Hello",
        b"%PDF-1.7\n",
        b"%PDF-1.7\n" + random.Random(4).randbytes(50_000),
        pdf(STORY)[:300],
        pdf_of_objects(b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Kids [2 0 R 2 0 R] /Count 2>>"),
        pdf_of_objects(b"<</Type /Catalog>>"),
        pdf_of_objects(b"null"),
        b"%PDF-1.7\n1 0 obj\n" + b"<</A " * 20_000 + b"\nendobj\ntrailer<</Root 1 0 R>>\nstartxref\n9\n%%EOF",
    ],
)
def test_a_damaged_pdf_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        read("application/pdf", data)


@given(st.sampled_from(ALL_TYPES), st.binary(max_size=500) | st.text(max_size=300).map(str.encode))
def test_whatever_comes_it_is_text_or_unreadable(content_type: str, data: bytes) -> None:
    try:
        text = read(content_type, data)
    except Unreadable:
        return
    assert text.title
    assert text.text == text.text.strip()
    text.text.encode()  # no half of a character, which nothing behind this could store
