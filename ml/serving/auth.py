"""Who may ask: a bearer token, a client certificate, or both, where both are set. Nobody is let in by default."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path

from ml.core.errors import UsageError
from ml.core.settings import Settings

LEAST_CHARACTERS = 16
_SCHEME = b"bearer "


@dataclass(frozen=True)
class Guard:
    """Tells callers that may from those that may not.

    Attributes:
        token: what has to follow `Bearer`; empty where certificates alone count.
        certificates: whether a verified client certificate is needed.
    """

    token: bytes
    certificates: bool = False

    def __post_init__(self) -> None:
        if not self.token and not self.certificates:
            raise UsageError(
                "nobody could be told from anybody: there is neither a token nor client certificates",
                left="nothing was started",
                next="set BIDWRIGHT_SERVE_TOKEN to at least 16 characters, such as those of: openssl rand -hex 32",
            )
        if self.token and len(self.token) < LEAST_CHARACTERS:
            raise UsageError(
                f"the token has fewer than {LEAST_CHARACTERS} characters",
                left="nothing was started",
                next="set BIDWRIGHT_SERVE_TOKEN to a longer one, such as that of: openssl rand -hex 32",
            )

    def admits(self, authorization: bytes, *, certified: bool) -> bool:
        """Whether the header's value and the connection are those of somebody who may ask; time tells nothing of the token."""
        if self.certificates and not certified:
            return False
        if not self.token:
            return True
        given = authorization[len(_SCHEME) :].strip() if authorization[: len(_SCHEME)].lower() == _SCHEME else b""
        return compare_digest(given, self.token)


def guard(settings: Settings) -> Guard:
    """The guard that the settings ask for; UsageError where they ask for none."""
    return Guard(settings.serve_token.get_secret_value().encode(), bool(settings.serve_client_ca))


def tls(settings: Settings) -> ssl.SSLContext | None:
    """TLS as the settings say; None where they say nothing.

    A client certificate is asked for and verified, but not demanded here: `/livez` and `/readyz` need none.

    Raises:
        UsageError: one file is given without the other, or cannot be read.
    """
    files = {
        "serve_tls_cert": settings.serve_tls_cert,
        "serve_tls_key": settings.serve_tls_key,
        "serve_client_ca": settings.serve_client_ca,
    }
    if not any(files.values()):
        return None
    needed = ("serve_tls_cert", "serve_tls_key")
    if missing := [name for name in needed if not files[name]]:
        raise UsageError(
            f"TLS needs a certificate and its key, and {missing[0]} is not set",
            left="nothing was started",
            next=f"set BIDWRIGHT_{missing[0].upper()} to the file, in PEM form",
        )
    for name, file in files.items():
        if file and not Path(file).is_file():
            raise UsageError(
                f"{name} names no file: {file}", left="nothing was started", next=f"correct BIDWRIGHT_{name.upper()}"
            )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.serve_tls_cert, settings.serve_tls_key)
        if settings.serve_client_ca:
            context.load_verify_locations(settings.serve_client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"the certificate, its key or the authority cannot be used: {error.args[-1]}",
            left="nothing was started",
            next="give files in PEM form that belong together",
        ) from error
    return context
