"""Answers made of sentences that stand in the sources: what works where no language model is configured.

A prompt is read for its question and its sources. A source stands between tags, `<source id="3" title="…">…</source>`
(or document, passage, page, context, text, excerpt), in a fenced block, or in lines that begin with `>`; the question is what
is left, or what stands in `<question>…</question>` or behind `Question:`. Of a long prompt without any such sign, the
sentences that ask are the question, and the others the source.

Sentences are ranked by BM25 against the question's words and by how central they are to all of them (LexRank); repetitions are
left out. A source with a number is cited behind its sentences, as `[3]`. Everything is deterministic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.analysis import detect_language, rank_sentences, split_sentences, terms
from tasks.passages import Index, passages

#: Sentences of an answer.
MOST_SENTENCES = 5
#: Passages that are looked at; of longer material, those that bear on the question.
MOST_PASSAGES = 60
#: Sentences that are ranked: the work grows with the square of their number.
MOST_CANDIDATES = 400
#: The least score of a sentence, as a share of the best one's.
WORTH = 0.45
#: A prompt of more words than this, with no sign of what is a source, holds its own source.
LONG = 80

NOTHING = (
    "There is nothing to select an answer from: no source, document or page was given or found. "
    "(No language model is configured; answers are made of sentences from sources.)"
)
NO_MATCH = "No sentence of the sources shares a word with the question. The most central ones are:"

_SOURCE = re.compile(
    r"<(?P<tag>source|document|passage|page|context|text|excerpt)\b(?P<named>[^>]*)>(?P<text>.*?)</(?P=tag)\s*>",
    re.DOTALL | re.IGNORECASE,
)
_FENCED = re.compile(r"^(?P<fence>```|~~~|\"\"\")[^\n]*\n(?P<text>.*?)^(?P=fence)[ \t]*$", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"(?:^>[^\n]*(?:\n|\Z))+", re.MULTILINE)
_NUMBER = re.compile(r"""\b(?:id|number|index|n)\s*=\s*["']?(\d+)""", re.IGNORECASE)
_ASKED = re.compile(r"<(?P<tag>question|query|topic)\b[^>]*>(?P<text>.*?)</(?P=tag)\s*>", re.DOTALL | re.IGNORECASE)
_LABELLED = re.compile(r"^\s*(?:question|query|topic)\s*:\s*(?P<text>\S.*)$", re.IGNORECASE | re.MULTILINE)
#: The end of a line that was only broken to fit a page: what follows goes on, and is no item, heading or row.
_WRAPPED = re.compile(r"(?<=[^\n])[ \t]*\n[ \t]*(?![ \t]*(?:[-*•#>|]|\d{1,3}[.)]|\n|$))")
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
class Source:
    """Something to select from. `number` is what it is cited by, "" for none."""

    text: str
    number: str = ""


@dataclass(frozen=True)
class Asked:
    """A prompt, read."""

    question: str
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Selected:
    """A sentence as it stands in its source."""

    sentence: str
    source: Source

    @property
    def cited(self) -> str:
        return f"{self.sentence} [{self.source.number}]" if self.source.number else self.sentence


def read_prompt(prompt: str) -> Asked:
    """What a prompt asks, and the sources that it quotes."""
    sources: list[Source] = []

    def take(found: re.Match[str]) -> str:
        named = _NUMBER.search(found.groupdict().get("named") or "")
        text = found["text"] if "text" in found.groupdict() else re.sub(r"(?m)^> ?", "", found[0])
        if text.strip():
            sources.append(Source(text.strip(), named[1] if named else ""))
        return "\n"

    rest = prompt
    for form in (_SOURCE, _FENCED, _BLOCK):
        rest = form.sub(take, rest)
    if asked := _ASKED.search(rest) or _LABELLED.search(rest):
        return Asked(_line(asked["text"]), tuple(sources))
    if not sources and len(rest.split()) > LONG:
        return _read_long(rest)
    return Asked(_line(rest), tuple(sources))


def _read_long(prompt: str) -> Asked:
    sentences = [sentence for sentence in split_sentences(prompt) if sentence]
    asking = [sentence for sentence in sentences if sentence.endswith(("?", ":", "？", "："))] or sentences[:1]
    text = prompt
    for sentence in asking:
        text = text.replace(sentence, "", 1)
    return Asked(_line(" ".join(asking)), (Source(text.strip()),))


def _line(text: str) -> str:
    return " ".join(text.split())


def key_words(question: str) -> str:
    """The question's words that say what it is about, in its order; none if it only says what to do."""
    words = re.findall(r"[^\s,;:!?()\"“”«»<>]+", question)
    return " ".join(dict.fromkeys(word.rstrip(".") for word in words if not set(terms(word)) <= _EMPTY))


def matches(question: str, sources: Iterable[Source]) -> bool:
    """Whether any source shares a word with what the question is about."""
    return bool(Index([source.text for source in sources]).best(key_words(question), 1))


def select(question: str, sources: Sequence[Source], most: int = MOST_SENTENCES) -> list[Selected]:
    """The sentences that answer best, the best first; if nothing in particular is asked, in the order of the sources."""
    candidates = _candidates(question, sources)
    scores = _scores(question, [candidate.sentence for candidate in candidates])
    order = sorted(scores, key=lambda number: (-scores[number], number))
    kept: list[int] = []
    for number in order:
        if len(kept) < most and not any(_is_repeated(candidates[number], candidates[other]) for other in kept):
            kept.append(number)
    return [candidates[number] for number in (kept if key_words(question) else sorted(kept))]


def _candidates(question: str, sources: Sequence[Source]) -> list[Selected]:
    pieces = [
        (passage, source) for source in dict.fromkeys(sources) for passage in passages(_WRAPPED.sub(" ", source.text))
    ]
    if len(pieces) > MOST_PASSAGES:
        best = Index([passage for passage, _ in pieces]).best(key_words(question), MOST_PASSAGES)
        numbers = sorted(number for number, _ in best) or _evenly(len(pieces), MOST_PASSAGES)
        pieces = [pieces[number] for number in numbers]
    language = detect_language("\n".join(passage for passage, _ in pieces))
    found = {
        sentence: Selected(sentence, source)
        for passage, source in reversed(pieces)
        for sentence in reversed([_MARK.sub("", _line(part)) for part in split_sentences(passage, language)])
        if sentence
    }
    everything = [*reversed(found.values())]
    stated = [it for it in everything if _STATED.search(it.sentence) and 25 <= len(it.sentence) <= 500]
    usable = stated or everything
    return [usable[number] for number in _evenly(len(usable), MOST_CANDIDATES)]


def _scores(question: str, sentences: Sequence[str]) -> dict[int, float]:
    """By number, for those that come into question: the ones that share most with it, or all if none shares a word."""
    if not sentences:
        return {}
    words = key_words(question)
    central = rank_sentences(sentences, words)
    index = Index(sentences)
    shared = dict(index.best(words, len(sentences)))
    if not shared:
        return dict(enumerate(central))
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
    return {number: round(score, 9) for number, score in scores.items() if score >= enough}


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
    chosen = select(question, sources, most)
    if not chosen:
        return [NOTHING]
    pieces = [selected.cited for selected in chosen]
    if key_words(question) and not matches(question, sources):
        pieces.insert(0, NO_MATCH)
    return [pieces[0], *(f" {piece}" for piece in pieces[1:])]
