"""Credentials: what has to be set before anything is served, TLS, and certificates of callers."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ml.core.errors import UsageError
from ml.core.settings import load_settings
from ml.serving.auth import Guard, guard, tls
from tests.serving.service.conftest import TOKEN, Served, body

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certificate(name: str, by: Pair | None = None) -> Pair:
    """A certificate for this machine, signed by an authority or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[0].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    return builder.sign(by[1] if by else key, hashes.SHA256()), key


def written(folder: Path, name: str, pair: Pair) -> tuple[str, str]:
    """Files of a certificate and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(pair[0].public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        pair[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(cert), str(key)


def test_without_token_and_certificates_nothing_is_served(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a token nor client certificates"):
        guard(load_settings(home=tmp_path))


@pytest.mark.parametrize("token", ["x", "x" * 15])
def test_a_short_token_is_refused_and_not_told(tmp_path: Path, token: str) -> None:
    with pytest.raises(UsageError, match="fewer than 16") as caught:
        guard(load_settings(home=tmp_path, serve_token=token))
    assert token * 2 not in str(caught.value)
    assert guard(load_settings(home=tmp_path, serve_token="x" * 16)).token == b"x" * 16


def test_where_both_are_set_both_are_needed() -> None:
    both = Guard(TOKEN.encode(), certificates=True)
    header = f"Bearer {TOKEN}".encode()
    assert both.admits(header, certified=True)
    assert not both.admits(header, certified=False)
    assert not both.admits(b"", certified=True)


def test_a_token_that_is_not_ascii_is_compared_too() -> None:
    known = Guard("schlüssel-schlüssel".encode())
    assert known.admits("Bearer schlüssel-schlüssel".encode(), certified=False)
    assert not known.admits(b"Bearer \xff\xff", certified=False)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"serve_tls_cert": "x"}, "serve_tls_key is not set"),
        ({"serve_client_ca": "x"}, "serve_tls_cert is not set"),
        ({"serve_tls_cert": "no", "serve_tls_key": "no"}, "names no file"),
    ],
)
def test_tls_that_is_set_half_is_refused(tmp_path: Path, given: dict[str, str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        tls(load_settings(home=tmp_path, **given))


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    cert, _ = written(tmp_path, "one", certificate("one"))
    _, key = written(tmp_path, "two", certificate("two"))
    with pytest.raises(UsageError, match="cannot be used"):
        tls(load_settings(home=tmp_path, serve_tls_cert=cert, serve_tls_key=key))


def test_a_callers_certificate_lets_it_in_and_no_other_does(make: Callable[..., Served], tmp_path: Path) -> None:
    authority = certificate("authority")
    server = written(tmp_path, "server", certificate("localhost", authority))
    caller = written(tmp_path, "caller", certificate("caller", authority))
    stranger = written(tmp_path, "stranger", certificate("stranger"))
    ca, _ = written(tmp_path, "authority", authority)
    served = make(serve_token="", serve_tls_cert=server[0], serve_tls_key=server[1], serve_client_ca=ca).ready()
    url = f"https://localhost:{served.port}"

    def context(own: tuple[str, str] | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=ca)
        if own:
            made.load_cert_chain(*own)
        return made

    assert httpx.post(f"{url}/v1/bids", json=body(), verify=context(caller)).status_code == 200
    assert httpx.post(f"{url}/v1/bids", json=body(), verify=context(None)).status_code == 401
    assert httpx.get(f"{url}/livez", verify=context(None)).status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{url}/v1/bids", json=body(), verify=context(stranger))
    assert served.talk(b"GET /livez HTTP/1.1\r\n\r\n") == b""
    assert httpx.get(f"{url}/livez", verify=context(None)).status_code == 200
