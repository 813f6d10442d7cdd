"""The key phrases of a text: what it is about, in a few words each."""

# ruff: noqa: PLC0415 - the libraries would cost the API, which imports all tasks, a second
from __future__ import annotations

import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tasks.kit.languages import UNDETERMINED
from tasks.kit.words import word_pattern

if TYPE_CHECKING:
    from budoux import Parser


def key_phrases(text: str, language: str = UNDETERMINED, *, limit: int = 8) -> list[str]:
    """The phrases of up to three words that the text is about, the most telling first. The time grows with the text.

    A noun phrase is not told from others by grammar but by being repeated, by its capitals, and by having no stop words at
    its ends; so a verb may be among them, and in Korean a noun with its particle.
    """
    find_nouns = UNSPACED.get(language)
    found = _most_said(find_nouns(text)) if find_nouns else _distinct(_by_c_value(text, language))
    return list(islice(found, max(0, limit)))


def _by_c_value(text: str, language: str) -> Iterator[str]:
    said = _Said.in_text(text, language)
    for phrase in sorted(filter(said.is_phrase, said.times), key=said.value, reverse=True):
        yield _without_article(said.forms[phrase].most_common(1)[0][0])


_Phrase = tuple[str, ...]

#: A text with fewer candidates than this is so short that it may say nothing twice.
_FEW_PHRASES = 150


@dataclass(frozen=True)
class _Said:
    """What a text says: each run of up to three words, how often, how often as a name, in which forms, and how early."""

    times: Counter[_Phrase]
    named: Counter[_Phrase]
    forms: dict[_Phrase, Counter[str]]
    first: dict[_Phrase, int]
    longer: dict[_Phrase, list[int]]
    is_content: Callable[[str], bool]

    @classmethod
    def in_text(cls, text: str, language: str) -> _Said:
        said = cls(Counter(), Counter(), defaultdict(Counter), {}, defaultdict(list), _content_test(language))
        for place, run in enumerate(_runs(text)):
            for start, words in _phrases(run, said.is_content):
                phrase = tuple(map(_folded, words))
                said.times[phrase] += 1
                said.named[phrase] += (start > 0 or len(words) > 1) and said.is_name(words, language)
                said.forms[phrase][" ".join(words)] += 1
                said.first.setdefault(phrase, place)
        for phrase in filter(said.is_repeated, said.times):
            for part in _parts(phrase):
                said.longer[part].append(said.times[phrase])
        return said

    def is_name(self, words: list[str], language: str) -> bool:
        """Louis de Foix; but in German every noun has a capital, and "Pflanzen im Wasser" is no name."""
        return all(word[0].isupper() or (language != "de" and not self.is_content(word)) for word in words)

    def is_repeated(self, phrase: _Phrase) -> bool:
        return self.times[phrase] > 1

    def is_phrase(self, phrase: _Phrase) -> bool:
        """One word, or what was repeated; else a name, or what a short text has, as long as no part of it was repeated."""
        if len(phrase) == 1 or self.is_repeated(phrase):
            return True
        repeated = {len(part) for part in filter(self.is_repeated, _parts(phrase))}
        if self.named[phrase]:
            return not repeated - {1}
        return not repeated and len(self.times) < _FEW_PHRASES and all(map(self.is_content, phrase))

    def value(self, phrase: _Phrase) -> float:
        """How often it stands alone and not in longer ones, by its length; more for names, and for what is said early.

        C-value: Frantzi, Ananiadou and Mima 2000.
        """
        inside = self.longer.get(phrase, [0])
        alone = max(self.times[phrase] - sum(inside) / len(inside), 0.01)
        name = 1 + self.named[phrase] / self.times[phrase] / 2
        return math.log2(1 + len(phrase)) * alone * name / (1 + math.log10(1 + self.first[phrase]) / 2)


def _runs(text: str) -> Iterator[list[str]]:
    """The words of the text in runs without a mark or a line's end between them."""
    run: list[str] = []
    end = 0
    for match in word_pattern().finditer(text):
        if run and text[end : match.start()] != " ":
            yield run
            run = []
        run.append(match[0])
        end = match.end()
    yield run


def _phrases(run: list[str], is_content: Callable[[str], bool]) -> Iterator[tuple[int, list[str]]]:
    """Where up to three words begin and end with a word that says something: "lens", "lens of Fresnel"."""
    for start in range(len(run)):
        for end in range(start + 1, min(start + 4, len(run) + 1)):
            if is_content(run[start]) and is_content(run[end - 1]):
                yield start, run[start:end]


