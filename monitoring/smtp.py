"""One message to one SMTP server, and what went wrong in words."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage

from ml.core.settings import Settings

TIMEOUT_S = 10.0
"""For each answer of the server."""


class NotSent(Exception):
    """A message was not taken. `unreachable`: the server itself is the reason, so that the next message would fare alike."""

    def __init__(self, reason: str, *, unreachable: bool) -> None:
        self.unreachable = unreachable
        super().__init__(reason)


def send(message: EmailMessage, settings: Settings) -> dict[str, str]:
    """Hand over a message; returns the addresses that were refused while others were not, each with the reason.

    Where a user name is given the line is encrypted first (STARTTLS, certificate checked); a server that
    cannot do that never sees the password.

    Raises:
        NotSent: nobody's copy was taken.
    """
    smtp = _connect(settings)
    try:
        refused = smtp.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        smtp.close()
        raise NotSent(explain(error), unreachable=False) from error
    # The message is taken: what goes wrong from here on must not send it again.
    with suppress(OSError, smtplib.SMTPException):
        smtp.quit()
    return {address: _answer(code, text) for address, (code, text) in refused.items()}


def explain(error: Exception) -> str:
    """What an SMTP error says, on one line.

    >>> explain(smtplib.SMTPDataError(452, b"disk\\nfull"))
    '452 disk full'
    """
    if isinstance(error, smtplib.SMTPResponseException):
        return _answer(error.smtp_code, error.smtp_error)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        refused = [f"{address}: {_answer(*answer)}" for address, answer in error.recipients.items()]
        return "; ".join(refused) or "the mail has no address"
    return " ".join(f"{type(error).__name__}: {error}".split())


def _connect(settings: Settings) -> smtplib.SMTP:
    where = f"{settings.smtp_host}:{settings.smtp_port}"
    # The name is given because the default asks the resolver, which can take long.
    name = settings.mail_from.rpartition("@")[2].strip("<> ") or "localhost"
    try:
        smtp = smtplib.SMTP(settings.smtp_host, settings.smtp_port, local_hostname=name, timeout=TIMEOUT_S)
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(f"no SMTP server answers at {where} ({explain(error)})", unreachable=True) from error
    try:
        if settings.smtp_user or settings.smtp_starttls:
            smtp.starttls(context=ssl.create_default_context())
        if settings.smtp_user:
            smtp.login(settings.smtp_user, settings.smtp_password.get_secret_value())
        smtp.ehlo_or_helo_if_needed()
    except (OSError, smtplib.SMTPException) as error:
        smtp.close()
        raise NotSent(f"the SMTP server at {where} does not let us in ({explain(error)})", unreachable=True) from error
    return smtp


def _answer(code: int, text: bytes | str) -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return " ".join(f"{code} {words}".split())
