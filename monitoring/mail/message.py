"""A mail of the outbox as a message: text and HTML that say the same, pictures inline, and its conversation."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from ml.ledger.outbox import Mail
from monitoring.mail.thread import recipients, root_message_id


def build(mail: Mail, *, sender: str) -> EmailMessage:
    """The message of a mail; the same mail gives the same Message-ID and Date however often it is tried.

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
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    for cid, mime, data in mail.attachments:
        maintype, _, subtype = mime.partition("/")
        html = message.get_payload(1)
        html.add_related(data, maintype, subtype, cid=f"<{cid}>", disposition="inline")  # type: ignore[union-attr]
    return message


def _line(value: str) -> str:
    return " ".join(value.split())