def _parts(phrase: _Phrase) -> Iterator[_Phrase]:
    """The shorter phrases within it."""
    for size in range(1, len(phrase)):
        for start in range(len(phrase) - size + 1):
            yield phrase[start : start + size]


def _content_test(language: str) -> Callable[[str], bool]:
    """Whether a word says something by itself, and does not only hold others together."""
    import stopwordsiso

    stop_words = stopwordsiso.stopwords(language) if stopwordsiso.has_lang(language) else frozenset()

    @functools.cache
    def is_content(word: str) -> bool:
        bare = _without_article(word).replace("’", "'")
        return (
            (bare.casefold() not in stop_words or bare.casefold() in _NO_STOP_WORDS)
            and any(map(str.isalpha, bare))
            and (2 < len(bare) < _LONGEST_WORD or (len(bare) == 2 and bare.isupper()))
            and not bare.endswith("니다")  # the ending of Korean verbs
        )

    return is_content


#: Good English nouns that the list has from search engines of the nineties.
_NO_STOP_WORDS = frozenset({"computer", "fire", "home", "information", "interest", "invention", "mill", "problem", "research",
                            "room", "state", "system", "text", "web", "website", "world"})  # fmt: skip

#: In characters. There are words without end: keys, hashes, pictures written as text.
_LONGEST_WORD = 40

_ARTICLE = re.compile(r"^(?:[cdjlmnst]|qu|dell|nell|all|dall|sull|un)['’](?=\w{2})", re.IGNORECASE)


def _without_article(phrase: str) -> str:
    """Without what French and Italian contract: l'eau, dell'acqua."""
    return _ARTICLE.sub("", phrase)


def _folded(word: str) -> str:
    """The same for a word, its capitals and its plural in -s."""
    word = _without_article(word).casefold()
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _chinese_nouns(text: str) -> Iterator[str]:
    """Nouns, names and what they make together: 都江堰, 水利工程."""
    import rjieba

    phrase: list[str] = []
    for word, kind in [*rjieba.tag(text), ("", "x")]:
        if kind[0] == "n" or kind in {"vn", "j", "l", "i", "eng"}:
            phrase.append(word)
        elif phrase:
            yield "".join(phrase[-3:])
            phrase = []


def _japanese_nouns(text: str) -> Iterator[str]:
    """Phrases without the particle or ending that they carry: 琵琶湖 of 琵琶湖の, 発生 of 発生した."""
    parser = _japanese_parser()
    for match in word_pattern().finditer(text):
        for phrase in parser.parse(match["run"]) if match["run"] else [match[0]]:
            yield _KANA_ENDING.sub("", phrase)


@functools.cache
def _japanese_parser() -> Parser:
    import budoux

    return budoux.load_default_japanese_parser()


_KANA_ENDING = re.compile("[\u3041-\u309f]+$")

#: Numbers, and verbs with endings inside.
_NO_PHRASE = re.compile("[0-9０-９一二三四五六七八九十百千万年月日約第]|.*[\u3041-\u309f]")

#: How key phrases are found where words are not spaced.
UNSPACED = {"zh": _chinese_nouns, "ja": _japanese_nouns}


def _most_said(phrases: Iterable[str]) -> list[str]:
    """By how often they are said, and the longer first: length is information."""
    counts = Counter(phrase for phrase in phrases if 2 <= len(phrase) <= 20 and not _NO_PHRASE.match(phrase))
    return sorted(counts, key=lambda phrase: -counts[phrase] * math.log2(1 + len(phrase)))


def _distinct(phrases: Iterable[str]) -> Iterator[str]:
    """Without those that say again what a better one says: a part of it, its plural, or the same two words and a third."""
    kept: list[list[str]] = []
    for phrase in phrases:
        words = phrase.casefold().split()
        if not any(sum(_is_among(word, better) for word in words) >= min(2, len(words)) for better in kept):
            kept.append(words)
            yield phrase


def _is_among(word: str, others: Iterable[str]) -> bool:
    """Whether it is one of them, but for an ending of one or two letters."""
    return any((word.startswith(it) or it.startswith(word)) and abs(len(word) - len(it)) <= 2 for it in others)
