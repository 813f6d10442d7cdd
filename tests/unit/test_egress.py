"""Addresses that a user named, judged from their text."""

from __future__ import annotations

import pytest

from common.egress import ForbiddenAddress, check


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/x",
        "https://HOOKS.Example.COM:443/x?a=b#c",
        "https://hooks.example.com./x",
        "https://bücher.example.com/",
        "https://169-254-169-254.example.com/",
        "https://hooks.example.com/http://127.0.0.1/",
    ],
)
def test_a_public_name_over_https_is_allowed(url: str) -> None:
    assert check(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "//hooks.example.com/",
        "https:///x",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:99999/",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com\\@evil.example.org/",
        "https://hooks.example.com/\r\nX-A: 1",
        "https://hooks.example.com/\u202e",
        "https://" + "a" * 64 + ".example.com/",
        "https://" + "a." * 130 + "com/",
        "https://" + "h.example.com/" + "a" * 2_000,
        "https://-a.example.com/",
        "https://*.example.com/",
        "https://localhost/",
        "https://foo.localhost/",
        "https://metadata.google.internal/",
        "https://printer.local/",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://①②⑦.⓪.⓪.①/",
        "https://8.8.8.8/",
        "https://1.2.3.4.5/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1%25eth0]/",
    ],
)
def test_everything_else_is_not(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check(url)
