"""The daily digest: put once a day at its hour, where there is something to tell, as things stood at that hour."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ml.core.digests import digest_json
from ml.core.settings import Settings
from ml.ledger import decisions, incidents, outbox, stages
from ml.ledger.database import Store
from ml.ledger.decisions import Decision
from ml.ledger.incidents import Incident
from ml.ledger.outbox import MAIL, WEBHOOK
from monitoring.causes import meaning
from monitoring.links import decision_link, incident_link, incidents_link, page_link
from monitoring.mail.digest import Against, Digest, Item, MarketLine, digest_subject, render_digest
from monitoring.mail.notice import amount
from monitoring.routing import everybody, not_before

DAY = timedelta(days=1)
_DECISIONS_READ = 50
_CLOSED_READ = 200


def due(settings: Settings, at: datetime) -> datetime | None:
    """The instant of the last digest's hour, at most a day ago; None where there is no digest.

    On the day on which clocks go forward over the hour, the digest comes an hour later.
    """
    if not settings.digest_at:
        return None
    zone = ZoneInfo(settings.time_zone)
    local = at.astimezone(zone)
    today = datetime.combine(local.date(), time.fromisoformat(settings.digest_at), tzinfo=zone)
    return (today if today <= local else today - DAY).astimezone(at.tzinfo)


def put_digest(store: Store, settings: Settings, *, market: str, at: datetime) -> int:
    """Put the digest of the last digest's hour, where that is due and was not put before; how many messages were new.

    What happened after that hour belongs to the next one, so that however late and often this is called, there is one
    digest a day, and none for a day of which there is nothing to tell.
    """
    hour = due(settings, at)
    if hour is None:
        return 0
    name = hour.astimezone(ZoneInfo(settings.time_zone)).date().isoformat()
    to = {target: f"digest/{name}/{market}/{digest_json(target.identity)[:8]}" for target in everybody(settings)}
    if not to or all(outbox.known(store, key) for key in to.values()):
        return 0
    digest = digest_of(store, settings, market=market, hour=hour)
    if digest is None:
        return 0
    subject = digest_subject(digest)
    text, html, attachments = render_digest(digest)
    return sum(
        outbox.put(
            store,
            key=key,
            to=target.to,
            subject=subject,
            text=_short(digest, subject) if target.channel == WEBHOOK else text,
            html=html if target.channel == MAIL else "",
            attachments=attachments if target.channel == MAIL else (),
            at=at,
            channel=target.channel,
            not_before=not_before(settings, severity="info", at=at),
        )
        for target, key in to.items()
    )


def digest_of(store: Store, settings: Settings, *, market: str, hour: datetime) -> Digest | None:
    """What there is to tell of a market at the digest's hour; None for nothing."""
    standing = [i for i in incidents.open_incidents(store, market) if i.open_since <= hour]
    closed = incidents.find(store, market, state="resolved", limit=_CLOSED_READ)
    over = [i for i in closed if i.resolved_at is not None and hour - DAY < i.resolved_at <= hour]
    made = [
        one
        for one in decisions.latest(store, market, _DECISIONS_READ)
        if one.recorded_at is not None and one.recorded_at <= hour
    ]
    decided = [one for one in made if one.recorded_at is not None and one.recorded_at > hour - DAY]
    asked = [one for one in made if _waits(one, hour)]
    stuck = [mail for mail in outbox.pending(store) if mail.last_error and mail.created_at <= hour]
    if not (standing or over or decided or asked or stuck):
        return None
    waiting = [_asked(one, settings) for one in asked]
    waiting += [_untaken(i, settings) for i in standing if i.severity == "critical" and i.acknowledged_at is None]
    if stuck:
        waiting.append(Item("undelivered", "warning", f"{len(stuck)} messages wait for a server", stuck[-1].last_error))
    day, line = _market(store, settings, market)
    ranked = sorted(standing, key=lambda i: (-incidents.RANK[i.severity], -(i.at_stake_micros or 0), i.id))
    return Digest(
        day=day or hour.date(),
        markets=[line],
        incidents=[_item(i, settings) for i in ranked],
        decisions=[_decided(one, settings) for one in decided] + [_over(i, settings) for i in over],
        waiting=waiting,
        buttons=[incidents_link(settings), page_link(settings)],
    )


