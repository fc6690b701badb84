"""Encryption and passwords: sent over a checked line or not at all."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from ml.core.settings import Settings
from monitoring import smtp
from monitoring.smtp import NotSent, send


@pytest.fixture
def message() -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.com", "b@example.com", "hello"
    mail.set_content("words")
    return mail


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own for `localhost`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


class Safe:
    """Takes mail from whoever logs in over an encrypted line."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.logins: list[LoginPassword] = []

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        assert session.ssl is not None
        self.taken.append(envelope)
        return "250 OK"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        self.logins.append(data)
        return AuthResult(success=data == LoginPassword(b"me", b"secret"), handled=False)


@pytest.fixture
def safe_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_server: Any) -> tuple[Safe, int]:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    server = Safe()
    options = {"tls_context": context, "require_starttls": True, "auth_required": True}
    return server, start_server(server, authenticator=server.authenticate, **options)


def with_user(settings: Settings, port: int, **options: Any) -> Settings:
    return settings.model_copy(
        update={"smtp_host": "localhost", "smtp_port": port, "smtp_user": "me", "smtp_password": SecretStr("secret")}
        | options
    )


def test_with_a_user_name_the_line_is_encrypted_and_the_login_made(
    settings: Settings, safe_server: tuple[Safe, int], message: EmailMessage
) -> None:
    server, port = safe_server
    assert send(message, with_user(settings, port)) == {}
    assert len(server.taken) == 1
    assert server.logins == [LoginPassword(b"me", b"secret")]


def test_a_wrong_password_is_told_and_nothing_is_sent(
    settings: Settings, safe_server: tuple[Safe, int], message: EmailMessage
) -> None:
    server, port = safe_server
    with pytest.raises(NotSent, match=r"does not let us in .*535") as raised:
        send(message, with_user(settings, port, smtp_password=SecretStr("wrong")))
    assert raised.value.unreachable
    assert "wrong" not in str(raised.value)
    assert server.taken == []


def test_a_certificate_nobody_vouches_for_gets_neither_password_nor_mail(
    settings: Settings, safe_server: tuple[Safe, int], message: EmailMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, port = safe_server
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
        send(message, with_user(settings, port))
    assert server.logins == []
    assert server.taken == []


def test_a_server_that_cannot_encrypt_never_sees_the_password(
    settings: Settings, mail_server: Any, message: EmailMessage
) -> None:
    with pytest.raises(NotSent, match="STARTTLS") as raised:
        send(message, with_user(settings, mail_server.port, smtp_host="127.0.0.1"))
    assert raised.value.unreachable
    assert mail_server.taken == []


@pytest.mark.parametrize("greeting", [b"", b"554 go away\r\n", b"hello, I speak HTTP\r\n"])
def test_whatever_answers_that_is_no_mail_server_is_unreachable(
    settings: Settings, message: EmailMessage, greeting: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            line, _ = listener.accept()
            with line:
                line.sendall(greeting)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(NotSent, match="no SMTP server answers") as raised:
            send(message, settings.model_copy(update={"smtp_port": listener.getsockname()[1]}))
        thread.join()
    assert raised.value.unreachable


def test_a_server_that_says_nothing_is_given_up(
    settings: Settings, message: EmailMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "TIMEOUT_S", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(NotSent, match="no SMTP server answers") as raised,
    ):
        send(message, settings.model_copy(update={"smtp_port": listener.getsockname()[1]}))
    assert raised.value.unreachable
