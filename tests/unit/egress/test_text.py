"""The text of an address: what may be called, and how it is taken apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.egress import LOCAL, LOCAL_PAGES, PAGES, ForbiddenAddress, check, parse

ROOT = Path(__file__).parents[3]


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
        "https://@hooks.example.com/",
        "https://hooks.example.com\\@evil.example.org/",
        "https://hooks.example.com/a\\b",
        "https://hooks.example.com/\r\nX-A: 1",
        "https://hooks.example.com/\u202e",
        "https://hooks.example.com/\ud800",
        "https://" + "a" * 64 + ".example.com/",
        "https://" + "a." * 130 + "com/",
        "https://" + "h.example.com/" + "a" * 2_000,
        "https://-a.example.com/",
        "https://*.example.com/",
        "https://hooks.example.com../",
        "https://hooks.example.com。./",
        "https://faß.example.com/",
        "https://localhost/",
        "https://foo.localhost/",
        "https://metadata.google.internal/",
        "https://printer.local/",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://127。0。0。1/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://①②⑦.⓪.⓪.①/",
        "https://8.8.8.8/",
        "https://1.2.3.4.5/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://[v1.hooks.example.com]/",
        "https://[hooks.example.com]/",
    ],
)
def test_everything_else_is_not(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check(url)


def test_pages_may_be_plain_http_at_its_standard_port() -> None:
    assert check("http://example.com/a", policy=PAGES)
    assert check("https://example.com/a", policy=PAGES)
    for url in ("http://example.com:443/", "https://example.com:80/", "http://example.com:8080/", "http://127.0.0.1/"):
        with pytest.raises(ForbiddenAddress):
            check(url, policy=PAGES)


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "[::1]"])
def test_a_laptop_may_call_itself_over_http_at_any_port(host: str) -> None:
    for policy in (LOCAL, LOCAL_PAGES):
        assert parse(f"http://{host}:8123/x", policy=policy).loopback
        assert parse(f"http://{host}/x", policy=policy).port == 80
    assert check("https://hooks.example.com/", policy=LOCAL)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost:8443/",
        "http://127.0.0.2:8000/",
        "http://127.1:8000/",
        "http://0.0.0.0:8000/",
        "http://0x7f000001:8000/",
        "http://[::ffff:127.0.0.1]:8000/",
        "http://[localhost]:8000/",
        "http://a.localhost:8000/",
        "http://localhost.:8000/",
        "http://localhost:0/",
        "http://localhost:70000/",
        "http://user@localhost:8000/",
        "http://localhost:8000@hooks.example.com/",
        "http://hooks.example.com/",
    ],
)
def test_a_laptop_may_call_nothing_else(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check(url, policy=LOCAL)


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://HOOKS.example.com.:443", "https://hooks.example.com/"),
        ("https://hooks.example.com?a=b", "https://hooks.example.com/?a=b"),
        ("https://hooks.example.com/a%20b/%2e%2e/c?d=%26#e", "https://hooks.example.com/a%20b/%2e%2e/c?d=%26"),
        ("https://bücher.example.com/ü?q=ß", "https://xn--bcher-kva.example.com/%C3%BC?q=%C3%9F"),
        ("http://[::1]:81/a;b", "http://[::1]:81/a;b"),
    ],
)
def test_an_address_is_taken_apart_once(url: str, called: str) -> None:
    assert parse(url, policy=LOCAL).url == called


@given(st.text(alphabet=st.sampled_from(list("htps:/.@#?[]\\%0x127ela①。\tß-_ ")), max_size=40))
def test_no_text_is_an_accident(text: str) -> None:
    for url in (text, "https://" + text, "http://localhost" + text):
        try:
            target = parse(url, policy=LOCAL_PAGES)
        except ForbiddenAddress:
            continue
        assert target.host.isascii()
        assert target.path.startswith("/")
        assert target.path.isascii()
        assert parse(target.url, policy=LOCAL_PAGES) == target


def test_the_api_pays_little_for_it() -> None:
    code = "import common.egress, sys; print(' '.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"httpx", "httpcore", "anyio", "asyncio", "ssl", "certifi"} & set(ran.stdout.split())
