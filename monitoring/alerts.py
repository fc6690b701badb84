"""Tell people: open, worsen, reopen and resolve incidents, each with at most one message to each, in one transaction.

An incident is one conversation: its mails keep the subject that it was opened with, behind a tag in brackets
that changes. The same report again updates the incident and tells nobody; so does any report while it is snoozed,
but one that makes it critical.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib import import_module
from typing import Any

from ml.core.digests import digest_json
from ml.core.settings import Settings
from ml.core.verdict import Verdict
from ml.ledger import incidents, outbox
from ml.ledger.database import Store, writing
from ml.ledger.decisions import Decision
from ml.ledger.incidents import PLATFORM, RANK, Incident, Severity
from ml.ledger.outbox import MAIL, WEBHOOK
from monitoring.causes import meaning
from monitoring.links import Link
from monitoring.mail.notice import Notice, subject_line
from monitoring.mail.render import render
from monitoring.mail.thread import OPENED, Conversation
from monitoring.notices import (
    MAILED,
    REASONS,
    SUBJECT,
    approval_notice,
    base_subject,
    decision_notice,
    incident_notice,
    resolved_notice,
)
from monitoring.routing import Target, everybody, not_before, owner_of, targets
from monitoring.webhook import text_of

_TITLE_LENGTH = 200


@dataclass(frozen=True)
class Alert:
    """What became of a report: its incident, whether that was opened by it, and how many messages were put."""

    incident: Incident
    opened: bool
    mails: int


def raise_alert(
    store: Store,
    settings: Settings,
    *,
    market: str,
    cause: str,
    day: date,
    severity: Severity,
    title: str,
    reasons: Sequence[str],
    details: Mapping[str, Any] | None = None,
    links: Sequence[Link] = (),
    at: datetime,
    at_stake_micros: int | None = None,
) -> Alert:
    """Open or reopen the incident of a cause, or bring it up to date; tell when it opens and when its severity rises.

    Args:
        store: the ledger, or a session of it to take part in a transaction.
        settings: who hears of it, and where Airflow is.
        market: name of the market.
        cause: a key of `monitoring.causes.CAUSES`, or one with a suffix.
        day: the market day.
        severity: `critical`, `warning` or `info`.
        title: how bad, in a few words; stands in the subject.
        reasons: what happened, most important first.
        details: small JSON that is kept with the incident. `columns` (as a drift report keeps them) are drawn as
            bars and `charts` (`Series.as_json`) as lines, `run_id` makes the link to the run, `facts` (label to text)
            and plain values become lines of text.
        links: buttons before the usual ones.
        at: the present instant.
        at_stake_micros: money that it costs, where that was measured.
    """
    title = " ".join(title.split())[:_TITLE_LENGTH]
    if (details or {}).get("charts"):
        # Takes half a second the first time, which no writer should wait for.
        import_module("matplotlib.figure")
    with writing(store) as session:
        before = incidents.concerned(session, market, cause, day=day, at=at)
        told = before.details.get(MAILED, before.severity) if before else None
        worse = told is not None and RANK[severity] > RANK.get(told, 0)
        # Woken by what is worse than what was snoozed, and critical.
        asleep = before is not None and before.sleeps(at) and not (worse and severity == "critical")
        subject = before.details.get(SUBJECT, "") if before else ""
        stays = told is not None and not worse and (before is not None and (before.is_open or asleep))
        kept = {
            **(details or {}),
            REASONS: list(reasons),
            SUBJECT: subject or base_subject(meaning(cause).name, market, day, title),
            MAILED: told if stays else severity,
        }
        incident, opened = incidents.raise_incident(
            session, market, cause, day=day, severity=severity, title=title, details=kept, at=at,
            at_stake_micros=at_stake_micros, owner=owner_of(settings, market=market, cause=cause, severity=severity),
        )  # fmt: skip
        if asleep or not (opened or worse):
            return Alert(incident, opened, 0)
        if incident.snoozed_until is not None:
            why = f"it became {severity}" if incident.sleeps(at) else "its end had come"
            incident = incidents.wake(session, market, incident.id, by=PLATFORM, at=at, why=why) or incident
        state = "worsened" if not opened else "reopened" if incident.reopened else OPENED
        notice = incident_notice(incident, settings, day=day, state=state, links=links)
        to = targets(settings, market=market, cause=cause, severity=severity)
        told_now = tell(session, settings, incident, notice, to=to, event=f"{state}-{severity}", at=at)
        return Alert(incident, opened, told_now)


def resolve_alerts(
    store: Store,
    settings: Settings,
    *,
    market: str,
    causes: Sequence[str],
    day: date,
    reason: str,
    at: datetime,
    by: str = PLATFORM,
) -> list[Incident]:
    """End the open incidents of these causes, and tell each who heard of them; those that are not open are left alone.

    What ends while it is snoozed is told when the snooze ends.
    """
    ended = []
    with writing(store) as session:
        for cause in causes:
            incident = incidents.resolve(session, market, cause, day=day, at=at, reason=reason, by=by)
            if incident is None:
                continue
            if not incident.sleeps(at):
                tell_resolved(session, settings, incident, at=at)
            ended.append(incident)
    return ended


def tell_resolved(store: Store, settings: Settings, incident: Incident, *, at: datetime) -> int:
    """Say that an incident is over to everybody who heard of it; once for each time that it was open."""
    to = [Target(channel, address) for channel, address in outbox.told(store, incident.id)]
    return tell(store, settings, incident, resolved_notice(incident, settings), to=to, event="resolved", at=at)


def announce_decision(
    store: Store, settings: Settings, *, decision: Decision, moved: bool, reason: str, at: datetime
) -> int:
    """Tell what became of a candidate, with its gates; once per decision and outcome. Returns how many messages were put."""
    outcome = "promoted" if moved else "refused" if decision.verdict is Verdict.FAIL else "held"
    title = f"candidate {decision.candidate[:12]} {outcome}"
    notice = decision_notice(decision, settings, outcome=outcome, title=title, reason=reason)
    subject = subject_line(outcome, base_subject("Promotion", decision.market, decision.day, title))
    hold = not_before(settings, severity="info", at=at)
    return _put_about(store, settings, decision, notice, subject=subject, outcome=outcome, at=at, hold=hold)


def ask_approval(store: Store, settings: Settings, *, decision: Decision, run_id: str, hours: int, at: datetime) -> int:
    """Tell that a candidate waits for a person's answer, once per decision; the question has an end, so it waits for no morning.

    Args:
        store: the ledger, or a session of it.
        settings: who is asked, and where Airflow is.
        decision: what the gates say, with the reasons for asking in `approval`.
        run_id: the Airflow run that waits.
        hours: for how long it waits.
        at: the present instant.
    """
    notice = approval_notice(decision, settings, run_id=run_id, hours=hours)
    title = f"candidate {decision.candidate[:12]} waits for an answer"
    subject = subject_line("approval wanted", base_subject("Promotion", decision.market, decision.day, title))
    return _put_about(store, settings, decision, notice, subject=subject, outcome="asked", at=at, hold=at)


def tell(
    store: Store,
    settings: Settings,
    incident: Incident,
    notice: Notice,
    *,
    to: Sequence[Target],
    event: str,
    at: datetime,
) -> int:
    """Put one message to each target about an event of an incident; how many were new.

    What is critical goes at once, and what quiet hours had held of the same conversation goes before it.
    """
    if not to:
        return 0
    event = f"{event}-{incident.reopened}" if incident.reopened else event
    tag = "resolved" if notice.state == "resolved" else incident.severity
    subject = subject_line(tag, incident.details.get(SUBJECT) or incident.title)
    hold = not_before(settings, severity=incident.severity, at=at)
    if hold == at:
        outbox.release(store, incident.id, at)
    keys = {
        target: Conversation.of(
            market=incident.market, cause=incident.cause, opened_at=incident.opened_at, number=incident.id,
            to=target.identity,
        ).key(event)
        for target in to
    }  # fmt: skip
    return _put(store, notice, keys, subject=subject, incident_id=incident.id, at=at, hold=hold)


def _put_about(
    store: Store,
    settings: Settings,
    decision: Decision,
    notice: Notice,
    *,
    subject: str,
    outcome: str,
    at: datetime,
    hold: datetime,
) -> int:
    recorded = decision.recorded_at.isoformat() if decision.recorded_at else ""
    identity = digest_json(
        [decision.market, decision.day.isoformat(), decision.candidate, decision.generation, recorded]
    )[:32]
    keys = {
        target: f"decision/{identity}/{outcome}/{digest_json(target.identity)[:8]}" for target in everybody(settings)
    }
    return _put(store, notice, keys, subject=subject, incident_id=None, at=at, hold=hold)


def _put(
    store: Store,
    notice: Notice,
    keys: Mapping[Target, str],
    *,
    subject: str,
    incident_id: int | None,
    at: datetime,
    hold: datetime,
) -> int:
    by_mail = any(target.channel == MAIL for target in keys)
    text, html, attachments = render(notice) if by_mail else ("", "", [])
    count = 0
    for target, key in keys.items():
        posted = target.channel == WEBHOOK
        count += outbox.put(
            store,
            key=key,
            to=target.to,
            subject=subject,
            text=text_of(subject, notice) if posted else text,
            html="" if posted else html,
            attachments=() if posted else attachments,
            incident_id=incident_id,
            market_day=notice.day,
            at=at,
            channel=target.channel,
            not_before=hold,
        )
    return count
