"""Answers made of sentences that stand in the sources: what works where no language model is configured.

Sentences are ranked by BM25 against the question's words, by how many of these they have, and by how central they are to all
sentences (LexRank); repetitions are left out. A source with a number is cited behind its sentences, as `[3]`. Everything is
deterministic. How a prompt is read for its question and sources is told in tasks/kit/prompts.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.kit.languages import detect_language
from tasks.kit.passages import Index, passages
from tasks.kit.prompts import Source, one_line, unwrapped
from tasks.kit.sentences import rank_sentences, split_sentences
from tasks.kit.words import terms

#: Sentences of an answer.
MOST_SENTENCES = 5
#: Passages that are looked at; of longer material, those that bear on the question.
MOST_PASSAGES = 60
#: Sentences that are ranked: the work grows with the square of their number.
MOST_CANDIDATES = 400
#: The least score of a sentence, as a share of the best one's.
WORTH = 0.45
#: Words of a question that are looked for.
MOST_WORDS = 40

NOTHING = (
    "There is nothing to select an answer from: no source, document or page was given or found. "
    "(No language model is configured; answers are made of sentences from sources.)"
)
NO_MATCH = "No sentence of the sources shares a word with the question. The most central ones are:"

_MARK = re.compile(r"^(?:[-*•#>]+|\d{1,3}[.)])\s+")
_STATED = re.compile(r"""[.!…。！।]["'”’»«“」』）)\]]*$""")

#: What the answer to a question of that kind holds: a name, or a number.
_KINDS = (
    (r"(?i)\b(?:who|whose|whom)\b", r"(?<![.!?] )\b[A-Z][a-z]+"),
    (
        r"(?i)\b(?:when|which year|how (?:many|much|long|far|old|often|large|high))\b",
        r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|hundred|thousand|million|once|twice)\b",
    ),
)

#: Words that say what to do or hold a sentence together, and nothing of what it is about.
_EMPTY = frozenset(
    re.findall(
        r"[a-z]+",
        """a about above after again all also am an and any are as at be been before being below between both but by can could
        did do does doing down during each few for from further had has have having he her here hers him his how i if in into is
        it its just long many me more most much my no nor not now of off on once only or other our out over own same she should
        so some such than that the their them then there these they this those through to too under until up us very was we were
        what when where which while who whom whose why will with would you your

        answer answers article articles based brief briefly cite cited cites compare context describe detail details discuss
        document documents explain find following give given hello hi information list main make mention mentioned page pages
        paragraph passage please point points provide question report say says sentence sentences show source sources summarise
        summarised summarize summarized summary tell text texts thanks topic use using write""",
    )
)


@dataclass(frozen=True)
class Selected:
    """A sentence as it stands in its source."""

    sentence: str
    source: Source

    @property
    def cited(self) -> str:
        return f"{self.sentence} [{self.source.number}]" if self.source.number else self.sentence


def key_words(question: str) -> str:
    """The question's words that say what it is about, in its order; none if it only says what to do."""
    words = re.findall(r"[^\s,;:!?()\"“”«»<>]+", question)
    return " ".join([*dict.fromkeys(word.rstrip(".") for word in words if not set(terms(word)) <= _EMPTY)][:MOST_WORDS])


@dataclass(frozen=True)
class Selection:
    """`bears` says whether the sentences share a word with the question, or nothing in particular was asked."""

    sentences: tuple[Selected, ...]
    bears: bool


def select(question: str, sources: Sequence[Source], most: int = MOST_SENTENCES) -> Selection:
    """The sentences that answer best, the best first; if nothing in particular is asked, in the order of the sources."""
    words = key_words(question)
    candidates = _candidates(words, sources)
    scores, bears = _scores(question, words, [candidate.sentence for candidate in candidates])
    kept: list[int] = []
    for number in sorted(scores, key=lambda number: (-scores[number], number)):
        if len(kept) < most and not any(_is_repeated(candidates[number], candidates[other]) for other in kept):
            kept.append(number)
    return Selection(tuple(candidates[number] for number in (kept if words else sorted(kept))), bears)


