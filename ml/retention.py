"""What of the stores may go: how long each kind is kept by the settings, and what something that lives still needs.

Days are market days, counted back from the newest that was landed: a market that stands still loses nothing. What the champion, an open
incident, a window of training or drift, or a decision that can still be explained needs stays, whatever the settings say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.core.units import parse_day

if TYPE_CHECKING:
    from ml.lake.blobs import BlobStore
    from ml.platform import Platform

_DAY = re.compile(r"(?:day=|/)(\d{4}-\d{2}-\d{2})(?=[/.-])")


@dataclass(frozen=True)
class Kind:
    """One kind of files of a market.

    Attributes:
        name: what people call it.
        store: `lake` or `blobs`.
        prefix: of its keys.
        keep: days that are kept by the settings; 0: for ever.
        needed: days that something which lives may read, however few `keep` is; 0: nothing reads old ones.
    """

    name: str
    store: str
    prefix: str
    keep: int = 0
    needed: int = 0


@dataclass
class Found:
    """What lies there of a kind, what may go, and which day is the first that stays."""

    kind: Kind
    sizes: Mapping[str, int]
    first_kept: date | None
    why: str
    going: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes of everything that lies there."""
        return sum(self.sizes.values())

    @property
    def going_bytes(self) -> int:
        """Bytes of what may go."""
        return sum(self.sizes[key] for key in self.going)


def clean_up(platform: Platform, *, dry_run: bool = False) -> dict[str, Any]:
    """Remove what is older than the settings keep and nothing needs; oldest first, and safe to break off and to repeat.

    Args:
        platform: the platform; its market only.
        dry_run: only say what would go.

    Returns:
        `space`: files and bytes by kind, as they are afterwards; `removed`: the same of what went (or would); `kept_from`: by kind the first
        day that stays, and `why`; `newest`: the market day that days are counted from, null where none was landed.

    Raises:
        StoreUnavailable: a store cannot be read, or refuses; what was removed until then stays removed.
    """
    from ml.evaluation.tracking import remove_runs
    from ml.ledger import upkeep

    newest = _newest(platform)
    found = [_look(platform, kind, newest) for kind in kinds(platform)]
    for one in found:
        if not dry_run:
            store = _store(platform, one.kind)
            for key in one.going:
                store.delete(key)
    runs = remove_runs(
        platform.settings,
        keep_days=platform.settings.keep_mlflow_days,
        kept=_runs_of_champions(platform),
        at=platform.clock.now(),
        dry_run=dry_run,
    )
    removed = {one.kind.name: _figure(len(one.going), one.going_bytes) for one in found if one.going}
    result = {
        "newest": None if newest is None else newest.isoformat(),
        "removed": removed | ({"mlflow runs": _figure(runs, 0)} if runs else {}),
        "kept_from": {one.kind.name: {"day": str(one.first_kept), "why": one.why} for one in found if one.first_kept},
        "space": space(platform, found, after=not dry_run),
    }
    if not dry_run:
        done = upkeep.Upkeep("clean_up", platform.market, platform.clock.now(), result)
        upkeep.record(platform.db, done)
    return result | {"dry_run": dry_run}


def kinds(platform: Platform) -> Iterator[Kind]:
    """Every kind of files that a market has; what is of no kind is never looked at."""
    settings, market = platform.settings, platform.market
    for table, needed in needed_days().items():
        keep = settings.keep_traffic_days if table in _TRAFFIC else settings.keep_bookings_days
        yield Kind(table, "lake", f"{market}/{table}/", keep, needed)
    yield Kind("features", "lake", f"{market}/features_", settings.keep_features_days, _longest())
    yield Kind("bid_decisions", "lake", f"{market}/bid_decisions/", settings.keep_decisions_days, _judged())
    yield Kind("quarantine", "lake", f"{market}/quarantine/", settings.keep_quarantine_days)
    yield Kind("reports", "blobs", f"reports/{market}/2", settings.keep_reports_days)  # those of days; scorecards stay
    yield Kind("replaced bids", "blobs", f"replaced/{market}/", settings.keep_replaced_days)
    yield Kind("scorecards", "blobs", f"reports/{market}/scorecard/")
    yield Kind("published bids", "blobs", f"bids/{market}/")
    yield Kind("bundles of all markets", "blobs", "bundles/")


_TRAFFIC = {"opportunities", "clicks", "bids"}


def needed_days() -> dict[str, int]:
    """For each canonical table, the days that training, judging and drift may read, from what they themselves say."""
    from ml.models.rows import CLICK_DAYS, OFFER_DAYS
    from monitoring.windows import WINDOWS

    a_year_ago = WINDOWS.year_of_use[0] + 1
    traffic = max(CLICK_DAYS, OFFER_DAYS, _judged(), a_year_ago, _WINDOW_OF_TRAFFIC) + _LATE
    return {
        "opportunities": traffic,
        "clicks": traffic,
        "bids": traffic,
        "bookings": _longest(),
        "booking_events": _longest(),
        "settlements": _longest(),
        "hotels": a_year_ago + _LATE,
    }


