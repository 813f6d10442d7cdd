"""The main text of a web page, whatever its markup."""

# ruff: noqa: PLC0415 - the parsers would cost the API, which imports all tasks, half a second
from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tasks.kit.texts import Text, cleaned, cut_at, put_together

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

#: The most markup of a web page that is looked at, in characters. Pages carry many times more markup than text.
MAX_MARKUP = 10_000_000

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


def read_html(text: str) -> Text:
    """The main text of a web page, or all of it if none stands out."""
    tree = parsed(text[:MAX_MARKUP])
    paragraphs = _main_text(tree) or all_text(tree)
    return put_together(_html_title(tree), paragraphs.splitlines(), cut=cut_at(MAX_MARKUP, len(text)))


def parsed(markup: str) -> HTMLTree:
    """The tree of a page, from its skeleton."""
    from resiliparse.parse.html import HTMLTree

    return HTMLTree.parse(_skeleton(markup))


def _main_text(tree: HTMLTree) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(
        tree, main_content=True, list_bullets=False, alt_texts=False, comments=False, preserve_formatting=True,
        skip_elements=["pre"],
    )  # fmt: skip


def all_text(tree: HTMLTree) -> str:
    """Everything that is written on a page, its boilerplate too."""
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(tree, list_bullets=False, alt_texts=False, preserve_formatting=True)


def _html_title(tree: HTMLTree) -> str:
    """The page's title; without the site's name if the page has a heading that is part of it."""
    title = cleaned(tree.title or "")
    heading = tree.document.query_selector("h1") if tree.document else None
    heading_text = cleaned(heading.text or "") if heading else ""
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
