"""What a tab on a view of Airflow shows: the piece of the pages that belongs to that DAG, and to that run's market day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from bidwright_ui.page import View, plain

if TYPE_CHECKING:
    from ml.platform import Platform

STAGE_OF_DAG: Final[Mapping[str, str]] = {
    "ingest_market": "ingest",
    "settle_outcomes": "settle",
    "materialize_features": "materialize",
    "check_drift": "drift",
    "train_bid_model": "train",
    "promote_bid_model": "promote",
    "publish_bids": "publish",
}
"""The step of a market day that each DAG of the lifecycle does."""

BESIDE: Final = frozenset({"tend_incidents", "rehearse_rollback", "clean_up"})
"""DAGs of ours that do no step of a market day."""

SHOWN: Final = 10


def tab(platform: Platform, dag: str, day: date | None) -> View:
    """The piece of a DAG: of one market day, or of the last ones where none is given.

    Keys that do not belong to the DAG, or hold nothing, are empty; `ours` is False for a DAG of somebody else.
    """
    stage = STAGE_OF_DAG.get(dag)
    found: View = {
        "dag": dag,
        "day": day.isoformat() if day else None,
        "ours": stage is not None or dag in BESIDE,
        "a_step": stage is not None,
        "step": None,
        "days": [],
        "reports": [],
        "versions": [],
        "decisions": [],
        "bids": [],
        "incidents": [],
    }
    if not found["ours"]:
        return found
    found["incidents"] = _incidents(platform, dag, day)
    if stage is not None:
        found |= _step(platform, stage, day) if day else _last_days(platform)
    piece = _PIECES.get(dag)
    return found | (piece(platform, day) if piece else {})


def _incidents(platform: Platform, dag: str, day: date | None) -> list[dict[str, Any]]:
    """The incidents of a DAG that are open, or were on a day."""
    from bidwright_ui.views_incidents import shown
    from ml.ledger import incidents
    from monitoring.causes import meaning

    db, market = platform.db, platform.market
    stood = incidents.open_on(db, market, day) if day else incidents.open_incidents(db, market)
    now = platform.clock.now()
    return [shown(one, now) for one in stood if dag == "tend_incidents" or meaning(one.cause).dag == dag]


def _step(platform: Platform, stage: str, day: date) -> View:
    from ml.ledger import stages

    found = stages.for_day(platform.db, platform.market, day).get(stage)
    return {"step": plain(found) if found else None}


def _last_days(platform: Platform) -> View:
    from ml.status import overview

    return {"days": list(reversed(overview(platform, days=SHOWN)["days"]))}


def _reports(platform: Platform, day: date | None) -> View:
    from ml.ledger import reports

    one = reports.get(platform.db, platform.market, day) if day else None
    found = [one] if one else [] if day else reports.latest(platform.db, platform.market, SHOWN)
    return {"reports": [{name: plain(getattr(r, name)) for name in ("day", "verdict", "reasons")} for r in found]}


def _versions(platform: Platform, day: date | None) -> View:
    from ml.ledger import champion, versions

    live = champion.current(platform.db, platform.market)
    found = versions.newest(platform.db, platform.market, 200 if day else SHOWN)
    return {
        "versions": [
            plain(v) | {"live": live is not None and v.digest == live.digest} for v in found if day in (None, v.day)
        ]
    }


def _decisions(platform: Platform, day: date | None) -> View:
    from bidwright_ui.evidence import gates
    from bidwright_ui.views_decision import decision_heads
    from ml.ledger import decisions

    found = decisions.latest(platform.db, platform.market, 200 if day else SHOWN)
    return {
        "decisions": [
            plain(one) | decision_heads(one) | {"evidence": gates(plain(one.gates)) if day else []}
            for one in found
            if day in (None, one.day)
        ]
    }


def _bids(platform: Platform, day: date | None) -> View:
    from ml.ledger import publications, stages

    days = [day] if day else sorted(stages.days(platform.db, platform.market), reverse=True)[:SHOWN]
    return {"bids": plain([p for one in days for p in publications.for_day(platform.db, platform.market, one)])}


_PIECES: Final = {
    "check_drift": _reports,
    "train_bid_model": _versions,
    "promote_bid_model": _decisions,
    "publish_bids": _bids,
}
"""What belongs to a DAG beside the step that it recorded."""
