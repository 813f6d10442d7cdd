"""Characters out of bytes, whatever their charset."""

# ruff: noqa: PLC0415 - the parsers would cost the API, which imports all tasks, half a second
from __future__ import annotations

import re

from tasks.kit.texts import CONTROL, Corrupt, UnknownCharset

_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

#: The share of control characters above which something is no text. In compressed data it is about a tenth.
_BINARY = 0.02

#: The share of characters that may be damaged: texts are cut in the middle of one, and pages are pasted together.
_DAMAGED = 0.001


def decoded(data: bytes, parameters: str) -> str:
    """The characters of a document. The parameters are those of its content type, and may name its charset."""
    charset = re.search(r"charset\s*=\s*[\"']?([^\s;\"']+)", parameters, re.IGNORECASE)
    encoding = _encoding(data, charset[1] if charset else "")
    text = data.decode(encoding, "replace")
    if text.count("\ufffd") > 1 + _DAMAGED * len(text):
        raise UnknownCharset(f"The text is not {encoding}." if charset else "")
    if len(CONTROL.findall(text)) > 4 + _BINARY * len(text):
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
