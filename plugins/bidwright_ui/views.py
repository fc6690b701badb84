"""What the pages show, as plain JSON values; the HTML and its JSON twin are made from the same.

Everything comes from the ledger and the blob store; nothing here writes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any

from ml.core.errors import NoData, UsageError
from ml.core.units import parse_day

if TYPE_CHECKING:
    from ml.ledger.reports import DriftReport
    from ml.platform import Platform

RECENT = 10
"""Rows of each list on the front page."""

ALL = 200
"""Rows of each list that stands alone."""

DAYS_SHOWN = 14
BID_ROWS_SHOWN = 200

View = dict[str, Any]


def front(platform: Platform) -> View:
    """The champion, the last days and their money, open incidents, and the newest of everything."""
    from bidwright_ui.plots import plots
    from ml.status import overview

    found = overview(platform, days=DAYS_SHOWN)
    return found | {
        "days": list(reversed(found["days"])),
        "plots": plots(found["days"], currency=found["currency"]),
        "open_incidents": incidents(platform)["open"],
        "versions": versions(platform, limit=RECENT)["versions"],
        "decisions": decisions(platform, limit=RECENT)["decisions"],
        "reports": reports(platform, limit=RECENT)["reports"],
        "bids": bids(platform)["bids"][:RECENT],
    }


def versions(platform: Platform, *, limit: int = ALL) -> View:
    """The newest registered versions; `live` marks the champion."""
    from ml.ledger import champion
    from ml.ledger import versions as ledger

    live = champion.current(platform.db, platform.market)
    found = ledger.newest(platform.db, platform.market, limit)
    return {"versions": [plain(v) | {"live": live is not None and v.digest == live.digest} for v in found]}


def features(platform: Platform) -> View:
    """Every feature view with its features, who reads them, and the market day up to which it is served."""
    from ml.catalogue import catalogue, served

    return {"views": catalogue(served(platform))}


def version(platform: Platform, digest: str) -> View:
    """One version: its data, its metrics, what its errors cost, every decision about it, and since when it was champion."""
    from ml.evaluation.worth import money_of
    from ml.ledger import champion
    from ml.ledger import decisions as ledger_decisions
    from ml.ledger import versions as ledger

    found = ledger.find(platform.db, platform.market, digest)
    reigns = [c for c in champion.history(platform.db, platform.market) if c.digest == found.digest]
    return {
        "version": plain(found),
        "currency": platform.settings.currency,
        "money": money_of(found.metrics),
        "decisions": plain(ledger_decisions.for_version(platform.db, platform.market, found.digest)),
        "champion": plain(reigns),
    }


def decisions(platform: Platform, *, limit: int = ALL) -> View:
    """The newest gate decisions, each with the evidence of every gate."""
    from ml.ledger import decisions as ledger

    return {"decisions": plain(ledger.latest(platform.db, platform.market, limit))}


def decision(platform: Platform, number: int) -> View:
    """One decision with the evidence of every gate."""
    from ml.ledger import decisions as ledger

    found = ledger.get(platform.db, number)
    if found.market != platform.market:
        raise UsageError(f"decision {number} is of another market", next="choose one from the list")
    return {"decision": plain(found)}


def champions(platform: Platform) -> View:
    """Who was champion since when, and by which decision."""
    from ml.ledger import champion

    return {"champions": plain(champion.history(platform.db, platform.market))}


def incidents(platform: Platform) -> View:
    """Open incidents, and the newest of all."""
    from ml.ledger import incidents as ledger

    return {
        "open": plain(ledger.open_incidents(platform.db, platform.market)),
        "incidents": plain(ledger.all_incidents(platform.db, platform.market, ALL)),
    }


def reports(platform: Platform, *, limit: int = ALL) -> View:
    """The drift verdicts of the last days."""
    from ml.ledger import reports as ledger

    return {"reports": plain(ledger.latest(platform.db, platform.market, limit))}


def report(platform: Platform, day: str) -> View:
    """The drift verdict of one day with its reasons and numbers."""
    return {"report": plain(_report(platform, day))}


def report_html(platform: Platform, day: str) -> bytes:
    """The HTML report of a day's drift check, as it was kept in the blob store."""
    found = _report(platform, day)
    if not found.report_key:
        raise NoData(f"the drift check of {day} left no HTML report", next="its reasons say why")
    return platform.blobs.get(found.report_key)


def _report(platform: Platform, day: str) -> DriftReport:
    from ml.ledger import reports as ledger

    found = ledger.get(platform.db, platform.market, parse_day(day))
    if found is None:
        raise NoData(f"{day} has not been checked for drift", next="choose a day from the list")
    return found


def bids(platform: Platform) -> View:
    """What was published on the last days, newest first."""
    from ml.ledger import publications, stages

    days = sorted(stages.days(platform.db, platform.market), reverse=True)
    found = [p for day in days[:DAYS_SHOWN] for p in publications.for_day(platform.db, platform.market, day)]
    return {"bids": plain(found)}


def bid_table(platform: Platform, partner: str, day: str) -> View:
    """The first rows of a published table, from the CSV that the partner gets."""
    from ml.ledger import publications

    found = publications.get(platform.db, platform.market, partner, parse_day(day))
    if found is None:
        raise NoData(f"nothing was published for {partner} on {day}", next="choose one from the list")
    text = platform.blobs.get(f"{found.uri}/bids.csv").decode()
    rows = list(islice(csv.reader(io.StringIO(text)), BID_ROWS_SHOWN + 1))
    return {"publication": plain(found), "columns": rows[0], "rows": rows[1:]}


def days(platform: Platform) -> View:
    """Every market day that went through the lifecycle, newest first, a value per step."""
    from ml.status import overview

    found = overview(platform, days=ALL)
    return {"days": list(reversed(found["days"])), "currency": found["currency"]}


def day(platform: Platform, name: str) -> View:
    """What each step of the lifecycle recorded for one market day."""
    from ml.ledger import stages

    found = stages.for_day(platform.db, platform.market, parse_day(name))
    if not found:
        raise NoData(f"{name} has not been ingested", next="choose a day from the list")
    known = [stage for stage in stages.STAGES if stage in found]
    return {"day": name, "stages": {stage: plain(found[stage]) for stage in known}}


def plain(value: Any) -> Any:
    """A value of the ledger as JSON: records as objects, days and instants as ISO text.

    >>> plain({"day": date(2026, 3, 2), "rows": (1, 2)})
    {'day': '2026-03-02', 'rows': [1, 2]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    for kind, turn in _PLAIN:
        if isinstance(value, kind):
            return turn(value)
    return value


_PLAIN: Sequence[tuple[type | tuple[type, ...], Callable[[Any], Any]]] = (
    (Enum, lambda v: v.value),
    (str, str),
    ((date, datetime), lambda v: v.isoformat()),
    (Mapping, lambda v: {str(key): plain(entry) for key, entry in v.items()}),
    (Sequence, lambda v: [plain(entry) for entry in v]),
)
