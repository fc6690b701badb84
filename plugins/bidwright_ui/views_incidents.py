"""Incidents as the pages show them, as plain JSON values, and what a person does with one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from bidwright_ui.charts import Chart, known, of_signal
from bidwright_ui.page import View, plain
from ml.core.errors import UsageError

if TYPE_CHECKING:
    from ml.ledger.incidents import Incident, Severity, State
    from ml.platform import Platform

SHOWN: Final = 200
"""Rows of the list."""

SNOOZE: Final = timedelta(days=1)
"""What the form proposes."""


def incidents(platform: Platform, *, state: str = "", severity: str = "", cause: str = "") -> View:
    """Incidents newest first, of one state, severity and cause where they are given; and the open ones of all.

    UsageError for a state or a severity that there is not.
    """
    from ml.ledger import incidents as ledger

    now = platform.clock.now()
    known = ledger.find(platform.db, platform.market, limit=SHOWN)
    chosen = ledger.find(
        platform.db,
        platform.market,
        # It says itself which there are.
        state=cast("State", state or "all"),
        severity=cast("Severity | None", severity or None),
        limit=SHOWN,
    )
    return {
        "incidents": [shown(one, now) for one in chosen if cause in ("", one.cause)],
        "open": [shown(one, now) for one in ledger.open_incidents(platform.db, platform.market)],
        "filters": {"state": state, "severity": severity, "cause": cause},
        "states": [name for name in get_args(ledger.State) if name != "all"],
        "severities": list(get_args(ledger.Severity)),
        "causes": dict(sorted(Counter(one.cause for one in known).items())),
        "currency": platform.settings.currency,
        "any": bool(known),
    }


_ELSEWHERE = frozenset({"charts", "reasons", "mailed_severity", "run_id", "subject"})
_COMPARED = ("name", "now", "before", "distance", "limit", "exceeds")


def incident(platform: Platform, number: int) -> View:
    """One incident: what stands, what it means and what to do, its charts and evidence, its story and its mails."""
    from ml.ledger import incidents as ledger
    from ml.ledger import outbox, reports
    from monitoring.causes import meaning
    from monitoring.links import runbook_of

    now = platform.clock.now()
    found = ledger.get(platform.db, platform.market, number)
    cause = meaning(found.cause)
    mails = outbox.deliveries(platform.db, [number], now).get(number, [])
    return {
        "incident": shown(found, now),
        "cause": {"name": cause.name, "did": cause.did, "todo": cause.todo, "dag": cause.dag},
        "runbook": runbook_of(found.cause),
        "charts": _charts(found.details.get("charts")),
        "has_report": reports.get(platform.db, platform.market, found.last_day) is not None,
        "evidence": _evidence(found.details),
        "reasons": [str(reason) for reason in found.details.get("reasons") or ()],
        "notes": plain(ledger.notes(platform.db, platform.market, number)),
        "mails": plain(mails),
        "currency": platform.settings.currency,
        "snooze_until": f"{now + SNOOZE:%Y-%m-%dT%H:00}",
    }


def _evidence(details: Mapping[str, Any]) -> dict[str, Any]:
    """What was kept with an incident, but for what is shown elsewhere and what only the mails need to go on."""
    return {key: _short(value) for key, value in details.items() if key not in _ELSEWHERE and value not in ("", None)}


def _short(value: Any) -> Any:
    """A value as JSON; of a column of rows what a person compares, and a list that is no table of these as it is."""
    kept = plain(value)
    if isinstance(kept, list) and all(isinstance(one, dict) and "distance" in one for one in kept):
        return [{key: one[key] for key in _COMPARED if key in one} for one in kept]
    return kept


def shown(incident: Incident, now: datetime) -> dict[str, Any]:
    """An incident with its state in one word: open, acknowledged, snoozed or resolved."""
    state = "resolved"
    if incident.is_open:
        state = "snoozed" if incident.sleeps(now) else "acknowledged" if incident.acknowledged_at else "open"
    return {"state": state, **plain(incident)}


def change(platform: Platform, number: int, action: str, form: Mapping[str, str], *, by: str) -> None:
    """Do what a form asks for, in the name of a person.

    NoData for an incident that there is not; UsageError for what cannot be done with it, or an action that there is not.
    """
    if action not in ACTIONS:
        raise UsageError(f"{action!r} cannot be done with an incident", next="use one of " + ", ".join(ACTIONS))
    ACTIONS[action](platform, number, form, by)


def _acknowledge(platform: Platform, number: int, form: Mapping[str, str], by: str) -> None:
    from ml.ledger import incidents as ledger

    at, note = platform.clock.now(), form.get("note", "")
    ledger.acknowledge(platform.db, platform.market, number, by=by, at=at, note=note)


def _snooze(platform: Platform, number: int, form: Mapping[str, str], by: str) -> None:
    from ml.ledger import incidents as ledger

    until, at, why = _instant(form.get("until", "")), platform.clock.now(), form.get("why", "")
    ledger.snooze(platform.db, platform.market, number, until=until, by=by, at=at, why=why)


def _wake(platform: Platform, number: int, form: Mapping[str, str], by: str) -> None:  # noqa: ARG001  (as the others)
    from ml.ledger import incidents as ledger

    ledger.wake(platform.db, platform.market, number, by=by, at=platform.clock.now(), why=f"by {by}")


def _comment(platform: Platform, number: int, form: Mapping[str, str], by: str) -> None:
    from ml.ledger import incidents as ledger

    text = form.get("text", "")
    told = [note for note in ledger.notes(platform.db, platform.market, number) if note.by == by][-1:]
    if any(note.kind == "comment" and note.text == text.strip() for note in told):
        return  # a form that was sent twice says it once
    ledger.comment(platform.db, platform.market, number, by=by, at=platform.clock.now(), text=text)


def _assign(platform: Platform, number: int, form: Mapping[str, str], by: str) -> None:
    from ml.ledger import incidents as ledger

    at, owner = platform.clock.now(), form.get("owner", "")
    ledger.assign(platform.db, platform.market, number, owner=owner, by=by, at=at)


def _resolve(platform: Platform, number: int, form: Mapping[str, str], by: str) -> None:
    from ml.incidents import end_by_hand

    why = form.get("why", "")
    if not why.strip():
        raise UsageError(
            "an incident ends by hand with a reason", left="nothing was changed", next="say why it is over"
        )
    end_by_hand(platform, number, by=by, why=why)


ACTIONS: Final[Mapping[str, Callable[[Platform, int, Mapping[str, str], str], None]]] = {
    "acknowledge": _acknowledge,
    "snooze": _snooze,
    "wake": _wake,
    "comment": _comment,
    "assign": _assign,
    "resolve": _resolve,
}
"""What a person can do with an incident, by the last part of the form's address."""


def _instant(text: str) -> datetime:
    """An instant as a browser's field gives it, in UTC unless it says otherwise.

    >>> _instant("2026-03-02T08:00").isoformat()
    '2026-03-02T08:00:00+00:00'
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text[:40]!r} is no end of a snooze", next="give it like 2026-03-02T08:00, in UTC") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _charts(kept: Any) -> list[Chart]:
    """The series that an incident keeps, as charts; one that cannot be read, or knows nothing, is left out."""
    from monitoring.series import charts_from

    drawn = [of_signal(one.as_json()) for one in charts_from(kept)]
    return [chart for chart in drawn if known(chart)]
