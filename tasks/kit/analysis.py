"""What a text is about: its language, its key phrases, and the sentences that carry it. Nothing here is a task.

py3langid tells the language and sentencex the sentences; where words are not spaced, Jieba and BudouX tell them. All bring
what they need with them. The ranking of sentences (LexRank) and of phrases (C-value) is our own: the libraries that
have it want a download, a hundred megabytes, or a licence that a service cannot give (YAKE is under the AGPL). Each library
is imported when it is needed, so this module costs nothing to import.

The same text gives the same answer, always. Words are counted in the whole text; the rest is found in a sample of at most
SAMPLE characters, for a longer text whole paragraphs taken evenly from all of it. So no text takes more than a few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.kit.languages import detect_language
from tasks.kit.phrases import UNSPACED, key_phrases
from tasks.kit.sentences import summarise
from tasks.kit.words import count_words, sample_of

if TYPE_CHECKING:
    from tasks.kit.texts import Text

#: How much of a text is analysed, in characters: about thirty pages.
SAMPLE = 100_000


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
        return ("" if self.language in UNSPACED else " ").join(self.sentences)

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
    sample = sample_of(text.text, SAMPLE)
    language = detect_language(sample)
    return Analysis(
        title=text.title,
        words=count_words(text.text),
        language=language,
        key_phrases=tuple(key_phrases(sample, language, limit=phrases)),
        sentences=tuple(summarise(sample, language, query=text.title, limit=sentences)),
    )
