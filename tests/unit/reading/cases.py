"""What the tests of reading share: the stored documents, their types, and their paragraphs."""

from __future__ import annotations

from pathlib import Path

from tasks.kit.reading import read
from tasks.kit.texts import Text

ROOT = Path(__file__).parents[3]
CASES = ROOT / "tests/cases/documents"
TYPES = {".txt": "text/plain", ".md": "text/markdown", ".html": "text/html"}
ALL_TYPES = (*TYPES.values(), "application/pdf")


def read_case(name: str) -> Text:
    path = CASES / name
    return read(TYPES[path.suffix], path.read_bytes())


def paragraphs(text: Text) -> list[str]:
    return text.text.split("\n\n")