def _candidates(words: str, sources: Sequence[Source]) -> list[Selected]:
    pieces = [(passage, source) for source in dict.fromkeys(sources) for passage in passages(unwrapped(source.text))]
    if len(pieces) > MOST_PASSAGES:
        best = Index([passage for passage, _ in pieces]).best(words, MOST_PASSAGES)
        numbers = sorted(number for number, _ in best) or _evenly(len(pieces), MOST_PASSAGES)
        pieces = [pieces[number] for number in numbers]
    language = detect_language("\n".join(passage for passage, _ in pieces))
    found = {
        sentence: Selected(sentence, source)
        for passage, source in reversed(pieces)
        for sentence in reversed([_MARK.sub("", one_line(part)) for part in split_sentences(passage, language)])
        if sentence
    }
    everything = [*reversed(found.values())]
    stated = [it for it in everything if _STATED.search(it.sentence) and 25 <= len(it.sentence) <= 500]
    usable = stated or everything
    return [usable[number] for number in _evenly(len(usable), MOST_CANDIDATES)]


def _scores(question: str, words: str, sentences: Sequence[str]) -> tuple[dict[int, float], bool]:
    """By number, for those that come into question: the ones that share most with it, or all if none shares a word."""
    if not sentences:
        return {}, False
    central = rank_sentences(sentences, words)
    index = Index(sentences)
    shared = dict(index.best(words, len(sentences))) if words else {}
    if not shared:
        return dict(enumerate(central)), not words
    covered = _coverage(words.split(), sentences, index)
    kind = next((re.compile(form) for asking, form in _KINDS if re.search(asking, question)), None)
    best, most = max(shared.values()), max(central) or 1
    scores = {
        number: 0.35 * score / best
        + 0.45 * covered[number]
        + 0.2 * central[number] / most
        + (0.15 if kind and kind.search(sentences[number], 1) else 0)
        for number, score in shared.items()
    }
    enough = WORTH * max(scores.values())
    return {number: round(score, 9) for number, score in scores.items() if score >= enough}, True


def _coverage(words: Sequence[str], sentences: Sequence[str], index: Index) -> list[float]:
    """The share of the words that occur at all which each sentence has: BM25 lets one rare word outweigh all others.

    A word in another form counts less, and one of the sentence before still less: "It was founded in 1931" goes on from there.
    """
    said = [set(terms(sentence)) for sentence in sentences]
    totals, known = [0.0] * len(sentences), 0
    for word in words:
        stems = {number for number, _ in index.best(word, len(sentences))}
        exact = {number for number in stems if set(terms(word)) & said[number]}
        known += bool(stems)
        for number in range(len(sentences)):
            totals[number] += 1 if number in exact else 0.7 if number in stems else 0.4 if number - 1 in stems else 0
    return [total / (known or 1) for total in totals]


def _is_repeated(one: Selected, other: Selected) -> bool:
    a, b = set(terms(one.sentence)), set(terms(other.sentence))
    return len(a & b) > 0.6 * len(a | b)


def _evenly(count: int, most: int) -> list[int]:
    return [number * count // most for number in range(most)] if count > most else [*range(count)]


def answer(question: str, sources: Sequence[Source], most: int = MOST_SENTENCES) -> list[str]:
    """An answer in pieces, which belong together without anything between them. It says so if there is nothing to select."""
    return worded(select(question, sources, most))


def worded(selection: Selection) -> list[str]:
    """The sentences with their citations, and a warning before them if they answer nothing."""
    if not selection.sentences:
        return [NOTHING]
    pieces = [selected.cited for selected in selection.sentences]
    pieces = pieces if selection.bears else [NO_MATCH, *pieces]
    return [pieces[0], *(f" {piece}" for piece in pieces[1:])]
