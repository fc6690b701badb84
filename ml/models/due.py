"""Whether a retrain is due, decided from what the ledger holds, so that a lost event loses nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ml.ledger import champion, incidents, stages, versions
from monitoring.causes import retrain_helps

if TYPE_CHECKING:
    from ml.core.settings import Settings
    from ml.ledger.database import Database
    from ml.ledger.incidents import Incident

_VERSIONS_SEEN = 200


@dataclass(frozen=True)
class Due:
    """The answer, and the reason as a sentence for people."""

    due: bool
    reason: str


def retrain_due(db: Database, settings: Settings, *, market: str, day: date) -> Due:
    """Whether a candidate is to be trained on a market day.

    Due when the day has its candidate already (a repeat builds the same one again), when there is no champion,
    when the newest version is `settings.retrain_every_days` days old, or when an open incident that a
    retrain may cure (`monitoring.causes`) has no version of its own day or later. Never on a held day. Versions of later days do not count, so that a day that
    is run again answers as it did then.
    """
    days = [v.day for v in versions.newest(db, market, _VERSIONS_SEEN) if v.day <= day]
    newest = max(days, default=None)
    if newest == day:
        return Due(True, "the day has its candidate already; building it again gives the same one")
    if day in stages.held_days(db, market, last=day):
        return Due(False, "the day is held: nothing is learned from it, and nothing is trained on it")
    if champion.current(db, market) is None:
        return Due(True, "there is no champion yet")
    if newest is None:
        return Due(True, "no version was trained up to this day")
    incident = _untreated(incidents.open_incidents(db, market), newest=newest, day=day)
    if incident is not None:
        opened = incident.first_day.isoformat()
        return Due(True, f"the {incident.cause} incident opened on {opened} has no newer version")
    age = (day - newest).days
    if age >= settings.retrain_every_days:
        return Due(
            True, f"the newest version is {_days(age)} old; one is trained every {_days(settings.retrain_every_days)}"
        )
    return Due(
        False,
        f"the newest version is {_days(age)} old, younger than {_days(settings.retrain_every_days)}, and no incident asks for one",
    )


def _untreated(found: list[Incident], *, newest: date, day: date) -> Incident | None:
    """The first incident up to `day` that opened after the newest version was trained."""
    for incident in found:
        if retrain_helps(incident.cause) and newest < incident.first_day <= day:
            return incident
    return None


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"
