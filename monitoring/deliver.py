"""Send what waits in the outbox, by its channel. A message is sent once it was taken; until then it waits, whatever goes wrong.

SMTP cannot say whether a message was taken when the line breaks after its last byte, and neither can HTTP. Such a
message is tried again under the same Message-ID and Date, or the same Idempotency-Key, so that a server or a reader
that has it drops the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ml.core.clock import Clock
from ml.core.settings import Settings
from ml.ledger import outbox
from ml.ledger.database import Database
from ml.ledger.outbox import MAIL, WEBHOOK, Mail
from monitoring.findings import first_line
from monitoring.mail.message import build
from monitoring.mail.thread import root_message_id
from monitoring.smtp import NotSent, send


@dataclass(frozen=True)
class DeliveryReport:
    """How many messages went out, how many wait, and one sentence for each that did not reach everybody."""

    sent: int
    waiting: int
    errors: tuple[str, ...] = ()


@dataclass
class _Failed(Exception):
    """A try that failed: why, when to try again (None: as the outbox does), and what is not to be tried in this pass."""

    reason: str
    delay: timedelta | None = None
    closed: str = ""


def deliver(db: Database, settings: Settings, clock: Clock) -> DeliveryReport:
    """Try every message that is due, oldest first; nothing that a server does is raised.

    A server that cannot be reached ends the pass for what goes there: the message that found out waits longer each
    time, the others stay due. A message that follows another one of its conversation waits until that one has gone out.
    """
    now = clock.now()
    blocked = {root_message_id(key) for key in outbox.waiting_keys(db, now)} - {None}
    closed: set[str] = set()
    sent, errors = 0, []
    for waiting in outbox.due(db, now):
        conversation = root_message_id(waiting.key)
        if conversation in blocked or _server(waiting) in closed:
            blocked |= {conversation} - {None}
            continue
        mail = outbox.claim(db, waiting.id, clock.now())
        if mail is None:
            continue
        try:
            refused = _post(mail, settings, clock) if mail.channel == WEBHOOK else _mail(mail, settings)
        except _Failed as error:
            outbox.mark_failed(db, mail.id, error.reason, clock.now(), attempt=mail.attempts, delay=error.delay)
            errors.append(f"{mail.subject}: {error.reason}")
            blocked |= {conversation} - {None}
            closed |= {error.closed} - {""}
            continue
        outbox.mark_sent(db, mail.id, mail.message_id, clock.now())
        sent += 1
        errors += [f"{mail.subject}: {address} was refused ({reason})" for address, reason in refused.items()]
    return DeliveryReport(sent, outbox.count_pending(db), tuple(errors))


def _server(mail: Mail) -> str:
    """What a message goes through; one that cannot be reached is not asked again in the same pass."""
    return MAIL if mail.channel == MAIL else f"{mail.channel} {mail.to}"


def _mail(mail: Mail, settings: Settings) -> dict[str, str]:
    try:
        message = build(mail, sender=settings.mail_from)
        return send(message, settings)
    except NotSent as error:
        raise _Failed(str(error), closed=MAIL if error.unreachable else "") from error
    except Exception as error:
        raise _Failed(first_line(error)) from error


def _post(mail: Mail, settings: Settings, clock: Clock) -> dict[str, str]:
    from monitoring import webhook

    url = settings.webhooks.get(mail.to)
    if url is None:
        reason = f"no webhook {mail.to!r} is set in BIDWRIGHT_WEBHOOKS of this process"
        raise _Failed(reason, webhook.next_try(mail.key, mail.attempts, None), _server(mail))
    try:
        webhook.post(
            url.get_secret_value(),
            mail.text,
            key=mail.key,
            timeout_s=settings.webhook_timeout_seconds,
            now=clock.now(),
        )
    except webhook.WebhookFailed as error:
        # What a server asks of one message it means for the next one too.
        closed = _server(mail) if error.unreachable or error.wait is not None else ""
        reason = f"webhook {mail.to}: {error.reason}"
        raise _Failed(reason, webhook.next_try(mail.key, mail.attempts, error.wait), closed) from None
    except Exception as error:  # noqa: BLE001  (the words of another library's error may hold the address)
        reason = f"webhook {mail.to}: {type(error).__name__}"
        raise _Failed(reason, webhook.next_try(mail.key, mail.attempts, None)) from None
    return {}
