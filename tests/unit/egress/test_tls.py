"""Certificates: the name is public, its address too, but the network leads to a server on loopback."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from dataclasses import dataclass
from typing import Any

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from common.egress import CallFailed, Unreachable
from common.fetching import Limits, Response, _trusted, request
from tests.unit.egress.calling import answering, echo, saying, serving


@dataclass
class Detour(httpcore.AsyncNetworkBackend):
    """Leads each dialled address to a port on loopback, and keeps which it was."""

    port: int
    dialled: str = ""

    async def connect_tcp(self, host: str, port: int, *_: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        self.dialled = host
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port)


@dataclass(frozen=True)
class Authority:
    """A certificate authority, as a client trusts it; and a server with its certificate for hooks.example.com."""

    trusted: ssl.SSLContext
    server: ssl.SSLContext
    asked_for: list[str]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certificate("authority.example.com", ca_key, ca_key, is_authority=True)
    leaf = certificate("hooks.example.com", key, ca_key, is_authority=False)
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        leaf.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    server, asked_for = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), list[str]()
    server.load_cert_chain(file)
    server.sni_callback = lambda _, name, __: asked_for.append(name)
    return Authority(ssl.create_default_context(cadata=root.public_bytes(Encoding.PEM).decode()), server, asked_for)


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, *, is_authority: bool
) -> x509.Certificate:
    now, hour = datetime.datetime.now(datetime.UTC), datetime.timedelta(hours=1)
    usage = dict.fromkeys(USAGES, False) | {"digital_signature": True, "key_cert_sign": is_authority}
    builder = x509.CertificateBuilder(
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority.example.com")]),
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - hour,
        not_valid_after=now + hour,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    return builder.sign(by, hashes.SHA256())


USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
    "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def call_tls(authority: Authority, url: str, trusted: ssl.SSLContext | None) -> Response:
    async def main() -> Response:
        async with serving(echo, authority.server) as port:
            detour = Detour(port)
            resolve = answering("93.184.215.14")
            response = await request("GET", url, resolve=resolve, network=detour, tls=trusted, limits=Limits(seconds=5))
            assert detour.dialled == response.address == "93.184.215.14"
            return response

    authority.asked_for.clear()
    return asyncio.run(main())


def test_the_certificate_is_checked_against_the_name(authority: Authority) -> None:
    response = call_tls(authority, "https://Hooks.example.com./x", authority.trusted)
    assert response.ok
    assert response.body.startswith(b"GET /x HTTP/1.1\r\nhost: hooks.example.com\r\n")
    assert authority.asked_for == ["hooks.example.com"]


def test_a_certificate_of_another_name_is_refused(authority: Authority) -> None:
    with pytest.raises(Unreachable, match=r"certificate is not accepted.*other\.example\.com"):
        call_tls(authority, "https://other.example.com/", authority.trusted)
    assert authority.asked_for == ["other.example.com"]


def test_a_certificate_of_nobody_we_know_is_refused(authority: Authority) -> None:
    with pytest.raises(Unreachable, match="certificate is not accepted"):
        call_tls(authority, "https://hooks.example.com/", None)


def test_the_environment_adds_no_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    _trusted.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    assert _trusted().get_ca_certs()
    assert _trusted() is _trusted()
    assert _trusted().verify_mode is ssl.CERT_REQUIRED
    _trusted.cache_clear()


def test_a_server_that_speaks_no_tls_is_unreachable() -> None:
    async def main() -> None:
        async with serving(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
            resolve = answering("93.184.215.14")
            await request(
                "GET", "https://a.example.com/", resolve=resolve, network=Detour(port), limits=Limits(seconds=0.3)
            )

    with pytest.raises(CallFailed):
        asyncio.run(main())
