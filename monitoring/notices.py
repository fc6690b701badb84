"""What the mails of incidents and decisions say, made from what the ledger keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from ml.core.settings import Settings
from ml.ledger.decisions import Decision
from ml.ledger.incidents import Incident
from monitoring.causes import meaning
from monitoring.links import (
    Link,
    answer_link,
    approval_link,
    decision_link,
    incident_link,
    page_link,
    run_link,
    runbook_link,
)
from monitoring.mail.notice import BARS_AT_LEAST, BARS_SHOWN, REASONS_SHOWN, Bar, Notice, amount, bar, gate
from monitoring.series import charts_from

SUBJECT, MAILED, REASONS = "subject", "mailed_severity", "reasons"
"""What `raise_alert` keeps among an incident's details."""

_TOLD = frozenset({"columns", "charts", "facts", "run_id", SUBJECT, MAILED, REASONS})
"""Details that a mail shows in another way than as a line of facts."""


def base_subject(kind: str, market: str, day: date, title: str) -> str:
    """The part of a subject that stays: what, where, when, how bad."""
    return f"{kind} in {market} on {day.isoformat()}: {title}"


def incident_notice(
    incident: Incident, settings: Settings, *, day: date, state: str, links: Sequence[Link] = (), lead: str = ""
) -> Notice:
    """An incident as it stands. `lead` is a reason before those of its last report, `links` are buttons after that of the incident."""
    cause, details = meaning(incident.cause), incident.details
    reasons = [lead, *(str(reason) for reason in details.get(REASONS, []))]
    reasons = [reason for reason in reasons if reason]
    run = run_link(settings, cause.dag or str(details.get("dag", "")), str(details.get("run_id", "")))
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
        runbook=runbook_link(settings, incident.cause),
        at_stake=""
        if incident.at_stake_micros is None
        else f"{amount(incident.at_stake_micros, settings.currency)} a day",
        owner=incident.acknowledged_by or incident.owner,
        charts=charts_from(details.get("charts")),
        bars=_bars(details),
        facts=_facts(details),
        buttons=[incident_link(settings, incident.id), *links, *([run] if run else [])],
        links=[page_link(settings)],
        number=incident.id,
    )


def resolved_notice(incident: Incident, settings: Settings) -> Notice:
    """The end of an incident: why, and what it had been."""
    reason = incident.resolution
    stood = incident_notice(incident, settings, day=incident.resolved_day or incident.last_day, state="resolved")
    return replace(
        stood, severity="resolved", title=f"{stood.kind}: over", summary=reason,
        reasons=[reason[:1].upper() + reason[1:]], did="", todo="", bars=(), charts=(), at_stake="",
        facts=[("it was", incident.title), ("severity", incident.severity), ("days", _span(incident))],
    )  # fmt: skip


def decision_notice(decision: Decision, settings: Settings, *, outcome: str, title: str, reason: str) -> Notice:
    """What became of a candidate: `promoted`, `refused` or `held`, with every gate."""
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
        facts=_of_decision(decision, "champion before"),
        buttons=[*links, *([run] if run else [])],
        links=[page_link(settings)],
    )


def approval_notice(decision: Decision, settings: Settings, *, run_id: str, hours: int) -> Notice:
    """A candidate that passed the gates and waits for a person: its gates, and where to answer."""
    reasons = [str(reason) for reason in (decision.approval or {}).get("reasons", ())]
    return Notice(
        state="approval wanted",
        severity="warning",
        kind="Approval wanted",
        title=f"Candidate {decision.candidate[:12]} passed the gates and waits for an answer",
        market=decision.market,
        day=decision.day,
        since=None,
        summary=f"Without an answer within {hours} hours the champion stays and this version is not offered again.",
        reasons=_shortened([f"You are asked because: {reason}." for reason in reasons]),
        did="Nothing moves before somebody answers. The champion goes on bidding.",
        todo=f"Read the gates and answer within {hours} hours: Approve makes the candidate the champion, Reject leaves "
        "the champion as it is.",
        gates=[gate(result) for result in decision.gates],
        facts=_of_decision(decision, "champion now"),
        buttons=[
            answer_link(settings, run_id),
            approval_link(settings, run_id),
            *([decision_link(settings, decision.id)] if decision.id is not None else []),
        ],
    )


def _of_decision(decision: Decision, champion: str) -> list[tuple[str, str]]:
    return [
        ("candidate", decision.candidate[:12]),
        (champion, decision.champion[:12] if decision.champion else "none"),
        ("verdict", decision.verdict.value),
    ]


def _span(incident: Incident) -> str:
    return f"{incident.first_day.isoformat()} to {(incident.resolved_day or incident.last_day).isoformat()}"


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
