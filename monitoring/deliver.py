"""Send what waits in the outbox. A mail is sent once it was taken; until then it waits, whatever goes wrong.

SMTP cannot say whether a message was taken when the line breaks after its last byte. Such a mail is tried
again under the same Message-ID and Date, so that a server or a reader that has it drops the second.
"""

from __future__ import annotations

from dataclasses import dataclass

from ml.core.clock import Clock
from ml.core.settings import Settings
from ml.ledger import outbox
from ml.ledger.database import Database
from ml.ledger.outbox import Mail
from monitoring.findings import first_line
from monitoring.mail.message import build
from monitoring.mail.thread import root_message_id
from monitoring.smtp import NotSent, send


@dataclass(frozen=True)
class DeliveryReport:
    """How many mails went out, how many wait, and one sentence for each that did not reach everybody."""

    sent: int
    waiting: int
    errors: tuple[str, ...] = ()


def deliver(db: Database, settings: Settings, clock: Clock) -> DeliveryReport:
    """Try every mail that is due, oldest first; nothing that a mail server does is raised.

    A server that cannot be reached ends the pass: the mail that found out waits longer each time, the others
    stay due. A mail that follows another one of its conversation waits until that one has gone out.
    """
    now = clock.now()
    blocked = {root_message_id(mail.key) for mail in outbox.pending(db) if mail.next_at > now} - {None}
    sent, errors = 0, []
    for waiting in outbox.due(db, now):
        conversation = root_message_id(waiting.key)
        if conversation in blocked:
            continue
        mail = outbox.claim(db, waiting.id, clock.now())
        if mail is None:
            continue
        try:
            refused = _send(mail, settings)
        except NotSent as error:
            outbox.mark_failed(db, mail.id, str(error), clock.now(), attempt=mail.attempts)
            errors.append(f"{mail.subject}: {error}")
            blocked |= {conversation} - {None}
            if error.unreachable:
                break
            continue
        outbox.mark_sent(db, mail.id, mail.message_id, clock.now())
        sent += 1
        errors += [f"{mail.subject}: {address} was refused ({reason})" for address, reason in refused.items()]
    return DeliveryReport(sent, outbox.count_pending(db), tuple(errors))


def _send(mail: Mail, settings: Settings) -> dict[str, str]:
    try:
        message = build(mail, sender=settings.mail_from)
        return send(message, settings)
    except NotSent:
        raise
    except Exception as error:
        raise NotSent(first_line(error), unreachable=False) from error
