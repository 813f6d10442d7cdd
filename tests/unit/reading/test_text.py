"""Plain text, and the characters of every text, whatever their charset."""

from __future__ import annotations

import pytest

from tasks.kit.reading import read
from tasks.kit.texts import UnknownCharset
from tests.unit.reading.cases import CASES, paragraphs, read_case


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
