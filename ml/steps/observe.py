"""Watch a market day: its series, what moved, the likely cause, what it costs; and what is not learned from because of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from ml.core.units import days_between

if TYPE_CHECKING:
    from ml.ledger.champion import Champion
    from ml.platform import Platform
    from monitoring.observed import Observed

MEMORY_DAYS = 3
"""A report this old still says what was thought before."""


def observe_day(
    platform: Platform, day: date, live: Champion | None, models: Mapping[str, Any] | None
) -> Observed | None:
    """What the watchers see on a market day; None where the source delivers no auctions: there is nothing to watch.

    Args:
        platform: the platform.
        day: the market day.
        live: the champion of the day before.
        models: its models.
    """
    if not platform.source.has_opportunities:
        return None
    from ml.steps.watch_extras import extras_of
    from ml.steps.watch_series import read_series
    from monitoring.observed import observe

    series = read_series(platform, day, extras_of(platform, day, live, models))
    return observe(series, day, before=_thought_before(platform, day), currency=platform.settings.currency)


def _thought_before(platform: Platform, day: date) -> str:
    """The likeliest cause that the last report before the day named; empty where none did."""
    from ml.ledger import reports

    for age in range(1, MEMORY_DAYS + 1):
        report = reports.get(platform.db, platform.market, day - timedelta(days=age))
        if report is not None:
            named = report.numbers.get("diagnosis") or [{}]
            return str(named[0].get("cause", ""))
    return ""


def hold_blind_days(platform: Platform, day: date, since: str) -> list[date]:
    """Hold the checked days from `since` to the one before `day`, found to be blind by what came later; they are not learned from.

    Args:
        platform: the platform.
        day: the market day whose check found it.
        since: the first blind day, YYYY-MM-DD; empty where there is none.
    """
    from ml.core.units import parse_day
    from ml.ledger import stages

    held = []
    for one in days_between(parse_day(since), day - timedelta(days=1)) if since else []:
        key = stages.StageKey(platform.market, "drift", one)
        record = stages.get(platform.db, key)
        if record is not None and record.status == "done":
            result = {**record.result, "held": True, "held_by": day.isoformat()}
            stages.record(platform.db, key, status="held", result=result, at=platform.clock.now(), run_id=record.run_id)
            held.append(one)
    return held
