"""The text of a PDF, as far as time and size allow."""

# ruff: noqa: PLC0415 - the parsers would cost the API, which imports all tasks, half a second
from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from time import monotonic
from typing import TYPE_CHECKING, Any

from tasks.kit.texts import (
    MAX_CHARACTERS,
    MAX_SECONDS,
    Corrupt,
    Encrypted,
    Text,
    Unreadable,
    cleaned,
    put_together,
    unwrapped,
)

if TYPE_CHECKING:
    from pypdf import PdfReader

#: The most pages of a PDF that are read.
MAX_PAGES = 2_000

#: What pypdf may spend on one stream of a page, so that the clock is looked at every few seconds (see its Configuration).
_PDF_LIMITS: dict[str, Any] = {
    "zlib_maximum_output_length": 20_000_000,
    "lzw_maximum_output_length": 20_000_000,
    "run_length_maximum_output_length": 20_000_000,
    "array_based_stream_maximum_output_length": 20_000_000,
    "stream_decoding_work_maximum_length": 60_000_000,
    "stream_parsing_work_maximum_count": 500_000,
    "xform_maximum_invocations_per_extraction": 1_000,
    "jbig2dec_binary": None,
}

#: Titles that a program gave because nobody did.
_NO_TITLE = re.compile(r"untitled.*|.*\.(?:docx?|odt|rtf|tex|dvi|ps|pdf|indd|qxd|pptx?|xlsx?)", re.IGNORECASE)


class _OutOfTime(Exception):
    """The page is left where it is."""


def read_pdf(data: bytes) -> Text:
    """The text of a PDF, page by page, without its running heads."""
    from pypdf import apply_configuration

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it reports every flaw of a file, with pieces of the file
    with apply_configuration(**_PDF_LIMITS):
        reader, count = _opened(data)
        pages = list(_pages(reader, min(count, MAX_PAGES)))
        title = _pdf_title(reader)
    if count and pages.count(None) == len(pages):
        raise Corrupt("No page of the PDF can be read." if pages else "The PDF's first page takes too long to read.")
    prose = unwrapped("\n".join(_without_running_heads([page or "" for page in pages])))
    return put_together(title, prose, count, _pages_cut(len(pages), count, pages.count(None)))


def _opened(data: bytes) -> tuple[PdfReader, int]:
    """A reader that can read, and the number of its pages."""
    from pypdf import PdfReader

    if b"%PDF-" not in data[:1_024]:
        raise Corrupt("The document is not a PDF.")
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and not _opens(reader):
            raise Encrypted
        return reader, len(reader.pages)
    except Unreadable:
        raise
    except Exception as error:  # damaged files make pypdf raise nearly anything
        raise Corrupt from error


def _opens(reader: PdfReader) -> bool:
    """Whether it opens without a password, as those files do which only forbid printing."""
    try:
        return bool(reader.decrypt(""))
    except Exception:  # noqa: BLE001 - an unknown cipher, or one whose library is not installed
        return False


def _pages(reader: PdfReader, count: int) -> Iterator[str | None]:
    """The text of the first pages, as far as time and size allow; None for a page that cannot be read."""
    end, length = monotonic() + MAX_SECONDS, 0

    def look_at_the_clock(*_: Any) -> None:
        if monotonic() > end:
            raise _OutOfTime

    for number in range(count):
        try:
            look_at_the_clock()
            page = reader.pages[number].extract_text(visitor_operand_before=look_at_the_clock)
        except _OutOfTime:
            return
        except Exception:  # noqa: BLE001 - as above; one bad page must not cost the others
            yield None
            continue
        yield page
        length += len(page)
        if length > MAX_CHARACTERS:
            return


def _pages_cut(read: int, count: int, damaged: int) -> str:
    unread = [f"only the first {read:,} of {count:,} pages were read"] if read < count else []
    return "; ".join([*unread, f"{damaged:,} of {count:,} pages could not be read"] if damaged else unread)


def _without_running_heads(pages: list[str]) -> Iterator[str]:
    """The pages without the first and last lines that stand on most of them, but for a number."""
    lines = [page.strip().splitlines() for page in pages]
    edges = Counter(_head(line) for page in lines if len(page) > 2 for line in {page[0], page[-1]})
    running = {head for head, times in edges.items() if times > max(2, len(pages) / 2) or not head}
    for number, page in enumerate(lines):
        start, end = 0, len(page)
        if end > 2:
            start += number > 0 and _head(page[0]) in running  # on the first page it may be the title
            end -= _head(page[-1]) in running
        yield "\n".join(page[start:end])


def _head(line: str) -> str:
    return re.sub(r"\d+", "", line).strip()


def _pdf_title(reader: PdfReader) -> str:
    try:
        title = cleaned(str((reader.metadata and reader.metadata.title) or "")).removeprefix("Microsoft Word - ")
    except Exception:  # noqa: BLE001 - as above; a title is no reason to fail
        return ""
    return "" if _NO_TITLE.fullmatch(title) else title
