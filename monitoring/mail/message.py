"""A mail of the outbox as a message: text and HTML that say the same, pictures inline, and its conversation."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from ml.core.digests import digest_bytes
from ml.ledger.outbox import Mail
from monitoring.mail.thread import list_id, recipients, root_message_id


def build(mail: Mail, *, sender: str) -> EmailMessage:
    """The message of a mail; the same mail gives the same bytes however often it is tried, Message-ID and Date included.

    A name with a line break cannot add a header: header values are put on one line.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = _line(sender)
    message["To"] = ", ".join(recipients(_line(mail.to)))
    message["Subject"] = _line(mail.subject)
    message["Message-ID"] = mail.message_id
    message["Date"] = format_datetime(mail.created_at)
    root = root_message_id(mail.key)
    if root is not None:
        message["In-Reply-To"] = message["References"] = root
    message["List-Id"] = list_id(mail.key, sender)
    # RFC 3834, and Exchange's own word for it: nobody's absence note is to answer.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(mail.text, cte=_encoding(mail.text))
    message.add_alternative(mail.html, subtype="html", cte=_encoding(mail.html))
    for cid, mime, data in mail.attachments:
        maintype, _, subtype = mime.partition("/")
        html = message.get_payload(1)
        html.add_related(data, maintype, subtype, cid=f"<{cid}>", disposition="inline")  # type: ignore[union-attr]
    _fix_boundaries(message, mail.message_id)
    return message


def _fix_boundaries(message: EmailMessage, message_id: str) -> None:
    """Boundaries that follow from the Message-ID: the library draws them anew each time that a message is written."""
    identity = digest_bytes(message_id.encode())[:24]
    for number, part in enumerate(part for part in message.walk() if part.is_multipart()):
        part.set_boundary(f"=_{identity}_{number}")


def _encoding(text: str) -> str:
    """Readable as it is where few bytes need three, else base64: the library decides by the first lines alone."""
    data = text.encode()
    longer = sum(byte > 126 or byte == ord("=") for byte in data)
    return "quoted-printable" if longer <= 0.12 * len(data) else "base64"


def _line(value: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in value).split())
