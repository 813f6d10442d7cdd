"""Documents as they come: well made, badly made, and made to do harm."""

from __future__ import annotations

import importlib.util
import random
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterable
from io import BytesIO
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.kit import reading, reading_markdown, reading_pdf, texts
from tasks.kit.reading import read
from tasks.kit.texts import Corrupt, Empty, Encrypted, NoText, Text, UnknownCharset, UnknownType, Unreadable

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/cases/documents"
TYPES = {".txt": "text/plain", ".md": "text/markdown", ".html": "text/html"}
ALL_TYPES = (*TYPES.values(), "application/pdf")


def read_case(name: str) -> Text:
    path = CASES / name
    return read(TYPES[path.suffix], path.read_bytes())


def paragraphs(text: Text) -> list[str]:
    return text.text.split("\n\n")


# --- PDF files, by hand ---

FONT = b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding>>"


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


# --- plain text ---


def test_a_wrapped_paragraph_becomes_one_line() -> None:
    text = read_case("phare.txt")
    assert text.title == "Le phare de Cordouan"
    assert len(paragraphs(text)) == 5
    assert paragraphs(text)[1].startswith(
        "Le phare de Cordouan se dresse en pleine mer, à sept kilomètres de la côte, à l'entrée"
    )


def test_a_text_with_a_paragraph_a_line_keeps_them_apart() -> None:
    assert [line[:12] for line in paragraphs(read_case("library.txt"))] == [
        "THE NIGHT LI", "The library ", "The library ", '"A reader wh', "The ledgers ",
    ]  # fmt: skip


def test_japanese_lines_are_joined_without_a_space() -> None:
    text = read("text/plain", "琵琶湖は滋賀県に\nある日本最大の\n湖である。".encode())
    assert text.text == "琵琶湖は滋賀県にある日本最大の湖である。"


def test_items_of_a_list_stay_apart() -> None:
    text = read("text/plain", b"We need for the trip:\n- a boat that floats\n- a map of the sea\n2. and a cook too")
    assert len(paragraphs(text)) == 4


def test_a_text_without_a_title_is_called_by_its_first_words() -> None:
    title = read("text/plain", b"word " * 100).title
    assert title.startswith("word word")
    assert title.endswith("…")
    assert len(title) <= 120


# --- characters ---


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/plain", "utf-8"),
        ("text/plain", "utf-8-sig"),
        ("text/plain", "utf-16"),
        ("text/plain", "cp1252"),
        ("text/plain; charset=iso-8859-1", "iso-8859-1"),
        ('text/plain; format=flowed; Charset="UTF-16LE"', "utf-16-le"),
        ("Text/Plain;charset=windows-1252", "cp1252"),
        ("text/plain; charset=utf-16", "utf-8-sig"),  # the mark in the bytes knows better
    ],
)
def test_characters_are_read_whatever_their_charset(content_type: str, encoding: str) -> None:
    source = (CASES / "phare.txt").read_text("utf-8")
    assert read(content_type, source.encode(encoding)) == read_case("phare.txt")


def test_shift_jis_is_told_without_being_named() -> None:
    source = (CASES / "biwako.txt").read_text("utf-8")
    assert read("text/plain", source.encode("shift_jis")) == read_case("biwako.txt")


def test_a_page_names_its_own_charset() -> None:
    page = "<meta charset=iso-8859-2><title>Łódź</title><p>Miasto włókniarzy i artystów.</p>"
    assert read("text/html", page.encode("iso-8859-2")).title == "Łódź"


@pytest.mark.parametrize("charset", ["klingon", "zip", "unicode_escape", "base64", "x" * 5000])
def test_a_charset_that_nobody_knows_is_named(charset: str) -> None:
    with pytest.raises(UnknownCharset, match=charset[:40]) as error:
        read(f"text/plain; charset={charset}", b"Hello")
    assert len(str(error.value)) < 200


def test_a_text_that_is_not_of_its_charset_is_refused() -> None:
    with pytest.raises(UnknownCharset, match="not utf-8"):
        read("text/plain; charset=utf-8", "Grüße aus München".encode("cp1252"))


def test_one_broken_character_does_not_cost_the_text() -> None:
    whole = (CASES / "phare.txt").read_bytes()
    cut_inside_a_character = whole[: whole.index("é".encode()) + 1]
    assert read("text/plain", whole + cut_inside_a_character).title == "Le phare de Cordouan"


def test_text_is_clean_of_what_is_not_text() -> None:
    messy = "Deﬁnition of a soft\u00adhyphen\x07 and a no\u00a0break.\u200b Mu\u0308nchen.\x00"
    assert read("text/plain", messy.encode()).text == "Definition of a softhyphen and a no break. München."


# --- Markdown ---


