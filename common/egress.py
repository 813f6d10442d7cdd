"""Which addresses that a user named may be called at all. What stands here is what can be judged from the text alone."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

#: Longest address, in characters.
MAX_LENGTH = 2_000

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
#: Names that are reserved or never public (RFC 6761, RFC 8375 and what clouds use inside).
_INSIDE = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private", "test", "invalid",
           "example", "onion", "arpa")  # fmt: skip


class ForbiddenAddress(ValueError):
    """An address that must not be called; the message says why."""


def check(url: str) -> str:
    """The address, if it is https to a public name at the standard port. Raises ForbiddenAddress.

    IP addresses are refused in every spelling: there is no name to check the certificate against.
    """
    if len(url) > MAX_LENGTH:
        raise ForbiddenAddress(f"An address has at most {MAX_LENGTH} characters.")
    if any(character.isspace() or not character.isprintable() for character in url) or "\\" in url:
        raise ForbiddenAddress("An address has no spaces, line breaks, backslashes or invisible characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ForbiddenAddress("That is no address.") from None
    if parts.scheme != "https":
        raise ForbiddenAddress("Only https:// addresses are called.")
    if "@" in parts.netloc:
        raise ForbiddenAddress("An address must not carry a user name or password.")
    if port not in (None, 443):
        raise ForbiddenAddress("Only the standard port 443 is called.")
    _check_name(parts.hostname or "")
    return url


def _check_name(host: str) -> None:
    try:
        name = host.encode("idna").decode().rstrip(".").lower() if host else ""
    except UnicodeError:
        raise ForbiddenAddress("The host's name is not valid.") from None
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ForbiddenAddress("The host's name is not valid; IP addresses are not called.")
    if len(labels) < 2 or re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise ForbiddenAddress("A public host name is needed; IP addresses are not called.")
    if labels[-1] in _INSIDE:
        raise ForbiddenAddress("That name is not a public one.")
