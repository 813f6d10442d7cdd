"""Which addresses are public, and which are this machine's own."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.addresses import is_loopback, is_public

#: First and last address of what is refused, and the public neighbours on either side, where there are any.
EDGES = [
    ("", "0.0.0.0", "0.255.255.255", "1.0.0.0"),
    ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
    ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
    ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
    ("168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"),
    ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
    ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
    ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
    ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
    ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
    ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
    ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
    ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
    ("223.255.255.255", "224.0.0.0", "255.255.255.255", ""),
    ("", "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"),
    ("2000:ffff::", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"),
    ("2001:db7:ffff::", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"),
    ("2001:ffff::", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"),
    ("2620:4f:7fff::", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::"),
    ("3ffd::", "3ffe::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
    ("3fff:ffff::", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
]


@pytest.mark.parametrize(("before", "first", "last", "after"), EDGES)
def test_the_table_ends_where_the_ranges_end(before: str, first: str, last: str, after: str) -> None:
    assert not is_public(first)
    assert not is_public(last)
    assert all(is_public(address) for address in (before, after) if address)


@pytest.mark.parametrize(
    "text",
    [
        "::1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "::ffff:0:8.8.8.8",
        "64:ff9b::808:808",
        "64:ff9b:1::808:808",
        "2002:808:808::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "100::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "fe80::1%eth0",
        "2606:4700::1%eth0",
        "2606:4700::1%",
        "127.1",
        "010.0.0.1",
        "8.8.8.8 ",
        "8.8.8.8:53",
        "[2606:4700::1]",
        "example.com",
        "",
    ],
)
def test_what_leads_elsewhere_or_is_no_address_is_not_public(text: str) -> None:
    assert not is_public(text)


@given(st.ip_addresses())
@example(ipaddress.ip_address("93.184.215.14"))
@example(ipaddress.ip_address("2606:4700::1111"))
def test_nothing_is_public_that_python_knows_not_to_be(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    known = address.is_global and not address.is_multicast and not address.is_reserved
    assert known or not is_public(str(address))


@pytest.mark.parametrize(("text", "is_it"), [("127.0.0.1", True), ("::1", True), ("::", False), ("10.0.0.1", False)])
def test_loopback_is_this_machine(text: str, is_it: bool) -> None:
    assert is_loopback(text) is is_it
