"""Markdown and HTML give their titles and their prose, and nothing else."""

from __future__ import annotations

import pytest

from tasks.kit import reading_markdown
from tasks.kit.reading import read
from tests.unit.reading.cases import paragraphs, read_case


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
