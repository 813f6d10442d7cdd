"""What a text is about: its language, its key phrases, and the sentences that carry it. Nothing here is a task.

py3langid tells the language and sentencex the sentences; where words are not spaced, Jieba and BudouX tell them. All bring
what they need with them. The ranking of sentences (LexRank) and of phrases (C-value) is written here: the libraries that
have it want a download, a hundred megabytes, or a licence that a service cannot give (YAKE is under the AGPL). Each library
is imported when it is needed, so this module costs nothing to import.

The same text gives the same answer, always. Words are counted in the whole text; the rest is found in a sample of at most
SAMPLE characters, for a longer text whole paragraphs taken evenly from all of it. So no text takes more than a few seconds.
"""

# ruff: noqa: PLC0415 - the libraries would cost the API, which imports all tasks, a second
from __future__ import annotations

import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from budoux import Parser
    from numpy.typing import NDArray

    from tasks.kit.reading import Text

#: How much of a text is analysed, in characters: about thirty pages.
SAMPLE = 100_000

#: How many sentences are ranked, evenly taken: the work is the square of their number.
MOST_SENTENCES = 600

#: ISO 639-2's code for a language that is undetermined.
UNDETERMINED = "und"

#: Below this a language is a guess. Of two thousand texts in eight languages none that was above it was told wrong.
_SURE = 0.5

#: How much of the sample the language is told from, in characters; more makes it no surer.
_TELLING = 4_000


@dataclass(frozen=True)
class Analysis:
    """What was found. `language` is an ISO 639-1 code or "und"; `sentences` stand in the text as they stand here."""

    title: str
    words: int
    language: str
    key_phrases: tuple[str, ...]
    sentences: tuple[str, ...]

    @property
    def summary(self) -> str:
        return ("" if self.language in _UNSPACED else " ").join(self.sentences)

    def as_dict(self) -> dict[str, Any]:
        """What is stored as JSON."""
        return {
            "title": self.title,
            "words": self.words,
            "language": self.language,
            "key_phrases": list(self.key_phrases),
            "summary": self.summary,
        }


def analyse(text: Text, *, sentences: int = 3, phrases: int = 8) -> Analysis:
    """What `text` is about, in at most so many sentences and key phrases."""
    sample = _sample(text.text, SAMPLE)
    language = detect_language(sample)
    return Analysis(
        title=text.title,
        words=count_words(text.text),
        language=language,
        key_phrases=tuple(key_phrases(sample, language, limit=phrases)),
        sentences=tuple(summarise(sample, language, query=text.title, limit=sentences)),
    )


# --- words ---


