"""The state of the platform for people and programs: the command line, the page and the demo show the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.ledger.champion import Champion
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
    """The champion and how it does, the last `days` market days beside their plan, open incidents and mail; JSON throughout.

    Returns:
        `market`, `currency`; `champion` (`digest`, `generation`, `since`, `decision_id`, `age_days` and
        `trained_through`; null before the first); `calibration` (the champion's promised over realised value of the
        bookings that were due, as the last drift check found it: `ratio`, `low`, `high`, `rows`, `days`, and the
        `day` of the check; null where none did); `rollout` (the candidate in front of traffic, its place in the ramp;
        null where there is none); `days` (a row per market day, see `DAY_COLUMNS`; days imported as history are left
        out); `plan` (per row of `days`: `spend_micros` and `profit_micros` that its bids were expected to bring, null
        where nothing was published for it); `incidents` that are open and `severities`, how many of each; `space` (`bytes` in all and `kinds`, files and
        bytes of each, as the last clean-up measured them `at`; null before the first); `mail`.
    """
    from ml.ledger import champion, incidents, outbox, stages

    live = champion.current(platform.db, platform.market)
    known = stages.days(platform.db, platform.market)
    # One day more than is shown: the plan of a day is published on the day before it.
    records = stages.between(platform.db, platform.market, known[-days - 1 :][0], known[-1]) if known else {}
    shown = [day for day in known[-days:] if not _imported(records[day])]
    standing = incidents.open_incidents(platform.db, platform.market)
    return {
        "market": platform.market,
        "currency": platform.settings.currency,
        "champion": None if live is None else _champion(platform, live, known),
        "calibration": _calibration(records),
        "rollout": _rollout(platform),
        "days": _rows(platform, {day: records[day] for day in shown}),
        "plan": [{"day": day.isoformat(), **_plan(records.get(day - timedelta(days=1), {}), day)} for day in shown],
        "incidents": [
            {
                "cause": i.cause,
                "severity": i.severity,
                "opened_day": i.first_day.isoformat(),
                "title": i.title,
            }
            for i in standing
        ],
        "severities": {name: sum(i.severity == name for i in standing) for name in ("critical", "warning", "info")},
        "space": _space(platform),
        "mail": {"sent": outbox.count_sent(platform.db), "waiting": outbox.count_pending(platform.db)},
    }


def day_row(platform: Platform, day: date) -> dict[str, Any]:
    """What became of one market day: a value per column of `DAY_COLUMNS`, "-" where there is none."""
    from ml.ledger import stages

    [row] = _rows(platform, {day: stages.for_day(platform.db, platform.market, day)})
    return row


def _champion(platform: Platform, live: Champion, known: Sequence[date]) -> dict[str, Any]:
    from ml.ledger import versions

    version = versions.get(platform.db, platform.market, live.digest)
    return {
        "digest": live.digest,
        "generation": live.generation,
        "since": live.since.isoformat(),
        "decision_id": live.decision_id,
        "age_days": (known[-1] - live.since).days if known else 0,
        "trained_through": version.trained_through.isoformat() if version else None,
    }


def _calibration(records: Mapping[date, Mapping[str, StageRecord]]) -> dict[str, Any] | None:
    for day in sorted(records, reverse=True):
        found = records[day]["drift"].result.get("calibration") if "drift" in records[day] else None
        if found and found.get("ratio") is not None:
            return {**found, "day": day.isoformat()}
    return None


def _space(platform: Platform) -> dict[str, Any] | None:
    """Files and bytes by kind, as the last clean-up measured them, and when that was."""
    from ml.ledger import upkeep

    done = upkeep.last(platform.db, "clean_up", platform.market)
    if done is None:
        return None
    kinds = done.result["space"]
    return {"at": done.at.isoformat(), "bytes": sum(one["bytes"] for one in kinds.values()), "kinds": kinds}


def _rollout(platform: Platform) -> dict[str, Any] | None:
    """The candidate in front of traffic: its rollout, and the steps of the ramp by name and share."""
    from ml.ledger import rollouts

    found = rollouts.active(platform.db, platform.market)
    if found is None:
        return None
    from ml.promotion.ramp import ramp_for

    told = rollouts.as_json(found)
    kept = (
        "id",
        "candidate",
        "decision_id",
        "state",
        "step",
        "canary_share",
        "watched_ms",
        "held_ms",
        "reason",
        "began_at",
        "ticked_at",
    )
    steps = [
        {
            "name": one.name,
            "answers": one.answers,
            "canary_share": one.shares.canary,
            "watched_s": one.watched.total_seconds(),
        }
        for one in ramp_for(platform.settings.rollout_slow_hours).steps
    ]
    return {name: told[name] for name in kept} | {"steps": steps}


def _plan(before: Mapping[str, StageRecord], day: date) -> dict[str, Any]:
    """What the bids for a day were expected to bring; they are published on the day before it."""
    result = before["publish"].result if "publish" in before else {}
    expected = result.get("expected") or {}
    if not expected or result.get("for_day") != day.isoformat():
        return {"spend_micros": None, "profit_micros": None}
    return {
        "spend_micros": sum(one["cost_micros"] for one in expected.values()),
        "profit_micros": sum(one["profit_micros"] for one in expected.values()),
    }


def _rows(platform: Platform, records: Mapping[date, Mapping[str, StageRecord]]) -> list[dict[str, Any]]:
    from ml.ledger import champion, outbox

    if not records:
        return []
    cards = _scorecards(platform, list(records))
    reigns = champion.history(platform.db, platform.market)
    mails = outbox.counts_about(platform.db, min(records), max(records))
    return [
        _row(day, done, cards.get(day), [one for one in reigns if one.since <= day], mails.get(day, 0))
        for day, done in records.items()
    ]


def _row(
    day: date, done: Mapping[str, StageRecord], card: Scorecard | None, reigns: Sequence[Champion], mails: int
) -> dict[str, Any]:
    return {
        "day": day.isoformat(),
        "landed": _from(done, "ingest", "accepted"),
        "quarantined": _from(done, "ingest", "quarantined"),
        "features": _from(done, "materialize", "rows"),
        "drift": _from(done, "drift", "verdict"),
        "retrained": _retrained(done),
        "candidate": _short(_from(done, "train", "candidate")),
        "gates": _from(done, "promote", "verdict"),
        "champion": _short(reigns[-1].digest) if reigns else "-",
        "published": _from(done, "publish", "published"),
        "mails": mails,
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


def _imported(done: Mapping[str, StageRecord]) -> bool:
    return bool(done["ingest"].result.get("imported")) if "ingest" in done else False


def _from(done: Mapping[str, StageRecord], stage: str, name: str) -> Any:
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


def _retrained(done: Mapping[str, StageRecord]) -> str:
    record = done.get("train")
    if record is None or record.status == "stopped":
        return "-" if record is None else "stopped"
    return f"{'yes' if record.result.get('due') else 'no'}: {record.result.get('reason', '')}".removesuffix(": ")


def _short(digest: Any) -> Any:
    return digest[:8] if isinstance(digest, str) and len(digest) > 16 else digest
