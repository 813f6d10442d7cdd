"""Text out of a stored document: plain text, Markdown, HTML or PDF. Nothing here is a task, and nothing uses the network.

    Unreadable            the document gave no text
    ├── Empty             it has no bytes, or only blank ones
    ├── UnknownType       its content type is none of CONTENT_TYPES
    ├── UnknownCharset    its characters cannot be told; naming the charset helps
    ├── Encrypted         it opens with a password only
    ├── NoText            it is whole, but has no text (a scan, a page of pictures)
    └── Corrupt           it is damaged, or not what its content type says

An exception's docstring is its message. Parsers are imported when they are needed, so this module costs nothing to import.
"""

# ruff: noqa: PLC0415 - the parsers would cost the API, which imports all tasks, half a second
from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from pypdf import PdfReader
    from resiliparse.parse.html import HTMLTree

#: The most text that is kept of a document, in characters. A book of nine hundred pages has about two million.
MAX_CHARACTERS = 5_000_000

#: The most markup of a web page that is looked at, in characters. Pages carry many times more markup than text.
MAX_MARKUP = 10_000_000

#: The most pages of a PDF that are read.
MAX_PAGES = 2_000

#: The longest that a PDF or Markdown is read, in seconds: a small PDF can ask for hours of work.
MAX_SECONDS = 60