#: Chinese characters and Japanese kana.
_UNSPACED_CHARACTER = re.compile(
    "[々〇\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)


def count_words(text: str) -> int:
    """The number of words, as word processors count: what stands between spaces, and each Chinese or Japanese character.

    Other scripts without spaces (Thai, Khmer, Lao, Burmese) are counted by their phrases, so too low.
    """
    spaced, characters = _UNSPACED_CHARACTER.subn(" ", text)
    return characters + sum(any(map(str.isalnum, word)) for word in spaced.split())


def terms(text: str) -> list[str]:
    """What a text can be compared by: words without their case, and pairs of characters where words are not spaced."""
    found: list[str] = []
    for match in _words().finditer(text):
        run = match["run"]
        if not run:
            found.append(match[0].casefold())
        else:
            found.extend(run[i : i + 2] for i in range(max(1, len(run) - 1)))
    return found


@functools.cache
def _words() -> Any:
    """Finds runs of characters without spaces, and words. Python's own \\w would break Hindi words at their vowels."""
    import regex  # type: ignore[import-untyped]

    unspaced = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
    word = rf"[[\p{{L}}\p{{N}}]--[{unspaced}]][[\p{{L}}\p{{N}}\p{{M}}_]--[{unspaced}]]*+"
    return regex.compile(rf"(?P<run>[{unspaced}]++)|{word}(?:['’.\-]{word})*+", regex.VERSION1)


# --- language ---


def detect_language(text: str) -> str:
    """The ISO 639-1 code of the text's language, or "und" for a text too short or too odd to tell."""
    language, confidence = _identifier().classify(_sample(text, _TELLING))
    return language if confidence >= _SURE and len(language) == 2 else UNDETERMINED


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # with "zxx", no language at all, but without those that ISO 639-1 has no code for: they draw texts from their neighbours
    identifier.set_languages([label for label in identifier.labels if len(label) == 2 or label == "zxx"])
    return identifier


# --- key phrases ---


def key_phrases(text: str, language: str = UNDETERMINED, *, limit: int = 8) -> list[str]:
    """The phrases of up to three words that the text is about, the most telling first. The time grows with the text.

    A noun phrase is not told from others by grammar but by being repeated, by its capitals, and by having no stop words at
    its ends; so a verb may be among them, and in Korean a noun with its particle.
    """
    find_nouns = _UNSPACED.get(language)
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
    for match in _words().finditer(text):
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
    for match in _words().finditer(text):
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
_UNSPACED = {"zh": _chinese_nouns, "ja": _japanese_nouns}


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


# --- sentences ---

#: Paragraphs are split in pieces of so many characters, at the end of a sentence if there is one: quotation marks that never
#: close cost the splitter the square of what follows.
_PIECE = re.compile(r".{1,5000}(?:[。！？]|[.!?…](?=\s)|$)|.{1,5000}", re.DOTALL)

#: The end of a sentence that states something; headings, list items and rows of tables have none, and questions none to give.
_STATED = re.compile(r"""[.!…。！।]["'”’»«“」』）)\]]*$""")


def split_sentences(text: str, language: str = UNDETERMINED) -> list[str]:
    """The sentences, each as it stands in the text; a heading counts as one. Rules for English serve unknown languages."""
    return [sentence for piece in _pieces(text) for sentence in _sentences(piece, language) if sentence]


def _sentences(piece: str, language: str) -> Iterator[str]:
    import sentencex  # type: ignore[import-untyped]

    sentence = ""
    for part in sentencex.segment(language, piece):
        sentence += part
        if not re.fullmatch(r"\s*\w{1,2}\.\s*", sentence):  # "M." or "1." begins a sentence and is none
            yield sentence.strip()
            sentence = ""
    yield sentence.strip()


def _pieces(text: str) -> list[str]:
    paragraphs = filter(None, map(str.strip, text.split("\n\n")))
    return [
        piece
        for paragraph in paragraphs
        for piece in (_PIECE.findall(paragraph) if len(paragraph) > 5_000 else [paragraph])
    ]


def _sample(text: str, limit: int) -> str:
    """The text, or as many of its paragraphs as fit, the first one and others evenly from the rest."""
    if len(text) <= limit:
        return text
    taken: list[str] = []
    size = seen = 0
    for piece in _pieces(text):
        if size * len(text) <= seen * limit and size + len(piece) <= limit:
            taken.append(piece)
            size += len(piece) + 2
        seen += len(piece) + 2
    return "\n\n".join(taken) or text[:limit]


#: What is longer, in characters, is not read as one sentence.
_LONGEST = 500

#: The share of a sentence that is in words, at least. Formulas, code and tables are made of signs.
_SPOKEN = 0.85


def summarise(text: str, language: str = UNDETERMINED, *, query: str = "", limit: int = 3) -> list[str]:
    """The sentences that carry the text, in its order. With a query (such as its title), those that bear on it more.

    A text without whole sentences gives of what it has, cut at five hundred characters.
    """
    everything = dict.fromkeys(sentence[:_LONGEST] for sentence in split_sentences(text, language))
    candidates = _evenly([*filter(_is_quotable, everything)] or [*everything], MOST_SENTENCES)
    scores = rank_sentences(candidates, query)
    chosen: list[int] = []
    for index in sorted(range(len(candidates)), key=lambda index: -scores[index]):
        if len(chosen) >= limit:
            break
        if not any(_overlap(candidates[index], candidates[other]) > 0.6 for other in chosen):
            chosen.append(index)
    return [candidates[index] for index in sorted(chosen)]


def rank_sentences(sentences: Sequence[str], query: str = "") -> list[float]:
    """How central each sentence is to all of them, by LexRank; the sum is 1. A query draws the ranks towards itself.

    Erkan and Radev 2004, continuous; biased as by Otterbacher, Erkan and Radev 2009. The work is the square of the number.
    """
    import numpy as np

    if not sentences:
        return []
    vectors = _vectors([*sentences, query])
    similarity = vectors[:-1] @ vectors[:-1].T
    np.fill_diagonal(similarity, 0)
    transition = similarity / np.maximum(similarity.sum(axis=1, keepdims=True), 1e-12)
    nearness = vectors[:-1] @ vectors[-1]
    start = 1 / len(sentences) + nearness / (nearness.sum() or 1)
    start /= start.sum()
    ranks = start
    for _ in range(_ROUNDS):
        ranks = (1 - _DAMPING) * start + _DAMPING * (ranks @ transition)
        ranks /= ranks.sum()  # a sentence that is like no other has nobody to pass its rank to
    # rounded, so that equal sentences are equal on any processor
    return [round(rank, 9) for rank in ranks.tolist()]


#: As in PageRank; thirty rounds leave less than a hundredth of the first guess.
_DAMPING, _ROUNDS = 0.85, 30


def _vectors(texts: Sequence[str]) -> NDArray[np.float64]:
    """A row of length 1 for each text, its terms weighted by how few of the texts have them."""
    import numpy as np

    counts = [Counter(terms(text)) for text in texts]
    spread = Counter(term for count in counts for term in count)
    weights = {term: math.log((len(texts) + 1) / times) for term, times in spread.items()}
    columns = {term: column for column, term in enumerate(term for term, times in spread.items() if times > 1)}
    matrix = np.zeros((len(texts), len(columns)))
    for row, count in enumerate(counts):
        # the length is of all terms; those that no other text has need no column, for they meet nothing
        length = math.sqrt(sum((times * weights[term]) ** 2 for term, times in count.items())) or 1
        for term, times in count.items():
            if term in columns:
                matrix[row, columns[term]] = times * weights[term] / length
    return matrix


def _is_quotable(sentence: str) -> bool:
    """Whether it is a whole statement in words, neither too short to say something nor too long to be read."""
    words = [*_words().finditer(sentence)]
    in_words = sum(len(word[0]) for word in words)
    size = len(sentence) + sum(len(word["run"] or "") for word in words)  # a character of Chinese says as much as two
    spoken = in_words >= _SPOKEN * len("".join(sentence.split()))
    return bool(25 <= size < _LONGEST and spoken and _STATED.search(sentence) and not sentence[0].islower())


def _overlap(one: str, other: str) -> float:
    """The share of terms that two sentences have in common."""
    a, b = set(terms(one)), set(terms(other))
    return len(a & b) / (len(a | b) or 1)


def _evenly(items: Sequence[str], limit: int) -> list[str]:
    return [items[i * len(items) // limit] for i in range(limit)] if len(items) > limit else list(items)
