"""The language that a text is in."""

# ruff: noqa: PLC0415 - the libraries would cost the API, which imports all tasks, a second
from __future__ import annotations

import functools
from typing import Any

from tasks.kit.words import sample_of

#: ISO 639-2's code for a language that is undetermined.
UNDETERMINED = "und"

#: Below this a language is a guess. Of two thousand texts in eight languages none that was above it was told wrong.
_SURE = 0.5

#: How much of the sample the language is told from, in characters; more makes it no surer.
_TELLING = 4_000


def detect_language(text: str) -> str:
    """The ISO 639-1 code of the text's language, or "und" for a text too short or too odd to tell."""
    language, confidence = _identifier().classify(sample_of(text, _TELLING))
    return language if confidence >= _SURE and len(language) == 2 else UNDETERMINED


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # with "zxx", no language at all, but without those that ISO 639-1 has no code for: they draw texts from their neighbours
    identifier.set_languages([label for label in identifier.labels if len(label) == 2 or label == "zxx"])
    return identifier