class Unreadable(Exception):
    """The document cannot be read."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or type(self).__doc__)


class Empty(Unreadable):
    """The document is empty."""


class UnknownType(Unreadable):
    """Documents of this content type cannot be read."""


class UnknownCharset(Unreadable):
    """The text is not UTF-8, and its charset cannot be told. Name it in the content type: text/plain; charset=..."""


class Encrypted(Unreadable):
    """The PDF is encrypted. Store it without a password."""


class NoText(Unreadable):
    """The document has no text. If it is a scan, it needs text recognition (OCR) first."""


class Corrupt(Unreadable):
    """The document is damaged, or is not what its content type says."""


@dataclass(frozen=True)
class Text:
    """What a document says: its paragraphs, each on one line, with an empty line between them.

    `pages` is the length of a PDF, None for the others. `cut` says in words what was not read; empty if all was.
    """

    title: str
    text: str
    pages: int | None = None
    cut: str = ""


def read(content_type: str, data: bytes) -> Text:
    """The text of a document. Its content type may carry a charset. Raises Unreadable, and nothing else.

    What is over MAX_CHARACTERS, MAX_PAGES or MAX_SECONDS is left out, and `cut` says so.
    """
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind not in {*_MARKUP, "application/pdf"}:
        raise UnknownType(f"Documents of type {kind[:100] or '(none)'} cannot be read.")
    if not data.strip():
        raise Empty
    if kind == "application/pdf":
        return _read_pdf(data)
    return _MARKUP[kind](_decoded(data, parameters))


# --- what all formats share ---

#: Never part of prose; a line feed, a form feed and a tab are.
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")

#: What typesetting put between letters or made of them.
_TYPESETTING = str.maketrans(
    {"\u00ad": "", "\u200b": "", "\ufeff": "", "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl"}
)


def _text(title: str, paragraphs: Iterable[str], pages: int | None = None, cut: str = "") -> Text:
    """Puts a document together, cleaned and cut to size. One without a title is called by its first words."""
    lines = [line for paragraph in paragraphs if (line := _line(paragraph))]
    text = "\n\n".join(lines)
    if not any(character.isalnum() for character in text):
        raise NoText
    if len(text) > MAX_CHARACTERS:
        text, cut = text[:MAX_CHARACTERS].rstrip(), cut or f"only the first {MAX_CHARACTERS:,} characters were read"
    return Text(_shortened(_line(title) or re.split("(?<=[。！？])", lines[0])[0]), text, pages, cut)


def _line(text: str) -> str:
    if text.isascii():
        return " ".join(_CONTROL.sub("", text).split())
    return " ".join(map(_composed, _CONTROL.sub("", text.translate(_TYPESETTING)).split()))


def _composed(word: str) -> str:
    """Ü as one character, not as U and two dots. Words of no language are left: normalising costs the square of their marks."""
    return unicodedata.normalize("NFC", word) if len(word) < 1_000 else word


def _shortened(title: str, width: int = 120) -> str:
    if len(title) <= width:
        return title
    return (title[:width].rpartition(" ")[0] or title[: width - 1]) + "…"


_BLANK_LINES = re.compile(r"\n\s*\n|\f")
_NEW_ITEM = re.compile(r"[-*•‣◦–]\s|\(?\d{1,3}[.)]\s|\d{1,2}(?:\.\d{1,2})+\.?\s[^\W\d_a-z]")
_HYPHENATED = re.compile(r"(?<=[^\W\d_])[-\u2010]$")
_UNSPACED = re.compile("[\u2e80-\u9fff\uff00-\uffef]")

#: Lines longer than this, in characters, were not wrapped by hand or by a typesetter: each is a paragraph.
_LONGEST_WRAPPED = 120


def _unwrapped(text: str) -> Iterator[str]:
    """The paragraphs of text whose lines were broken to fit a page.

    A line much shorter than the others around it ends its paragraph, as does an empty line or a list's next item.
    """
    for block in _BLANK_LINES.split(text):
        lines = [" ".join(line.split()) for line in block.splitlines() if any(map(str.isalnum, line))]
        width = sorted(map(len, lines))[len(lines) * 9 // 10] if lines else 0
        paragraph: list[str] = []
        for line in lines:
            if paragraph and (width > _LONGEST_WRAPPED or len(paragraph[-1]) < 0.6 * width or _NEW_ITEM.match(line)):
                yield "".join(paragraph)
                paragraph = []
            paragraph[-1:] = _joined(paragraph[-1], line) if paragraph else [line]
        yield "".join(paragraph)


def _joined(line: str, following: str) -> tuple[str, str]:
    if _HYPHENATED.search(line) and following[0].islower():
        return line[:-1], following
    if _UNSPACED.match(line[-1]) and _UNSPACED.match(following[0]):
        return line, following
    return f"{line} ", following


# --- characters ---

_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

#: The share of control characters above which something is no text. In compressed data it is about a tenth.
_BINARY = 0.02

#: The share of characters that may be damaged: texts are cut in the middle of one, and pages are pasted together.
_DAMAGED = 0.001


def _decoded(data: bytes, parameters: str) -> str:
    charset = re.search(r"charset\s*=\s*[\"']?([^\s;\"']+)", parameters, re.IGNORECASE)
    encoding = _encoding(data, charset[1] if charset else "")
    text = data.decode(encoding, "replace")
    if text.count("\ufffd") > 1 + _DAMAGED * len(text):
        raise UnknownCharset(f"The text is not {encoding}." if charset else "")
    if len(_CONTROL.findall(text)) > 4 + _BINARY * len(text):
        raise Corrupt("The document is binary data, not text.")
    return text


def _encoding(data: bytes, charset: str) -> str:
    """A byte order mark beats the parameter, as in browsers. Without both, valid UTF-8 is hardly ever anything else."""
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return encoding
    if charset:
        # only the names of the web's standard: Python also takes "zip" and "unicode_escape" for charsets
        if named := map_encoding_to_html5(charset, fallback_utf8=False):
            return named
        raise UnknownCharset(f"The charset {charset[:40]!r} is not known.")
    if _is_utf8(data):
        return "utf-8"
    return detect_encoding(data, from_html_meta=True) or "utf-8"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- plain text ---


def _read_plain(text: str) -> Text:
    paragraphs = _unwrapped(text[:MAX_CHARACTERS])
    return _text("", paragraphs, cut=_cut_at(MAX_CHARACTERS, len(text)))


def _cut_at(limit: int, length: int) -> str:
    return f"only the first {limit:,} of {length:,} characters were read" if length > limit else ""


# --- Markdown ---

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?P<fields>.{0,20000}?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)
_ATTRIBUTES = re.compile(r"\{\s?[#.:][^{}]*\}\s*$")
_FENCE = re.compile(r" {0,3}(`{3}|~{3})")
_SPECIAL = re.compile(r"[\[\]*_`<!&\\~]")

#: Markdown is parsed in pieces of this many characters: a page of list items makes a thousand times its size of tokens.
_PIECE = 100_000

#: A paragraph with more special characters than this is taken as it stands: some rules cost the square of their number.
_MOST_SPECIAL = 500


def _read_markdown(text: str) -> Text:
    from markdown_it import MarkdownIt

    source = text[:MAX_CHARACTERS].replace("\r\n", "\n")
    front = _FRONT_MATTER.match(source)
    named = _FRONT_TITLE.search(front["fields"]) if front else None
    title, paragraphs = named[1] if named else "", list[str]()
    # without "inline", which this module calls itself, for the paragraphs that are safe to give to it
    parser = MarkdownIt("commonmark", {"maxNesting": 20}).enable("table").disable("inline")
    end = monotonic() + MAX_SECONDS
    for piece in _pieces(source[front.end() :] if front else source):
        if monotonic() > end:
            return _text(title, paragraphs, cut="the end was not read, for it would have taken too long")
        for is_heading, paragraph in _blocks(parser, piece):
            paragraphs.append(paragraph)
            title = title or (paragraph if is_heading else "")
    return _text(title, paragraphs, cut=_cut_at(MAX_CHARACTERS, len(text)))


def _pieces(source: str) -> Iterator[str]:
    """The source in pieces that end at an empty line outside of fenced code, if there is one in time."""
    piece: list[str] = []
    length, fence = 0, ""
    for line in source.splitlines(keepends=True):
        if mark := _FENCE.match(line):
            fence = mark[1] if not fence else "" if line.strip().strip(fence[0]) == "" else fence
        piece.append(line)
        length += len(line)
        if (length > _PIECE and not fence and not line.strip()) or length > 2 * _PIECE:
            yield "".join(piece)
            piece, length = [f"{fence}\n"] if fence else [], 0
    yield "".join(piece)


def _blocks(parser: MarkdownIt, piece: str) -> Iterator[tuple[bool, str]]:
    """The prose of a piece, and whether it is a heading. Code and tables are not prose."""
    environment: dict[str, Any] = {}
    in_heading = in_table = False
    for token in parser.parse(piece, environment):
        in_heading = token.type == "heading_open" or (in_heading and token.type != "heading_close")
        in_table = token.type == "table_open" or (in_table and token.type != "table_close")
        if token.type == "inline" and not in_table:
            paragraph = _inline(parser, token.content, environment)
            yield in_heading, _ATTRIBUTES.sub("", paragraph) if in_heading else paragraph
        elif token.type == "html_block":
            for paragraph in _all_text(_tree(token.content)).splitlines():
                yield "<h1" in token.content, paragraph


def _inline(parser: MarkdownIt, content: str, environment: dict[str, Any]) -> str:
    if len(_SPECIAL.findall(content)) > _MOST_SPECIAL:
        return content
    tokens: list[Any] = []
    parser.inline.parse(content, parser, environment, tokens)
    spoken = {"text", "text_special", "code_inline"}
    breaks = {"softbreak", "hardbreak"}
    return "".join(token.content if token.type in spoken else " " if token.type in breaks else "" for token in tokens)


# --- HTML ---

_TAG = re.compile(
    r"""<!--.*?(?:-->|\Z)
      | <(?P<unread>script|style|noscript|template|svg|math|iframe|object|select|textarea|canvas|video|audio)\b
        (?:[^<>]*(?<=/)> | .*?(?:</(?P=unread)\b[^>]*(?:>|\Z) | \Z))
      | <[!?][^>]*(?:>|\Z)
      | </(?P<end>[a-z][^\s/>]*)[^>]*(?:>|\Z)
      | <(?P<start>[a-z][^\s/>]*)
        (?P<attributes>(?:[\s/]*+[^\s/>][^\s/>=]*+
          (?:\s*+=\s*+(?:"[^"]*+(?:"|\Z) | '[^']*+(?:'|\Z) | [^\s>"'][^\s>]*+)?)?)*+)
        [\s/]*+(?:>|\Z)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)

#: The attributes by which boilerplate is told from text.
_TELLING = re.compile(
    r"""(?:^|[\s/"'])(class|id|role|hidden|aria-hidden|style|itemprop)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)|(?=[\s/]|$))""",
    re.IGNORECASE,
)

#: What makes the tree of a page, what is closed by its neighbours, and what only dresses or links words.
_CONTAINERS = frozenset({"title", "main", "article", "section", "header", "footer", "nav", "aside", "div", "h1", "h2", "h3",
                         "h4", "h5", "h6", "ul", "ol", "dl", "table", "blockquote", "pre", "figure", "figcaption", "details",
                         "summary", "address", "form", "fieldset", "span", "time", "label", "button"})  # fmt: skip
_NEIGHBOURS = frozenset({"html", "head", "body", "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "caption",
                         "br", "hr"})  # fmt: skip
_DRESSES = frozenset({"a", "b", "strong", "i", "em", "code"})

#: How deep elements may be nested, lists among them, and how many there may be. Tags beyond that are dropped, not their text.
_DEEPEST, _DEEPEST_LIST, _MOST_ELEMENTS = 64, 8, 300_000

#: A list near the top of the tree is taken for navigation, however it reads; wrapped, it is judged by its links.
_WRAPPER, _WRAPPER_END = "<div><div><div>", "</div></div></div>"

_QUOTES = "\"'"


def _read_html(text: str) -> Text:
    tree = _tree(text[:MAX_MARKUP])
    paragraphs = _main_text(tree) or _all_text(tree)
    return _text(_html_title(tree), paragraphs.splitlines(), cut=_cut_at(MAX_MARKUP, len(text)))


def _tree(markup: str) -> HTMLTree:
    from resiliparse.parse.html import HTMLTree

    return HTMLTree.parse(_skeleton(markup))


def _main_text(tree: HTMLTree) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(
        tree, main_content=True, list_bullets=False, alt_texts=False, comments=False, preserve_formatting=True,
        skip_elements=["pre"],
    )  # fmt: skip


def _all_text(tree: HTMLTree) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(tree, list_bullets=False, alt_texts=False, preserve_formatting=True)


def _html_title(tree: HTMLTree) -> str:
    """The page's title; without the site's name if the page has a heading that is part of it."""
    title = _line(tree.title or "")
    heading = tree.document.query_selector("h1") if tree.document else None
    heading_text = _line(heading.text or "") if heading else ""
    return heading_text if heading_text and (not title or heading_text in title) else title


def _skeleton(markup: str) -> str:
    """The same page in few, well nested tags, written anew in one pass.

    An HTML parser must by its standard spend time and memory in the square of what some pages ask for (attributes in a
    tag, open elements, formatting to carry on). None of those pages gets past here: a tag keeps the attributes that tell
    boilerplate from text, formatting keeps none, and whatever was opened is closed.
    """
    out: list[str] = []
    opened: list[str] = []
    position = 0
    for tag in _TAG.finditer(markup):
        out.append(markup[position : tag.start()])
        position = tag.end()
        if tag["start"]:
            out.append(_opening(tag["start"].lower(), tag["attributes"], opened))
        elif tag["end"]:
            out.append(_closing(tag["end"].lower(), opened))
        if len(out) > 2 * _MOST_ELEMENTS:
            break
    return "".join([*out, _TAG.sub(" ", markup[position:])])


def _opening(name: str, attributes: str, opened: list[str]) -> str:
    if name in _NEIGHBOURS:
        return f"<{name}{_telling(attributes)}>"
    if name not in _CONTAINERS | _DRESSES:
        return ""
    lists = opened.count("ul") if name == "ul" else 0
    if len(opened) >= _DEEPEST or lists >= _DEEPEST_LIST:
        return " "
    opened.append(name)
    if name == "ul" and not lists:
        return f"{_WRAPPER}<ul{_telling(attributes)}>"
    return f"<{name}{'' if name in _DRESSES else _telling(attributes)}>"


def _telling(attributes: str) -> str:
    found = _TELLING.findall(attributes[:4_000])
    return "".join(f' {name.lower()}="{value.strip(_QUOTES)[:500]}"' for name, value in dict(found).items())


def _closing(name: str, opened: list[str]) -> str:
    """Closes the last element of that name, and those that were left open in it."""
    if name in _NEIGHBOURS:
        return f"</{name}>"
    closed = ""
    while name in opened:
        last = opened.pop()
        closed += f"</{last}>{_WRAPPER_END if last == 'ul' and 'ul' not in opened else ''}"
        if last == name:
            break
    return closed


# --- PDF ---

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


def _read_pdf(data: bytes) -> Text:
    from pypdf import apply_configuration

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it reports every flaw of a file, with pieces of the file
    with apply_configuration(**_PDF_LIMITS):
        reader, count = _opened(data)
        pages = list(_pages(reader, min(count, MAX_PAGES)))
        title = _pdf_title(reader)
    if count and pages.count(None) == len(pages):
        raise Corrupt("No page of the PDF can be read." if pages else "The PDF's first page takes too long to read.")
    prose = _unwrapped("\n".join(_without_running_heads([page or "" for page in pages])))
    return _text(title, prose, count, _pages_cut(len(pages), count, pages.count(None)))


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
        title = _line(str((reader.metadata and reader.metadata.title) or "")).removeprefix("Microsoft Word - ")
    except Exception:  # noqa: BLE001 - as above; a title is no reason to fail
        return ""
    return "" if _NO_TITLE.fullmatch(title) else title


_MARKUP: dict[str, Callable[[str], Text]] = {
    "text/plain": _read_plain,
    "text/markdown": _read_markdown,
    "text/html": _read_html,
}
