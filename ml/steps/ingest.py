"""Land a market day, and many of them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from ml.core.units import days_between

if TYPE_CHECKING:
    from ml.market.ingest import Landing
    from ml.platform import Platform
    from ml.serving.event_log_lake import Collected


def land_day(platform: Platform, day: date) -> dict[str, Any]:
    """Fetch, check and land one market day; rows delivered twice are told to people, although nothing is lost."""
    from ml.market.ingest import ingest_day

    landing = ingest_day(
        platform.source, platform.lake, platform.db, market=platform.market, day=day, at=platform.clock.now()
    )
    repeated = _repeated(landing)
    if repeated:
        _tell_repeated(platform, day, repeated)
    return landing_json(landing) | {"repeated": repeated} | collect_decisions(platform, day)


def collect_decisions(platform: Platform, day: date) -> dict[str, Any]:
    """Bring what the bid service has logged into the lake; what was lost on the way is told to people.

    Events come into the partition of their own day, whichever day is ingested.

    Returns:
        `decisions`, as of `ml.serving.event_log_lake.Collected`; nothing where no bid service has run.
    """
    from ml.serving.event_log import events_folder, events_memory
    from ml.serving.event_log_lake import collect

    found = collect(
        events_folder(platform.settings.home, platform.market),
        platform.lake,
        keep_days=platform.settings.events_keep_days,
        at=platform.clock.now(),
        memory=events_memory(platform.settings, platform.market),
    )
    if found is None:
        return {}
    if found.lost or found.damaged:
        _tell_lost(platform, day, found)
    return {"decisions": found.as_json()}


def import_days(
    platform: Platform, first: date, last: date, *, progress: Callable[[date], None] | None
) -> dict[str, Any]:
    """Land every day from `first` to `last` and build its features, as the daily steps would have."""
    from ml.features.materialize import materialize_history
    from ml.ledger import stages
    from ml.market.ingest import ingest_range

    at = platform.clock.now()
    landings = ingest_range(
        platform.source,
        platform.lake,
        platform.db,
        market=platform.market,
        days=days_between(first, last),
        at=at,
        progress=progress,
    )
    features = materialize_history(
        platform.lake, platform.db, platform.settings, market=platform.market, first=first, last=last, at=at
    )
    with platform.db.session() as session:
        for landing in landings:
            key = stages.StageKey(platform.market, "ingest", landing.day)
            stages.record(session, key, status="done", result=landing_json(landing) | {"imported": True}, at=at)
        key = stages.StageKey(platform.market, "materialize", last)
        stages.record(session, key, status="done", result=features | {"imported": True}, at=at)
    return {
        "first": first.isoformat(),
        "last": last.isoformat(),
        "days": len(landings),
        "rows_in": sum(landing.rows_in for landing in landings),
        "accepted": sum(landing.accepted for landing in landings),
        "quarantined": sum(landing.quarantined for landing in landings),
        "features": features,
    }


def landing_json(landing: Landing) -> dict[str, Any]:
    """What the record of the step keeps: rows in, accepted, quarantined, and why, per table."""
    return {
        "rows_in": landing.rows_in,
        "accepted": landing.accepted,
        "quarantined": landing.quarantined,
        "unchanged": landing.unchanged,
        "reasons": dict(sorted(_reasons(landing).items())),
        "tables": {
            name: {"accepted": table.accepted, "digest": table.digest, "replaced": table.replaced}
            for name, table in landing.tables.items()
        },
    }


def _reasons(landing: Landing) -> Counter[str]:
    """Quarantined rows by reason, over all tables."""
    total: Counter[str] = Counter()
    for name, table in landing.tables.items():
        total.update({f"{name}: {reason}": count for reason, count in table.reasons.items()})
    return total


def _repeated(landing: Landing) -> int:
    from ml.market.reasons import REPEATED_ROW

    return sum(table.reasons.get(REPEATED_ROW, 0) for table in landing.tables.values())


def _tell_repeated(platform: Platform, day: date, rows: int) -> None:
    from monitoring.alerts import raise_alert

    raise_alert(
        platform.db,
        platform.settings,
        market=platform.market,
        cause="ingest:repeated",
        day=day,
        severity="warning",
        title="rows were delivered twice",
        reasons=[f"{rows} rows came twice; the first copy landed, the second is in quarantine"],
        details={"rows": rows},
        at=platform.clock.now(),
    )


def _tell_lost(platform: Platform, day: date, found: Collected) -> None:
    from monitoring.alerts import raise_alert

    again = found.recovered
    reasons = [f"{found.lost} decisions were answered and are not in the log", *found.damaged]
    if again.lost_unacknowledged:
        reasons.append(f"{again.lost_unacknowledged} of them were in memory when a worker of the bid service died")
    if again.lost_counted:
        reasons.append(f"{again.lost_counted} of them found the disk full or too slow")
    raise_alert(
        platform.db,
        platform.settings,
        market=platform.market,
        cause="ingest:events",
        day=day,
        severity="warning",
        title="logged bid decisions are missing",
        reasons=reasons,
        details={"lost": found.lost},
        at=platform.clock.now(),
    )