_WINDOW_OF_TRAFFIC = 28
"""The longest window of the views of traffic."""
_LATE = 30
"""Days that come late, or are run again, read so much further back."""


def _longest() -> int:
    """Rows of two years of bookings, the year of their windows before each, and a stay that is still to come."""
    from ml.features.rolling import LONGEST_WINDOW_DAYS
    from ml.market.tables import MAX_LEAD_DAYS, MAX_LOS_NIGHTS
    from ml.models.rows import BOOKING_DAYS

    return BOOKING_DAYS + LONGEST_WINDOW_DAYS + MAX_LEAD_DAYS + MAX_LOS_NIGHTS + _LATE


def _judged() -> int:
    """What judging a candidate and a canary reads of decisions and clicks."""
    from ml.evaluation.holdout import DELAY_DAYS

    return DELAY_DAYS + _LATE


def space(platform: Platform, found: list[Found] | None = None, *, after: bool = False) -> dict[str, dict[str, int]]:
    """Files and bytes by kind, and of the folders of this machine.

    Args:
        platform: the platform.
        found: what was found by kind, where that is known already.
        after: without what was to go.
    """
    known = found or [_look(platform, kind, None) for kind in kinds(platform)]
    told = {
        one.kind.name: _figure(
            len(one.sizes) - (len(one.going) if after else 0), one.bytes - (one.going_bytes if after else 0)
        )
        for one in known
        if one.sizes
    }
    home = platform.settings.home
    for name, folder in {  # those of this machine
        "event log": home / "events",
        "online store": home / "feast",
        "mlflow": home / "mlflow",
        "copies of objects": home / "cache",
    }.items():
        if sizes := _folder(folder):
            told[name] = _figure(len(sizes), sum(sizes))
    told["platform database"] = _figure(1, platform.db.size())
    return told


def _look(platform: Platform, kind: Kind, newest: date | None) -> Found:
    sizes = _store(platform, kind).sizes(kind.prefix)
    if not kind.keep or newest is None or not sizes:
        return Found(kind, sizes, None, "")
    by_setting = newest - timedelta(days=kind.keep - 1)
    reasons = {
        by_setting: "the setting",
        newest - timedelta(days=max(kind.needed, 1) - 1): "training, judging or drift",
    }
    if (since := _open_since(platform)) is not None:
        from ml.steps.watch_series import SERIES_DAYS

        # What its pages and mails draw before its first day.
        reasons[since - timedelta(days=SERIES_DAYS)] = "an open incident"
    first = min(reasons)
    days = {key: day for key in sizes if (day := day_of(key)) is not None}
    going = sorted((key for key, day in days.items() if day < first), key=lambda key: (days[key], key))
    why = "the setting" if first == by_setting else reasons[first]
    return Found(kind, sizes, first, why, going)


def day_of(key: str) -> date | None:
    """The market day that a key names; None where it names none, and then it stays.

    >>> str(day_of("m/clicks/day=2026-03-02/part-0.parquet")), str(day_of("reports/m/2026-03-02-traffic.html"))
    ('2026-03-02', '2026-03-02')
    >>> day_of("bids/m/serving/abc")
    """
    match = _DAY.search(key)
    return parse_day(match[1]) if match else None


def _newest(platform: Platform) -> date | None:
    """The newest market day whose ingest is done."""
    from ml.ledger import partitions

    return partitions.newest_day(platform.db, platform.market)


def _open_since(platform: Platform) -> date | None:
    from ml.ledger import incidents

    return min((one.first_day for one in incidents.open_incidents(platform.db, platform.market)), default=None)


def _runs_of_champions(platform: Platform) -> set[str]:
    """The MLflow runs of every version that was ever champion."""
    from ml.ledger import champion, versions

    reigns = champion.history(platform.db, platform.market)
    found = [versions.get(platform.db, platform.market, one.digest) for one in reigns]
    return {one.mlflow_run_id for one in found if one is not None and one.mlflow_run_id}


def _store(platform: Platform, kind: Kind) -> BlobStore:
    return platform.lake.blobs if kind.store == "lake" else platform.blobs


def _folder(folder: Path) -> list[int]:
    sizes = []
    for path in folder.rglob("*") if folder.is_dir() else ():
        try:
            if path.is_file() and not path.is_symlink():
                sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return sizes


def _figure(files: int, size: int) -> dict[str, int]:
    return {"files": files, "bytes": size}
