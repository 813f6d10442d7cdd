"""What was made to do harm: without a guard most of these take minutes, hours, or all memory."""

from __future__ import annotations

import pytest

from tasks.kit import reading, reading_markdown, reading_pdf, texts
from tasks.kit.reading import read
from tasks.kit.texts import Corrupt
from tests.unit.reading.cases import TYPES
from tests.unit.reading.pdf_files import pdf, shown, stream

MANY = 100_000
FORM = b"/Type /XObject /Subtype /Form"


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * MANY,
        "<p " + " ".join(f"a{n}=1" for n in range(MANY)) + ">",
        "".join(f"<p><b id={n}><i><u>" for n in range(MANY // 5)),
        "<ul><li>" * MANY,
        "<a><b><p>" * (MANY // 5),
        "<table><tr><td>" * (MANY // 5),
        "<a \"<a '" * MANY,
        "<script " * MANY,
        "<svg </svg " * MANY,
        "<!--" * MANY,
        "<p" + " " * MANY * 10,
        "<p " + "a = " * MANY,
        "<span>" * 200 + "</div>" * MANY,
        "<ul></ul>" * (MANY // 5),
        "<select><option>" * MANY,
        "&amp" * MANY,
    ],
    ids=lambda page: page[:20],
)
def test_a_hostile_page_is_read_in_one_pass(page: str) -> None:
    assert read("text/html", f"<h1>Still</h1>{page}".encode()).title == "Still"


@pytest.mark.parametrize(
    "source",
    ["[" * MANY, "![" * MANY, "[a](" * MANY, "*a **b" * MANY, "<a " * MANY, "> " * MANY, "- " * MANY, "`" * MANY + " ` " * MANY,
     "&" * MANY, "[a]: /x\n" * (MANY // 10), "---\n" * (MANY // 10), "{ #" * MANY, "<div>\n\n" * (MANY // 20), "|" * MANY],
    ids=lambda source: source[:8],
)  # fmt: skip
def test_hostile_markdown_is_read(source: str) -> None:
    assert read("text/markdown", f"# Still\n\n{source}".encode()).title == "Still"


def test_marks_on_one_letter_do_not_stop_the_reader() -> None:
    assert read("text/plain", ("a" + "\u0301\u0323" * MANY).encode()).text


def test_a_long_document_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reading, reading_markdown, reading_pdf, texts):
        monkeypatch.setattr(module, "MAX_CHARACTERS", 1_000)
    for content_type in TYPES.values():
        text = read(content_type, b"Words that never end. " * 100)
        assert len(text.text) <= 1_000
        assert "only the first 1,000" in text.cut
    text = read("application/pdf", pdf(*["A page of words that never end.\n" * 20] * 5))
    assert len(text.text) <= 1_000
    assert text.cut


@pytest.mark.parametrize(
    "data",
    [
        pdf("bomb", drawn=b"\0" * 100_000_000),
        pdf("operands", drawn=b"1 " * 2_000_000),
        pdf("nested", drawn=b"[" * 200_000),
    ],
    ids=["inflates", "only numbers", "nested"],
)
def test_a_pdf_bomb_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        read("application/pdf", data)


def test_forms_that_draw_forms_come_to_an_end() -> None:
    uses = b" /Resources <</XObject <</A %d 0 R /B %d 0 R>> >>"
    doubling = [stream(b"/A Do /B Do", FORM + uses % (n, n)) for n in range(8, 34)]
    leaf = stream(shown("leaf"), FORM + b" /Resources <</Font <</F1 3 0 R>> >>")
    text = read("application/pdf", pdf("x", drawn=b"/X Do", resources=b"/XObject <</X 7 0 R>>", more=[*doubling, leaf]))
    assert text.text.count("leaf") < 10_000
