"""The sentences of a text, and those that carry it."""

# ruff: noqa: PLC0415 - the libraries would cost the API, which imports all tasks, a second
from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tasks.kit.languages import UNDETERMINED
from tasks.kit.words import pieces, terms, word_pattern

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: How many sentences are ranked, evenly taken: the work is the square of their number.
MOST_SENTENCES = 600

#: The end of a sentence that states something; headings, list items and rows of tables have none, and questions none to give.
_STATED = re.compile(r"""[.!…。！।]["'”’»«“」』）)\]]*$""")


def split_sentences(text: str, language: str = UNDETERMINED) -> list[str]:
    """The sentences, each as it stands in the text; a heading counts as one. Rules for English serve unknown languages."""
    return [sentence for piece in pieces(text) for sentence in _sentences(piece, language) if sentence]


def _sentences(piece: str, language: str) -> Iterator[str]:
    import sentencex  # type: ignore[import-untyped]

    sentence = ""
    for part in sentencex.segment(language, piece):
        sentence += part
        if not re.fullmatch(r"\s*\w{1,2}\.\s*", sentence):  # "M." or "1." begins a sentence and is none
            yield sentence.strip()
            sentence = ""
    yield sentence.strip()


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
    words = [*word_pattern().finditer(sentence)]
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