def test_markdown_gives_its_prose() -> None:
    text = read_case("tidepool.md")
    assert text.title == "Tidepool"
    assert text.text.startswith(
        "Tidepool\n\nRecords what the sea does, four times a minute.\n\nTidepool is a small program"
    )
    assert "Install the program with the package manager of your system:" in paragraphs(text)  # a link keeps its words
    assert "Start tidepool, and wait for the first reading." in paragraphs(text)  # and so does code in a sentence


def test_markdown_leaves_out_code_tables_and_pictures() -> None:
    text = read_case("tidepool.md").text
    for left_out in ("sudo apt", "everything", "KX-9", "Price", "badge", "Logo", "layout", "**", "](", "```", "<p"):
        assert left_out not in text


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("Intro first.\n\n## A *late* heading\n\nText.", "A late heading"),
        ('---\ntitle: "From the front"\n---\n# Heading\n\nText.', "From the front"),
        ('<h1 align="center">In a tag</h1>\n\nText.', "In a tag"),
        ("Setext\n======\n\nText.", "Setext"),
        ("# With an anchor { #anchor }\n\nText.", "With an anchor"),
        ("```\n# a comment\n```\n\nOnly text.", "Only text."),
    ],
)
def test_markdown_is_called_by_its_first_heading(source: str, title: str) -> None:
    assert read("text/markdown", source.encode()).title == title


def test_a_long_markdown_is_read_piece_by_piece_and_code_stays_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_markdown, "_PIECE", 50)
    source = "Some words to begin with.\n\n```\n" + "code\n\n" * 15 + "```\n\nSome words to end with.\n"
    assert read("text/markdown", source.encode()).text == "Some words to begin with.\n\nSome words to end with."


# --- HTML ---


def test_a_page_gives_its_article() -> None:
    text = read_case("moor.html")
    assert text.title == "Moore speichern mehr Kohlenstoff als Wälder"  # the heading, without the site's name
    assert "doch sie speichern mehr Kohlenstoff als alle Wälder zusammen. In einem Moor stehen" in text.text
    assert "Auf nassen Flächen können Schilf und Rohrkolben geerntet werden." in paragraphs(text)


def test_a_page_gives_neither_its_navigation_nor_its_code() -> None:
    text = read_case("moor.html").text
    for left_out in (
        "Startseite",
        "Abonnement",
        "Radwege",
        "Impressum",
        "tracking",
        "Skript",
        "color",
        "pegel",
        "Rechte",
    ):
        assert left_out not in text


def test_an_old_page_is_read_by_the_names_of_its_parts() -> None:
    text = read_case("molino.html")
    assert text.title == "El molino de viento"
    assert text.text.startswith("El molino de viento de la Mancha")
    assert text.text.endswith("en las fiestas.")


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<p>Only a paragraph.", "Only a paragraph."),
        ("No tag at all.", "No tag at all."),
        ("<pre>Request for Comments: 1\n\nHost Software</pre>", "Request for Comments: 1\n\nHost Software"),
        ("<p>one<br>two</p>", "one\n\ntwo"),
        ("<p>half<b>bold</b>word &lt;tag&gt; &amp; more</p>", "halfboldword <tag> & more"),
        ("<svg/><p>After a picture.</p>", "After a picture."),
        ("<P CLASS='a>b' data-x=\"<p>no</p>\">Shouted.</P>", "Shouted."),
        ("<!-- <p>no</p> --><p>After a comment.</p>", "After a comment."),
        ("<p hidden>no</p><p style='display:none'>no</p><p>Seen.</p>", "Seen."),
    ],
)
def test_what_is_written_on_a_page_is_read(page: str, expected: str) -> None:
    assert read("text/html", page.encode()).text == expected


# --- PDF ---

STORY = """The Night Train
The train leaves the coast at nine in the evening and climbs all night. It
stops at every station, for the mail as much as for the passengers, and exam-
ines none of their tickets.
Nobody knows who drives it."""


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


# --- what is no document ---


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


# --- what was made to do harm: without a guard most of these take minutes, hours, or all memory ---

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


# --- the rest of the house ---


def test_reading_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a parser wants to use the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    read("text/html", b'<html><base href="http://example.com"><link rel=stylesheet href=x.css><img src=y.png><p>Text.')
    for path in CASES.iterdir():
        read_case(path.name)


@pytest.mark.parametrize("module", ["reading", "analysis"])
def test_a_task_module_costs_nothing_to_import(module: str) -> None:
    spec = importlib.util.find_spec(f"tasks.kit.{module}")
    assert spec
    code = f"import runpy, sys; runpy.run_path({spec.origin!r}); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    heavy = {
        "pypdf",
        "resiliparse",
        "markdown_it",
        "numpy",
        "networkx",
        "yake",
        "py3langid",
        "sentencex",
        "rjieba",
        "regex",
    }
    assert not heavy & set(loaded)
