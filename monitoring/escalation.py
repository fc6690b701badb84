"""What happens to incidents as time goes by: snoozes end, and what nobody takes is escalated. Each is safe to run twice."""

from __future__ import annotations

from datetime import datetime, timedelta

from ml.core.settings import Settings
from ml.ledger import incidents, outbox
from ml.ledger.database import Store, writing
from ml.ledger.incidents import PLATFORM, Incident
from ml.ledger.outbox import MAIL
from monitoring.alerts import tell, tell_resolved
from monitoring.notices import incident_notice
from monitoring.routing import Target, targets


def end_snoozes(store: Store, settings: Settings, *, market: str, at: datetime) -> list[Incident]:
    """Wake the incidents whose snooze has ended: what still stands is told again, what ended meanwhile is told over."""
    woken = []
    for asleep in incidents.snoozed(store, market):
        if asleep.sleeps(at):
            continue
        with writing(store) as session:
            incident = incidents.wake(session, market, asleep.id, by=PLATFORM, at=at, why="its end had come")
            if incident is None:
                continue
            if incident.is_open:
                lead = "Its snooze has ended, and it still stands."
                notice = incident_notice(incident, settings, day=incident.last_day, state="still open", lead=lead)
                to = targets(settings, market=market, cause=incident.cause, severity=incident.severity)
                until = int(asleep.snoozed_until.timestamp()) if asleep.snoozed_until else 0
                tell(session, settings, incident, notice, to=to, event=f"woken-{until}", at=at)
            else:
                tell_resolved(session, settings, incident, at=at)
            woken.append(incident)
    return woken


def escalate(store: Store, settings: Settings, *, market: str, at: datetime) -> list[Incident]:
    """Tell others of critical incidents that alarmed long ago and that nobody acknowledged; once for each alarm.

    Those in `escalate_to` hear of it, or, where that is empty, again those who heard of it before.
    """
    patience = timedelta(minutes=settings.escalate_after_minutes)
    if not patience:
        return []
    told = []
    for waiting in incidents.open_incidents(store, market):
        if not _unanswered(waiting, at, patience):
            continue
        with writing(store) as session:
            to = [Target(MAIL, address) for address in settings.escalate_to]
            to = to or [Target(channel, address) for channel, address in outbox.told(session, waiting.id)]
            names = ", ".join(target.to for target in to) or "nobody: no address is set"
            incident = incidents.escalated(session, market, waiting.id, by=PLATFORM, at=at, text=f"told {names}")
            if incident is None or incident.alarmed_at is None:
                continue
            minutes = int((at - incident.alarmed_at).total_seconds() // 60)
            lead = f"Not acknowledged for {minutes:,} minutes."
            notice = incident_notice(incident, settings, day=incident.last_day, state="escalated", lead=lead)
            event = f"escalated-{int(incident.alarmed_at.timestamp())}"
            tell(session, settings, incident, notice, to=to, event=event, at=at)
            told.append(incident)
    return told


def _unanswered(incident: Incident, at: datetime, patience: timedelta) -> bool:
    return (
        incident.is_open
        and incident.severity == "critical"
        and incident.acknowledged_at is None
        and incident.escalated_at is None
        and incident.snoozed_until is None
        and incident.alarmed_at is not None
        and at - incident.alarmed_at >= patience
    )
