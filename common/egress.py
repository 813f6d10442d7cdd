"""Which addresses that a user named may be called at all: what can be judged from the text alone.

The call itself is in `common/fetching.py`, which judges every answer of the look-up too. This module is light: the API
imports it at its start.

    LongrunError
    └── CallFailed            no answer came of it; the message can be shown to the owner, it names no address of ours
        ├── ForbiddenAddress  must not be called, by its text or by where its name leads; trying again is no use
        ├── Unreachable       no such name, nobody there, a certificate that is not the name's, or broken off
        ├── TimedOut          not finished within the limit, however much had come by then
        └── BadAnswer         what came is not HTTP
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

from common.errors import LongrunError

#: Longest address, in characters.
MAX_LENGTH = 2_000
#: The only port of each scheme that is called.
STANDARD_PORT = {"https": 443, "http": 80}

#: What stands in a path as it is, besides letters and digits (RFC 3986).
_PLAIN = "/%:@!$&'()*+,;=-._~"
# Patterns are compiled when they are first used: most starts of a function need none of them.
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
#: What a resolver or a browser may take for (the end of) an IPv4 address: 127, 0x7f, 0177.
_NUMBER = r"[0-9]+|0x[0-9a-f]*"
_LOOPBACK = r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?"
#: Names that are reserved or never public (RFC 6761, RFC 8375 and what clouds use inside).
_INSIDE = frozenset({"localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private", "test",
                     "invalid", "example", "onion", "alt", "arpa"})  # fmt: skip
#: Letters that the two standards for international names turn into different names (fass.de, faß.de).
_AMBIGUOUS = frozenset("ßẞς")


class CallFailed(LongrunError):
    """The call had no answer"""


class ForbiddenAddress(CallFailed, ValueError):
    """An address that must not be called; the message says why"""


class Unreachable(CallFailed):
    """The host could not be reached"""


class TimedOut(CallFailed):
    """The call took too long"""


class BadAnswer(CallFailed):
    """The answer is not HTTP"""


@dataclass(frozen=True)
class Policy:
    """What may be called. `redirects` is how many are followed, each one judged anew; the next is an answer like any other.

    `loopback` also allows http to this very machine at any port: never in a deployment, where the Lambda runtime's own
    interface is there.
    """

    schemes: tuple[str, ...] = ("https",)
    redirects: int = 0
    loopback: bool = False


#: For webhooks.
PUBLIC = Policy()
#: For web pages that a user or a model named.
PAGES = Policy(schemes=("https", "http"), redirects=5)
#: The same on a laptop, where receivers and test servers listen on 127.0.0.1.
LOCAL, LOCAL_PAGES = replace(PUBLIC, loopback=True), replace(PAGES, loopback=True)


class Target(NamedTuple):
    """An allowed address, taken apart once: what is judged is what is called, no second parser reads the text.

    `host` is the name in ASCII, lower case, without a final dot; `path` holds the query too. No fragment.
    """

    scheme: str
    host: str
    port: int
    path: str
    loopback: bool = False

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == STANDARD_PORT[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def check(url: str, *, policy: Policy = PUBLIC) -> str:
    """The same address, if its text is allowed. Raises ForbiddenAddress.

    IP addresses are refused in every spelling: there is no name to check the certificate against.
    """
    parse(url, policy=policy)
    return url


def parse(url: str, *, policy: Policy = PUBLIC) -> Target:
    """The address taken apart, if its text is allowed. Raises ForbiddenAddress."""
    parts, port = _split(url)
    if policy.loopback and parts.scheme == "http" and port != 0 and re.fullmatch(_LOOPBACK, parts.netloc.lower()):
        return Target("http", parts.hostname or "", port or 80, _path(parts), loopback=True)
    if parts.scheme not in policy.schemes:
        raise ForbiddenAddress(f"Only {' and '.join(policy.schemes)} addresses are called.")
    if "@" in parts.netloc:
        raise ForbiddenAddress("An address must not carry a user name or password.")
    standard = STANDARD_PORT[parts.scheme]
    if port not in (None, standard):
        raise ForbiddenAddress(f"Only the standard port {standard} is called.")
    return Target(parts.scheme, _public_name(parts), standard, _path(parts))


def _split(url: str) -> tuple[SplitResult, int | None]:
    if len(url) > MAX_LENGTH:
        raise ForbiddenAddress(f"An address has at most {MAX_LENGTH} characters.")
    if any(character.isspace() or not character.isprintable() for character in url) or "\\" in url:
        raise ForbiddenAddress("An address has no spaces, line breaks, backslashes or invisible characters.")
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:
        raise ForbiddenAddress("That is no address.") from None


def _path(parts: SplitResult) -> str:
    """As it was written, with what HTTP cannot carry escaped; an escape that is there already stays as it is."""
    path = quote(parts.path, safe=_PLAIN) or "/"
    return f"{path}?{quote(parts.query, safe=_PLAIN + '?')}" if parts.query else path


def _public_name(parts: SplitResult) -> str:
    name = _ascii(parts.hostname or "").removesuffix(".")
    labels = name.split(".")
    # Python 3.11.2 reads [name] as a name.
    if "[" in parts.netloc or len(name) > 253 or not all(re.fullmatch(_LABEL, label) for label in labels):
        raise ForbiddenAddress("The host's name is not valid; IP addresses are not called.")
    if len(labels) < 2 or re.fullmatch(_NUMBER, labels[-1]):
        raise ForbiddenAddress("A public host name is needed; IP addresses are not called.")
    if labels[-1] in _INSIDE:
        raise ForbiddenAddress("That name is not a public one.")
    return name


def _ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    if _AMBIGUOUS & set(host):
        raise ForbiddenAddress("Write the host's name in its xn-- form: one of its letters can be read in two ways.")
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        raise ForbiddenAddress("The host's name is not valid.") from None
