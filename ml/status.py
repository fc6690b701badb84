"""The state of the platform for people and programs: the command line, the page and the demo show the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.ledger.stages import StageRecord
    from ml.market.scorecard import Scorecard
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
    "spend_micros",
    "bookings",
    "profit_micros",
    "share_of_o2",
)
"""One column per step of the lifecycle, in its order, then the day's money (`ml.steps.money`).

`share_of_o2` is the expected profit of our bids over that of the best bids, where somebody knows it
(`ml.market.scorecard`).
"""


def overview(platform: Platform, *, days: int) -> dict[str, Any]:
    """The champion, the last `days` market days, open incidents and mail; JSON throughout."""
    from ml.ledger import champion, incidents, outbox, stages

    live = champion.current(platform.db, platform.market)
    known = [day for day in stages.days(platform.db, platform.market) if not _imported(platform, day)][-days:]
    return {
        "market": platform.market,
        "currency": platform.settings.currency,
        "champion": None
        if live is None
        else {
            "digest": live.digest,
            "generation": live.generation,
            "since": live.since.isoformat(),
            "decision_id": live.decision_id,
        },
        "days": day_rows(platform, known),
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


def day_rows(platform: Platform, days: Sequence[date]) -> list[dict[str, Any]]:
    """The `day_row` of each of these market days."""
    known = _scorecards(platform, days)
    return [_row(platform, day, known.get(day)) for day in days]


def day_row(platform: Platform, day: date) -> dict[str, Any]:
    """What became of one market day: a value per column of `DAY_COLUMNS`, "-" where there is none."""
    return day_rows(platform, [day])[0]


def _row(platform: Platform, day: date, card: Scorecard | None) -> dict[str, Any]:
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
        "spend_micros": _money(done, "spend_micros"),
        "bookings": _money(done, "bookings"),
        "profit_micros": _money(done, "profit_micros"),
        "share_of_o2": "-" if card is None or card.share_of_o2 is None else card.share_of_o2,
    }


def _scorecards(platform: Platform, days: Sequence[date]) -> Mapping[date, Scorecard]:
    """Scorecards of these days. What cannot be read is left out: it must not take the state of the platform with it."""
    from ml.core.errors import BidwrightError
    from ml.market.scorecard import cards

    try:
        return cards(platform.blobs, platform.market, days)
    except BidwrightError:
        return {}


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


def _money(done: Mapping[str, StageRecord], name: str) -> Any:
    """A figure of the day's money, "-" where it is not known."""
    record = done.get("settle")
    value = record.result.get("money", {}).get(name) if record else None
    return "-" if value is None else value


def _retrained(done: dict[str, StageRecord]) -> str:
    record = done.get("train")
    if record is None or record.status == "stopped":
        return "-" if record is None else "stopped"
    return f"{'yes' if record.result.get('due') else 'no'}: {record.result.get('reason', '')}"


def _short(digest: Any) -> Any:
    return digest[:8] if isinstance(digest, str) and len(digest) > 16 else digest
