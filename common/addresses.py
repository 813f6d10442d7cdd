"""Where a name leads, and which IP addresses are out there for everybody: by a table of our own.

Python's `is_global` is not the question: 3.11 calls NAT64 and 6to4 global, whose packets end wherever the IPv4 address inside
says, and each release has changed something.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from common.egress import ForbiddenAddress, Target, Unreachable

#: Gives the IP addresses of a name and port; raises OSError when there are none.
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

#: Most addresses of a name that are tried.
MAX_TRIES = 4
#: Most look-ups at a time.
MAX_LOOKUPS = 32

#: The same words whether the name is unknown or leads inside: nobody can ask us which names are known inside.
_NOWHERE = "The name leads to no public address."
#: IANA's special-purpose registries, and more. Of IPv6 all outside `_GLOBAL_UNICAST` is refused as well: loopback, IPv4 that is
#: mapped or compatible, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), discard, local, site-local, link-local, multicast, unassigned.
_FORBIDDEN = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's own services: a public address that is not public
        "169.254.0.0/16",  # link-local, metadata, ECS credentials, the VPC's resolver
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocols, Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112, answers for private names
        "192.52.193.0/24",  # multicast tunnels
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocols: Teredo, benchmarks, ORCHID, AMT, AS112
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the former 6bone, given back
        "3fff::/20",  # documentation
    )
)
#: All of IPv6 that was ever given out for global use (RFC 4291).
_GLOBAL_UNICAST = ip_network("2000::/3")
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


async def look_up(name: str, port: int) -> list[str]:
    """The system's addresses of a name, in its order of preference. Raises OSError."""
    ask = partial(socket.getaddrinfo, name, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in await asyncio.get_running_loop().run_in_executor(_threads(), ask)]


async def locate(target: Target, resolve: Resolver = look_up) -> list[str]:
    """Where a name leads, if all of it is public (or all loopback, for such a target). Raises ForbiddenAddress, Unreachable."""
    allowed = is_loopback if target.loopback else is_public
    if target.loopback and is_loopback(target.host):
        return [target.host]
    try:
        addresses = list(dict.fromkeys(await resolve(target.host, target.port)))
    except OSError:
        raise Unreachable(_NOWHERE) from None
    if not addresses or not all(allowed(address) for address in addresses):
        raise ForbiddenAddress(_NOWHERE)
    return addresses[:MAX_TRIES]


def is_public(text: str) -> bool:
    """Whether that is an IP address that anybody can reach. What is no address is not."""
    address = _parsed(text)
    if address is None or (address.version == 6 and address not in _GLOBAL_UNICAST):
        return False
    return not any(address in network for network in _FORBIDDEN)


def is_loopback(text: str) -> bool:
    """Whether that is an IP address of this very machine."""
    address = _parsed(text)
    return address is not None and any(address in network for network in _LOOPBACK)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # fe80::1%eth0: an address that means something on one link only.
    return None if isinstance(address, IPv6Address) and address.scope_id else address


@cache
def _threads() -> ThreadPoolExecutor:
    """Its own, so that slow names hold up neither other work nor the end of an event loop."""
    return ThreadPoolExecutor(MAX_LOOKUPS, "look-up")
