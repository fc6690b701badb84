"""The state of the platform for people and programs: the command line, the page and the demo show the same."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.ledger.stages import StageRecord
    from ml.platform import Platform

DAY_COLUMNS = (
    "day",
    "landed",
    "quarantined",
    "features",
    "drift",
    "retrained",
    "candidate",
    "gates",
    "champion",
    "published",
    "mails",
)
"""One column per step of the lifecycle, in its order."""


def overview(platform: Platform, *, days: int) -> dict[str, Any]:
    """The champion, the last `days` market days, open incidents and mail; JSON throughout."""
    from ml.ledger import champion, incidents, outbox, stages

    live = champion.current(platform.db, platform.market)
    known = [day for day in stages.days(platform.db, platform.market) if not _imported(platform, day)]
    return {
        "market": platform.market,
        "champion": None
        if live is None
        else {
            "digest": live.digest,
            "generation": live.generation,
            "since": live.since.isoformat(),
            "decision_id": live.decision_id,
        },
        "days": [day_row(platform, day) for day in known[-days:]],
        "incidents": [
            {
                "cause": i.cause,
                "severity": i.severity,
                "opened_day": i.first_day.isoformat(),
                "title": i.title,
            }
            for i in incidents.open_incidents(platform.db, platform.market)
        ],
        "mail": {"sent": outbox.count_sent(platform.db), "waiting": outbox.count_pending(platform.db)},
    }


def day_row(platform: Platform, day: date) -> dict[str, Any]:
    """What became of one market day: a value per column of `DAY_COLUMNS`, "-" where the step did not run."""
    from ml.ledger import champion, outbox, stages

    done = stages.for_day(platform.db, platform.market, day)
    live = champion.on_day(platform.db, platform.market, day)
    return {
        "day": day.isoformat(),
        "landed": _from(done, "ingest", "accepted"),
        "quarantined": _from(done, "ingest", "quarantined"),
        "features": _from(done, "materialize", "rows"),
        "drift": _from(done, "drift", "verdict"),
        "retrained": _retrained(done),
        "candidate": _short(_from(done, "train", "candidate")),
        "gates": _from(done, "promote", "verdict"),
        "champion": _short(live.digest) if live else "-",
        "published": _from(done, "publish", "published"),
        "mails": outbox.count_about(platform.db, day),
    }


def _imported(platform: Platform, day: date) -> bool:
    from ml.ledger import stages

    done = stages.for_day(platform.db, platform.market, day)
    return bool(done["ingest"].result.get("imported")) if "ingest" in done else False


def _from(done: dict[str, StageRecord], stage: str, name: str) -> Any:
    record = done.get(stage)
    if record is None:
        return "-"
    if record.status == "stopped":
        return f"stopped: {record.result.get('error', '')}"
    value = record.result.get(name)
    return "-" if value is None else value


def _retrained(done: dict[str, StageRecord]) -> str:
    record = done.get("train")
    if record is None or record.status == "stopped":
        return "-" if record is None else "stopped"
    return f"{'yes' if record.result.get('due') else 'no'}: {record.result.get('reason', '')}"


def _short(digest: Any) -> Any:
    return digest[:8] if isinstance(digest, str) and len(digest) > 16 else digest
