"""One message to one SMTP server, and what went wrong in words."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from contextlib import suppress
from email.message import EmailMessage
from typing import Any

from ml.core.settings import Settings
from monitoring.mail.bounds import cut

TIMEOUT_S = 10.0
"""For each byte of the server's that is waited for."""

DEADLINE_S = 60.0
"""For a whole message. Less than the lease of the outbox: a server that drips must not hold a mail until another sender takes it."""

ANSWER_LENGTH = 300


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
        # The message is taken: what goes wrong from here on must not send it again.
        with suppress(OSError, smtplib.SMTPException):
            smtp.quit()
    except (OSError, smtplib.SMTPException) as error:
        # The library says of a timeout that the server closed the connection.
        slow = smtp.late or isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)
        raise NotSent(smtp.why(error), unreachable=slow) from error
    finally:
        smtp.close()
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
        return _line("; ".join(refused)) or "the mail has no address"
    return _line(f"{type(error).__name__}: {error}")


class _Line(smtplib.SMTP):
    """A connection that ends at the deadline, whatever the server does: a timeout of a socket only bounds each wait.

    `late` says that it did.
    """

    def __init__(self, host: str, port: int, **options: Any) -> None:
        self.late = False
        self._deadline = threading.Timer(DEADLINE_S, self._end)
        self._deadline.daemon = True
        self._deadline.start()
        try:
            super().__init__(host, port, **options)
        except BaseException as error:
            self.close()
            if self.late and isinstance(error, OSError | smtplib.SMTPException):
                raise TimeoutError(self.why(error)) from error
            raise

    def why(self, error: Exception) -> str:
        """What went wrong, on one line."""
        return f"the server took longer than {DEADLINE_S:g} s" if self.late else explain(error)

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        self._deadline.cancel()
        super().close()

    def _end(self) -> None:
        self.late = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def _connect(settings: Settings) -> _Line:
    where = f"{settings.smtp_host}:{settings.smtp_port}"
    # The name is given because the default asks the resolver, which can take long.
    name = settings.mail_from.rpartition("@")[2].strip("<> ") or "localhost"
    try:
        smtp = _Line(settings.smtp_host, settings.smtp_port, local_hostname=name, timeout=TIMEOUT_S)
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
        reason = f"the SMTP server at {where} does not let us in ({smtp.why(error)})"
        raise NotSent(reason, unreachable=True) from error
    return smtp


def _answer(code: int, text: bytes | str) -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return _line(f"{code} {words}")


def _line(text: str) -> str:
    """On one line and short, without what no database keeps: a server may answer anything."""
    return cut(" ".join(text.split()), ANSWER_LENGTH)
