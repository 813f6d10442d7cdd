"""PDF files are read as far as they can be, and say what is missing."""

from __future__ import annotations

from itertools import count

import pytest

from tasks.kit import reading_pdf
from tasks.kit.reading import read
from tasks.kit.texts import Corrupt, Encrypted, NoText
from tests.unit.reading.cases import paragraphs
from tests.unit.reading.pdf_files import STORY, encrypted, pdf


def test_a_pdf_gives_its_lines_as_paragraphs() -> None:
    text = read("application/pdf", pdf(STORY))
    assert text.title == "The Night Train"
    assert text.pages == 1
    assert paragraphs(text) == [
        "The Night Train",
        "The train leaves the coast at nine in the evening and climbs all night. It stops at every station, for the mail as "
        "much as for the passengers, and examines none of their tickets.",
        "Nobody knows who drives it.",
    ]


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ("Railways of the North", "Railways of the North"),
        ("Microsoft Word - Railways", "Railways"),
        ("untitled", "The Night Train"),
        ("night-train-final.docx", "The Night Train"),
        ("  ", "The Night Train"),
    ],
)
def test_a_pdf_is_called_as_its_author_named_it(given: str, title: str) -> None:
    assert read("application/pdf", pdf(STORY, title=given)).title == title


def test_running_heads_and_page_numbers_are_left_out() -> None:
    pages = [
        f"Annual Report\n{STORY}\nMore words of page number {n} here.\n{n}" for n in ("one", "two", "three", "four")
    ]
    text = read("application/pdf", pdf(*(f"{page}\n{n}" for n, page in enumerate(pages, 1))))
    assert text.pages == 4
    assert text.text.count("Annual Report") == 1  # on the first page it is the title
    assert "4" not in text.text


def test_a_scan_says_that_it_has_no_text() -> None:
    with pytest.raises(NoText, match="OCR"):
        read("application/pdf", pdf("", "", drawn=b"0 0 612 792 re f"))


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_a_pdf_with_a_password_says_so(algorithm: str) -> None:
    with pytest.raises(Encrypted, match="password"):
        read("application/pdf", encrypted(pdf(STORY), "secret", algorithm))


def test_a_pdf_that_only_forbids_printing_is_read() -> None:
    assert read("application/pdf", encrypted(pdf(STORY), "")).title == "The Night Train"


def test_a_page_that_cannot_be_read_does_not_cost_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reading_pdf._PDF_LIMITS, "stream_parsing_work_maximum_count", 100)
    text = read("application/pdf", pdf(STORY, "A page that asks for more work than is allowed.\n" * 200))
    assert text.title == "The Night Train"
    assert text.pages == 2
    assert text.cut == "1 of 2 pages could not be read"


def test_a_pdf_of_many_pages_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_pdf, "MAX_PAGES", 2)
    text = read("application/pdf", pdf("Page one.", "Page two.", "Page three."))
    assert text.pages == 3
    assert text.cut == "only the first 2 of 3 pages were read"
    assert "three" not in text.text


def test_a_pdf_that_takes_too_long_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(step=1)  # a look at the clock takes a second
    monkeypatch.setattr(reading_pdf, "monotonic", lambda: next(ticks))
    text = read("application/pdf", pdf(*(["A page that says something."] * 500)))
    assert text.pages == 500
    assert text.cut.endswith("of 500 pages were read")


def test_a_pdf_whose_first_page_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(step=1000)
    monkeypatch.setattr(reading_pdf, "monotonic", lambda: next(ticks))
    with pytest.raises(Corrupt, match="too long"):
        read("application/pdf", pdf(STORY))
