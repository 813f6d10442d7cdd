"""What is found in real texts, and that it is found again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.kit.analysis import SAMPLE, Analysis, analyse
from tasks.kit.languages import detect_language
from tasks.kit.phrases import key_phrases
from tasks.kit.reading import read
from tasks.kit.sentences import rank_sentences, split_sentences, summarise
from tasks.kit.texts import Text
from tasks.kit.words import count_words, terms

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/cases/documents"
TYPES = {".txt": "text/plain", ".md": "text/markdown", ".html": "text/html"}

LANGUAGES = {
    "biwako.txt": "ja",
    "dujiangyan.md": "zh",
    "library.txt": "en",
    "molino.html": "es",
    "moor.html": "de",
    "phare.txt": "fr",
    "tidepool.md": "en",
}


def read_case(name: str) -> Text:
    path = CASES / name
    return read(TYPES[path.suffix], path.read_bytes())


def places(analysis: Analysis, text: Text) -> list[int]:
    """Where in the text its sentences stand; -1 if one does not."""
    return [text.text.find(sentence) for sentence in analysis.sentences]


def assert_quotes_in_order(analysis: Analysis, text: Text) -> None:
    found = places(analysis, text)
    assert -1 not in found
    assert all(one < next_one for one, next_one in pairwise(found))


# --- whole documents ---


@pytest.mark.parametrize(("name", "language"), LANGUAGES.items())
def test_the_language_is_told(name: str, language: str) -> None:
    assert analyse(read_case(name)).language == language


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_summary_quotes_whole_sentences_in_their_order(name: str) -> None:
    text = read_case(name)
    analysis = analyse(text)
    assert len(analysis.sentences) == 3
    assert_quotes_in_order(analysis, text)
    assert all(sentence[-1] in ".!。" for sentence in analysis.sentences)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("biwako.txt", {"琵琶湖", "滋賀県", "ニゴロブナ"}),
        ("dujiangyan.md", {"都江堰", "水利工程", "成都平原", "岷江"}),
        ("library.txt", {"NIGHT LIBRARY", "Harrow Street", "Ada Quill", "book"}),
        ("molino.html", {"molino", "viento", "trigo", "Campo de Criptana"}),
        ("moor.html", {"Moore", "Wiedervernässung", "Torf"}),
        ("phare.txt", {"phare de Cordouan", "lentille de Fresnel", "Louis de Foix"}),
        ("tidepool.md", {"Tidepool", "pressure sensor", "tide recorder"}),
    ],
)
def test_the_key_phrases_name_what_the_text_is_about(name: str, expected: set[str]) -> None:
    found = analyse(read_case(name)).key_phrases
    assert len(found) == 8
    assert expected <= set(found)


def test_an_analysis_is_stored_as_json() -> None:
    found = analyse(read_case("dujiangyan.md"), sentences=2, phrases=3).as_dict()
    assert list(found) == ["title", "words", "language", "key_phrases", "summary"]
    assert found["title"] == "都江堰"
    assert len(found["key_phrases"]) == 3
    assert found["summary"].count("。") == 2
    assert " " not in found["summary"]
    assert json.loads(json.dumps(found)) == found


def test_the_answer_hangs_on_no_hash_seed() -> None:
    code = (
        "from tests.unit.test_analysis import *\n"
        "print(json.dumps([analyse(read_case(name), phrases=20).as_dict() for name in LANGUAGES]))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout
        for seed in ("0", "1", "4242")
    }  # fmt: skip
    assert len(answers) == 1
    assert json.loads(answers.pop()) == [analyse(read_case(name), phrases=20).as_dict() for name in LANGUAGES]


# --- short and long ---


@pytest.mark.parametrize(
    "sentence", ["The ferry leaves at nine.", "Wait", "今日は天気がいい。", "no full stop and no capital"]
)
def test_a_text_of_one_sentence_is_its_own_summary(sentence: str) -> None:
    assert analyse(Text("", sentence)).summary == sentence


@pytest.mark.parametrize("text", ["", "!!! ??? ...", "— — —"])
def test_a_text_without_words_has_none(text: str) -> None:
    found = analyse(Text("Untitled", text))
    assert (found.words, found.language, found.key_phrases) == (0, "und", ())


def test_nothing_is_given_if_nothing_is_asked_for() -> None:
    found = analyse(read_case("moor.html"), sentences=0, phrases=0)
    assert (found.sentences, found.key_phrases, found.summary) == ((), (), "")


def test_a_book_is_analysed_by_an_even_sample() -> None:
    harbours = ["The ferry from the northern islands brings letters and salt to the old harbour every week."] * 20_000
    mountains = ["A mountain railway carries wooden boxes of cheese down to the valley before the snow."] * 20_000
    text = Text("Journeys", "\n\n".join(harbours + mountains))
    assert len(text.text) > 30 * SAMPLE
    found = analyse(text)
    assert found.words == (16 + 15) * 20_000
    assert set(found.sentences) == {harbours[0], mountains[0]}
    assert any("ferry" in phrase for phrase in found.key_phrases)
    assert any("mountain railway" in phrase for phrase in found.key_phrases)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 2_000_000,
        "A " * 500_000,
        "「あ。い」" * 100_000,
        '"The lake. ' * 200_000,
        "1. " * 500_000,
        "a\n\n" * 300_000,
        "人工智能" * 200_000,
        "琵琶湖は" * 200_000,
        "http://a.b/c?d=e " * 50_000,
        "a-" * 500_000,
        "😀" * 500_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_texts_are_analysed(text: str) -> None:
    found = analyse(Text("Title", text))
    assert all(sentence in text for sentence in found.sentences)
    assert len(json.dumps(found.as_dict())) < 20_000


@settings(max_examples=50)
@given(st.text(max_size=300))
def test_any_text_can_be_analysed(text: str) -> None:
    found = analyse(Text("", text))
    assert all(sentence in text for sentence in found.sentences)
    assert found == analyse(Text("", text))


# --- words ---


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The ferry leaves at nine.", 5),
        ("Don't re-open well-known e.g. files", 5),
        ("Version 3.13 costs 3,50 €", 4),
        ("foo_bar() is C++", 3),
        ("東京に住む", 5),
        ("人工智能 AI", 5),
        ("コーヒー", 4),
        ("안녕하세요 세계", 2),
        ("नमस्ते दुनिया", 2),
        ("Привет, как дела?", 3),
        ("— … !", 0),
        ("", 0),
    ],
)
def test_words_are_counted_as_a_word_processor_does(text: str, words: int) -> None:
    assert count_words(text) == words


def test_texts_are_compared_by_words_or_pairs_of_characters() -> None:
    assert terms("The Ferry, again!") == ["the", "ferry", "again"]
    assert terms("琵琶湖の水") == ["琵琶", "琶湖", "湖の", "の水"]
    assert terms("水 ok") == ["水", "ok"]


# --- language ---


@pytest.mark.parametrize(
    "text", ["", "OK", "12345 67890", "asdf qwer zxcv", "https://example.com/x", "Longrun", "{}[]();"]
)
def test_a_text_too_short_or_odd_has_no_language(text: str) -> None:
    assert detect_language(text) == "und"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Wie geht es Ihnen heute?", "de"),
        ("This is one sentence.", "en"),
        ("今日は天気がいいです。", "ja"),
        ("人工智能是计算机科学的一个分支。", "zh"),
        ("안녕하세요 세계", "ko"),
        ("Hola, ¿cómo estás?", "es"),
        ("BITTE HALTEN SIE DIE TÜREN GESCHLOSSEN", "de"),
    ],
)
def test_a_sentence_is_often_enough(text: str, language: str) -> None:
    assert detect_language(text) == language


# --- key phrases ---


def test_key_phrases_say_nothing_twice() -> None:
    text = "The tide recorder writes tides. Tide recorders are old tide recorders. A new tide recorder is a good tide recorder."
    found = [phrase.lower() for phrase in key_phrases(text, "en")]
    assert sum("recorder" in phrase for phrase in found) == 1


@pytest.mark.parametrize(
    ("language", "text", "phrase"),
    [
        ("fr", "L'eau de mer est salée. On boit l'eau douce, et non l'eau de mer.", "eau de mer"),
        ("it", "L’emergenza climatica. Si parla dell’emergenza climatica.", "emergenza climatica"),
        ("en", "The operating system starts. An operating system needs memory.", "operating system"),
        ("en", "The EU and the UN met. The EU left.", "EU"),
        ("und", "Blorp frim zat. Blorp frim zat.", "Blorp frim zat"),
    ],
)
def test_key_phrases_are_as_one_would_say_them(language: str, text: str, phrase: str) -> None:
    assert phrase in key_phrases(text, language)


def test_key_phrases_are_words_one_can_read() -> None:
    text = f"The key {'ab12' * 20} opens the door. The key {'ab12' * 20} opens all doors. 12345 12345 12345"
    assert all(len(phrase) < 40 for phrase in key_phrases(text, "en"))
    assert not any("12" in phrase for phrase in key_phrases(text, "en"))


def test_key_phrases_do_not_reach_from_a_heading_into_the_text() -> None:
    text = "Deep Water\n\nGerman engineers built the harbour. German engineers repaired the harbour."
    assert not any("Water German" in phrase for phrase in key_phrases(text, "en", limit=20))


# --- sentences ---


@pytest.mark.parametrize(
    ("language", "text", "sentences"),
    [
        ("en", "Dr. Smith paid $3.50. It was late.", ["Dr. Smith paid $3.50.", "It was late."]),
        ("fr", "M. Dupont est là. Il attend.", ["M. Dupont est là.", "Il attend."]),
        ("de", "Am 3. Oktober kam er. Es war z. B. kalt.", ["Am 3. Oktober kam er.", "Es war z. B. kalt."]),
        ("ja", "琵琶湖は湖である。広い！深い？", ["琵琶湖は湖である。", "広い！", "深い？"]),
        ("und", "One. Two.", ["One.", "Two."]),
        ("en", "Heading\n\nText of it.", ["Heading", "Text of it."]),
        ("en", "1. First of all.", ["1. First of all."]),
        ("en", "", []),
    ],
)
def test_sentences_are_split(language: str, text: str, sentences: list[str]) -> None:
    assert split_sentences(text, language) == sentences


def test_the_sentence_that_the_others_speak_of_is_ranked_first() -> None:
    sentences = [
        "Bread is baked at night.",
        "The keeper counts the ships that pass the lighthouse.",
        "Ships pass slowly in fog.",
        "Every lighthouse has a keeper.",
    ]
    ranks = rank_sentences(sentences)
    assert ranks.index(max(ranks)) == 1
    assert ranks.index(min(ranks)) == 0
    assert sum(ranks) == pytest.approx(1)


def test_a_query_draws_the_ranks_towards_itself() -> None:
    sentences = ["Bread is baked at night.", "Ships pass the lighthouse.", "The lighthouse warns the ships."]
    assert rank_sentences(sentences, "When is bread baked?")[0] > rank_sentences(sentences)[0]


@pytest.mark.parametrize("sentences", [["One."], ["One.", "One."], ["", ""], ["a", "b"]])
def test_few_sentences_share_the_ranks(sentences: list[str]) -> None:
    assert rank_sentences(sentences) == [1 / len(sentences)] * len(sentences)


def test_no_sentences_have_no_ranks() -> None:
    assert rank_sentences([], "a query") == []


def test_a_summary_says_nothing_twice_and_asks_nothing() -> None:
    text = (
        "The ferry brings letters and salt to the islands. What does the ferry bring to the islands? "
        "The ferry brings salt and letters to the islands. In winter the ferry stays in the harbour for weeks. "
        "the ferry and a fragment of a sentence."
    )
    assert summarise(text, "en") == [
        "The ferry brings letters and salt to the islands.",
        "In winter the ferry stays in the harbour for weeks.",
    ]


def test_a_summary_leaves_headings_tables_and_formulas_alone() -> None:
    text = (
        "Ferries of the north\n\nThe ferry brings letters and salt to the islands.\n\nferry ships letters salt islands\n\n"
        "x = (ferry[0] + salt{1}) / islands; y = f(x);.\n\nIn winter the ferry stays in the harbour for weeks."
    )
    assert summarise(text, "en", query="Ferries") == [
        "The ferry brings letters and salt to the islands.",
        "In winter the ferry stays in the harbour for weeks.",
    ]
