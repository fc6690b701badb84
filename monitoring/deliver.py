"""Send what waits in the outbox. A mail is sent once it was accepted; until then it waits, whatever goes wrong.

SMTP cannot say whether a message was taken when the line breaks after its last byte. Such a mail is tried
again under the same Message-ID and Date, so that a server or a reader that has it drops the second.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage

from ml.core.clock import Clock
from ml.core.settings import Settings
from ml.ledger import outbox
from ml.ledger.database import Database
from ml.ledger.outbox import Mail
from monitoring.mail.message import build
from monitoring.mail.thread import root_message_id

TIMEOUT_S = 10.0
"""For each answer of the server."""

Send = Callable[[EmailMessage], None]


@dataclass(frozen=True)
class DeliveryReport:
    """How many mails went out, how many wait, and one sentence per mail that could not be sent."""

    sent: int
    waiting: int
    errors: tuple[str, ...] = field(default_factory=tuple)


def deliver(db: Database, settings: Settings, clock: Clock) -> DeliveryReport:
    """Try every mail that is due, oldest first; raises nothing that a mail server does.

    A server that cannot be reached ends the pass: the mail that found out waits its turn, the others stay due.
    A mail that follows another one of its conversation waits until that one has gone out.
    """
    sent, errors = 0, []
    blocked = _waiting_conversations(db, clock)
    try:
        for due in outbox.due(db, clock.now()):
            conversation = root_message_id(due.key)
            if conversation in blocked:
                continue
            mail = outbox.claim(db, due.id, clock.now())
            if mail is None:
                continue
            error = _try(mail, settings)
            if error is None:
                outbox.mark_sent(db, mail.id, mail.message_id, clock.now())
                sent += 1
                continue
            outbox.mark_failed(db, mail.id, str(error), clock.now(), attempt=mail.attempts)
            errors.append(f"{mail.subject}: {error}")
            if conversation is not None:
                blocked.add(conversation)
            if error.unreachable:
                break
    finally:
        pass
    return DeliveryReport(sent, outbox.count_pending(db), tuple(errors))