def _waits(decision: Decision, hour: datetime) -> bool:
    asked = decision.approval is not None and "answer" not in decision.approval and decision.verdict == "PASS"
    return asked and decision.recorded_at is not None and hour - decision.recorded_at < timedelta(hours=8)


def _market(store: Store, settings: Settings, market: str) -> tuple[date | None, MarketLine]:
    """The last market day that was settled, and its money against what was published for it."""
    for day in reversed(stages.days(store, market)):
        settled = stages.get(store, stages.StageKey(market, "settle", day))
        if settled is None or settled.status != "done":
            continue
        money = settled.result.get("money") or {}
        published = stages.get(store, stages.StageKey(market, "publish", day - DAY))
        plan = _plan(published.result if published else {})
        line = MarketLine(
            market=market,
            currency=settings.currency,
            spend=Against(money.get("spend_micros"), plan.get("cost_micros")),
            profit=Against(money.get("profit_micros"), plan.get("profit_micros")),
            bookings=Against(money.get("bookings")),
            link=page_link(settings),
        )
        return day, line
    nothing = Against(None)
    return None, MarketLine(market, settings.currency, nothing, nothing, nothing, note="No market day was settled yet.")


def _plan(published: Any) -> dict[str, int]:
    """What the bids of all partners are expected to do; nothing where one of them has no expectation."""
    expected = published.get("expected") or {} if isinstance(published, dict) else {}
    found = {}
    for name in ("cost_micros", "profit_micros"):
        values = [one.get(name) for one in expected.values() if isinstance(one, dict)]
        known = [value for value in values if isinstance(value, int | float)]
        if known and len(known) == len(values):
            found[name] = round(sum(known))
    return found


def _item(incident: Incident, settings: Settings) -> Item:
    said = [
        f"since {incident.first_day.isoformat()}",
        f"{amount(incident.at_stake_micros, settings.currency)} at stake"
        if incident.at_stake_micros is not None
        else "",
        f"{incident.acknowledged_by or incident.owner} has it" if incident.acknowledged_by or incident.owner else "",
        "snoozed" if incident.snoozed_until is not None else "",
    ]
    return Item(
        label=incident.severity,
        tone=incident.severity,
        title=f"{meaning(incident.cause).name}: {incident.title}",
        detail=", ".join(part for part in said if part),
        link=incident_link(settings, incident.id),
    )


def _untaken(incident: Incident, settings: Settings) -> Item:
    title = f"Nobody has acknowledged incident {incident.id}: {incident.title}"
    return Item("take it", "critical", title, link=incident_link(settings, incident.id))


def _over(incident: Incident, settings: Settings) -> Item:
    title = f"{meaning(incident.cause).name}: {incident.title}"
    return Item("resolved", "resolved", title, incident.resolution, incident_link(settings, incident.id))


def _asked(decision: Decision, settings: Settings) -> Item:
    link = decision_link(settings, decision.id) if decision.id is not None else None
    return Item("approve", "warning", f"Candidate {decision.candidate[:12]} waits for an answer", link=link)


def _decided(decision: Decision, settings: Settings) -> Item:
    tone = {"PASS": "resolved", "FAIL": "warning"}.get(decision.verdict.value, "info")
    link = decision_link(settings, decision.id) if decision.id is not None else None
    return Item(
        decision.verdict.value, tone, f"Candidate {decision.candidate[:12]}", f"of {decision.day.isoformat()}", link
    )


def _short(digest: Digest, subject: str) -> str:
    """The digest for a channel of few words."""
    from monitoring.webhook import lines_of

    listed = [*digest.waiting, *digest.incidents]
    return lines_of(subject, [f"{item.label}: {item.title}" for item in listed[:10]], digest.buttons)
