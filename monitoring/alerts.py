"""Tell people: open, worsen and resolve incidents, each with at most one mail, in one transaction.

An incident is one conversation: its mails keep the subject that it was opened with, behind a tag in brackets
that changes. The same report again updates the incident and mails nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from ml.core.digests import digest_json
from ml.core.settings import Settings
from ml.core.verdict import Verdict
from ml.ledger import incidents, outbox
from ml.ledger.database import Store, writing
from ml.ledger.decisions import Decision
from ml.ledger.incidents import Incident, Severity
from monitoring.causes import meaning
from monitoring.links import Link, decision_link, page_link, run_link
from monitoring.mail.notice import BARS_AT_LEAST, BARS_SHOWN, REASONS_SHOWN, Bar, Notice, bar, gate, subject_line
from monitoring.mail.render import render
from monitoring.mail.thread import OPENED, Conversation, recipients
from monitoring.series import charts_from

_RANK: Mapping[str, int] = {"info": 0, "warning": 1, "critical": 2}
_TITLE_LENGTH = 200
_SUBJECT, _MAILED, _REASONS = "subject", "mailed_severity", "reasons"
_TOLD = frozenset({"columns", "charts", "facts", "run_id", _SUBJECT, _MAILED, _REASONS})
"""Details that a mail shows in another way than as a line of facts."""


@dataclass(frozen=True)
class Alert:
    """What became of a report: its incident, whether that was opened by it, and how many mails were put."""

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
    """Open the incident of a cause, or bring it up to date; mail when it opens and when its severity rises.

    Args:
        store: the ledger, or a session of it to take part in a transaction.
        settings: who gets mail, and where Airflow is.
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
    with writing(store) as session:
        before = incidents.concerned(session, market, cause, day=day, at=at)
        mailed = before.details.get(_MAILED, before.severity) if before and before.is_open else None
        worse = mailed is not None and _RANK[severity] > _RANK[mailed]
        kept = {
            **(details or {}),
            _REASONS: list(reasons),
            _SUBJECT: before.details.get(_SUBJECT, "") if before else _base(meaning(cause).name, market, day, title),
            _MAILED: mailed if mailed is not None and not worse else severity,
        }
        incident, opened = incidents.raise_incident(
            session, market, cause, day=day, severity=severity, title=title, details=kept, at=at,
            at_stake_micros=at_stake_micros,
        )  # fmt: skip
        mails = 0
        if opened or worse:
            state = "worsened" if not opened else "reopened" if incident.reopened else OPENED
            notice = _notice(incident, settings, day=day, state=state, links=links)
            mails = _mail(
                session, settings, incident, notice, tag=severity, event=_event(incident, f"{state}-{severity}"), at=at
            )
        return Alert(incident, opened, mails)


def resolve_alerts(
    store: Store,
    settings: Settings,
    *,
    market: str,
    causes: Sequence[str],
    day: date,
    reason: str,
    at: datetime,
) -> list[Incident]:
    """End the open incidents of these causes, with one mail each; those that are not open are left alone."""
    ended = []
    with writing(store) as session:
        for cause in causes:
            incident = incidents.resolve(session, market, cause, day=day, at=at, reason=reason)
            if incident is None:
                continue
            open_notice = _notice(incident, settings, day=day, state="resolved", links=())
            notice = replace(
                open_notice, severity="resolved", title=f"{open_notice.kind}: over", summary=reason,
                reasons=[reason[:1].upper() + reason[1:]], did="", todo="", bars=(), charts=(),
                facts=[("it was", incident.title), ("severity", incident.severity), ("days", _span(incident))],
            )  # fmt: skip
            _mail(session, settings, incident, notice, tag="resolved", event=_event(incident, "resolved"), at=at)
            ended.append(incident)
    return ended


def announce_decision(
    store: Store, settings: Settings, *, decision: Decision, moved: bool, reason: str, at: datetime
) -> int:
    """Mail what became of a candidate, with its gates; once per decision and outcome. Returns how many mails were put."""
    outcome = "promoted" if moved else "refused" if decision.verdict is Verdict.FAIL else "held"
    title = f"candidate {decision.candidate[:12]} {outcome}"
    notice = _decision_notice(decision, settings, outcome=outcome, title=title, reason=reason)
    text, html, attachments = render(notice)
    identity = digest_json(
        [decision.market, decision.day.isoformat(), decision.candidate, decision.generation, _instant(decision)]
    )[:32]
    base = _base("Promotion", decision.market, decision.day, title)
    return sum(
        outbox.put(
            store,
            key=f"decision/{identity}/{outcome}/{digest_json(to)[:8]}",
            to=to,
            subject=subject_line(outcome, base),
            text=text,
            html=html,
            attachments=attachments,
            market_day=decision.day,
            at=at,
        )
        for to in recipients(settings.mail_to)
    )


