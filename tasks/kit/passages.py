"""Texts in passages, and which of them bear on a question. Nothing here is a task.

The ranking is BM25 by tantivy, over stems of words; Chinese and Japanese, which do not space their words, over characters.
It is imported when it is needed, so this module costs nothing to import.
"""

# ruff: noqa: PLC0415  # libraries are imported where they are needed: the API imports all tasks

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tantivy

#: About how long a passage is, in characters: a few sentences, enough to be understood alone.
LENGTH = 800

#: The most words of a question that are looked for.
MOST_WORDS = 200

_PARAGRAPH = re.compile(r"\S.*")
_SENTENCE_END = re.compile(r"[。！？]|[.!?…][\"'”’»)\]]*(?=\s)")
_NOT_BLANK = re.compile(r"\S")
_WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\p{L}\p{N}\p{M}--[\p{Han}\p{Hiragana}\p{Katakana}]]+"
#: What a question is asked with, and not about; besides those that tantivy knows for English.
_ASKING = "how what which who whom whose where when why do does did can could should would has have had i me my we our you your"
#: What tantivy may use while it builds an index, in bytes; it takes no less.
_HEAP = 15_000_000


def passages(text: str, length: int = LENGTH) -> list[str]:
    """The text in passages of at most `length` characters, each as it stands there.

    A passage is some whole paragraphs, or some sentences of one that is too long.
    """
    found: list[str] = []
    start = end = 0
    for first, last in _pieces(text, length):
        if end and last - start > length:
            found.append(text[start:end])
            end = 0
        start, end = (start if end else first), last
    return [*found, text[start:end]] if end else found


def _pieces(text: str, length: int) -> Iterator[tuple[int, int]]:
    """Where paragraphs, or parts of long ones, begin and end."""
    for paragraph in _PARAGRAPH.finditer(text):
        first, last = paragraph.start(), paragraph.end()
        while last - first > length:
            cut = _cut(text, first, first + length)
            yield first, cut
            following = _NOT_BLANK.search(text, cut, last)
            first = following.start() if following else last
        if last > first:
            yield first, last


def _cut(text: str, first: int, most: int) -> int:
    """Where to cut: after the last sentence that ends before `most`, else after the last word, else right there."""
    ends = [found.end() for found in _SENTENCE_END.finditer(text, first, most)]
    if ends:
        return ends[-1]
    word = text.rfind(" ", first + 1, most)
    return word if word > first else most


class Index:
    """Passages that can be searched."""

    def __init__(self, texts: Sequence[str]) -> None:
        import tantivy

        fields = tantivy.SchemaBuilder()
        fields.add_text_field("text", tokenizer_name="stems", index_option="freq")
        fields.add_unsigned_field("number", stored=True)
        self._schema = fields.build()
        self._stems = _stems()
        self._index = tantivy.Index(self._schema)
        self._index.register_tokenizer("stems", self._stems)
        writer = self._index.writer(heap_size=_HEAP, num_threads=1)
        for number, text in enumerate(texts):
            writer.add_document(tantivy.Document(text=text, number=number))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()

    def best(self, question: str, most: int) -> list[tuple[int, float]]:
        """The numbers of the passages that share words with the question, and their scores, the best first."""
        import tantivy

        words = list(dict.fromkeys(self._stems.analyze(question)))[:MOST_WORDS]
        terms = [tantivy.Query.term_query(self._schema, "text", word, "freq") for word in words]
        any_of_them = tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])
        searcher = self._index.searcher()
        return [(_number(searcher, place), float(score)) for score, place in searcher.search(any_of_them, most).hits]


def _stems() -> tantivy.TextAnalyzer:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    words = TextAnalyzerBuilder(Tokenizer.regex(_WORD)).filter(Filter.remove_long(80)).filter(Filter.lowercase())
    telling = words.filter(Filter.stopword("english")).filter(Filter.custom_stopword(_ASKING.split()))
    return telling.filter(Filter.stemmer("english")).build()


def _number(searcher: tantivy.Searcher, place: Any) -> int:
    return int(searcher.doc(place)["number"][0])


def best_passages(texts: Sequence[str], question: str, most: int) -> list[str]:
    """The texts that bear on the question most, in their own order; the first ones if none does."""
    numbers = sorted(number for number, _ in Index(texts).best(question, most))
    return [texts[number] for number in numbers] or list(texts[:most])