def _mail(
    store: Store, settings: Settings, incident: Incident, notice: Notice, *, tag: str, event: str, at: datetime
) -> int:
    text, html, attachments = render(notice)
    count = 0
    for to in recipients(settings.mail_to):
        conversation = Conversation.of(
            market=incident.market, cause=incident.cause, opened_at=incident.opened_at, number=incident.id, to=to
        )
        count += outbox.put(
            store,
            key=conversation.key(event),
            to=to,
            subject=subject_line(tag, incident.details.get(_SUBJECT) or incident.title),
            text=text,
            html=html,
            attachments=attachments,
            incident_id=incident.id,
            market_day=notice.day,
            at=at,
        )
    return count


def _event(incident: Incident, event: str) -> str:
    """The event's part of a key; the same event after a reopening is another one."""
    return f"{event}-{incident.reopened}" if incident.reopened else event


def _span(incident: Incident) -> str:
    return f"{incident.first_day.isoformat()} to {(incident.resolved_day or incident.last_day).isoformat()}"


def _base(kind: str, market: str, day: date, title: str) -> str:
    """The part of a subject that stays: what, where, when, how bad."""
    return f"{kind} in {market} on {day.isoformat()}: {title}"


def _notice(incident: Incident, settings: Settings, *, day: date, state: str, links: Sequence[Link]) -> Notice:
    cause, details = meaning(incident.cause), incident.details
    reasons = [str(reason) for reason in details.get(_REASONS, [])]
    run = run_link(settings, cause.dag, str(details.get("run_id", "")))
    return Notice(
        state=state,
        severity=incident.severity,
        kind=cause.name,
        title=incident.title,
        market=incident.market,
        day=day,
        since=incident.first_day,
        summary=reasons[0] if reasons else incident.title,
        reasons=_shortened(reasons),
        did=cause.did,
        todo=cause.todo,
        charts=charts_from(details.get("charts")),
        bars=_bars(details),
        facts=_facts(details),
        buttons=[*links, *([run] if run else []), page_link(settings)],
        number=incident.id,
    )


def _decision_notice(decision: Decision, settings: Settings, *, outcome: str, title: str, reason: str) -> Notice:
    stays = "stays" if decision.champion else "is still to be found"
    texts = {
        "promoted": ("The candidate is the champion now. The next bids are made with it.", ""),
        "refused": (f"The champion {stays}; nothing was published with the candidate.",
                    "Look at the gates that failed. The next retrain tries again by itself."),
        "held": (f"The champion {stays}; nothing was published with the candidate.",
                 "Something that a gate needs is missing, or somebody has to answer: see the reasons."),
    }  # fmt: skip
    did, todo = texts[outcome]
    run = run_link(settings, "promote_bid_model")
    links = [decision_link(settings, decision.id)] if decision.id is not None else []
    return Notice(
        state=outcome,
        severity={"promoted": "resolved", "refused": "warning"}.get(outcome, "info"),
        kind="Promotion",
        title=title[:1].upper() + title[1:],
        market=decision.market,
        day=decision.day,
        since=None,
        summary=reason,
        reasons=[reason],
        did=did,
        todo=todo,
        gates=[gate(result) for result in decision.gates],
        facts=[
            ("candidate", decision.candidate[:12]),
            ("champion before", decision.champion[:12] if decision.champion else "none"),
            ("verdict", decision.verdict.value),
        ],
        buttons=[*links, *([run] if run else []), page_link(settings)],
    )


def _bars(details: Mapping[str, Any]) -> list[Bar]:
    """What is beyond its limit, the furthest first; some of the rest, where that is little, to compare it with."""
    drawn = [one for column in details.get("columns", []) if (one := bar(column)) is not None]
    beyond = [one for one in drawn if one.exceeds][:BARS_SHOWN]
    return beyond + [one for one in drawn if not one.exceeds][: max(0, BARS_AT_LEAST - len(beyond))]


def _facts(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    plain = [(key.replace("_", " "), value) for key, value in details.items() if key not in _TOLD]
    return [
        (label, str(value))
        for label, value in [*details.get("facts", {}).items(), *plain]
        if isinstance(value, str | int | float) and value != ""
    ]


def _shortened(reasons: Sequence[str]) -> list[str]:
    if len(reasons) <= REASONS_SHOWN:
        return list(reasons)
    return [*reasons[:REASONS_SHOWN], f"… and {len(reasons) - REASONS_SHOWN} more"]


def _instant(decision: Decision) -> str:
    return decision.recorded_at.isoformat() if decision.recorded_at else ""
