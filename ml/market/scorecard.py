"""The scorecard of a market day: what our bids were worth, told by whoever knows the market's truth.

Only a simulated market has one; whoever plays the market keeps it in the blob store, for people to look at:

    reports/<market>/scorecard/<day>.json

Profit in it is expected, given the day's searches and rivals, and without the dice of clicks and bookings. No model, gate
or bid may read it; a test holds that.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact
from ml.core.units import parse_day
from ml.lake.blobs import BlobStore


@dataclass(frozen=True)
class Scorecard:
    """Expected profit of a market day in micros: that of our bids, and that of the best ones in the partners' language."""

    day: date
    profit_micros: int
    o2_micros: int

    @property
    def share_of_o2(self) -> float | None:
        """Our profit as a share of O2's; None where the best bids earn nothing."""
        return self.profit_micros / self.o2_micros if self.o2_micros > 0 else None


def keep(blobs: BlobStore, market: str, card: Scorecard) -> None:
    """Write a day's card over its last one."""
    figures = {"day": card.day.isoformat(), "profit_micros": card.profit_micros, "o2_micros": card.o2_micros}
    blobs.put(_key(market, card.day), canonical_json(figures))


def cards(blobs: BlobStore, market: str, days: Collection[date]) -> dict[date, Scorecard]:
    """The cards of those of these days that have one.

    Raises:
        CorruptArtefact: a card cannot be read.
        StoreUnavailable: the blob store cannot be read.
    """
    if not days:
        return {}
    kept = set(blobs.list(f"reports/{market}/scorecard/"))
    return {day: _read(blobs, _key(market, day)) for day in days if _key(market, day) in kept}


def _read(blobs: BlobStore, key: str) -> Scorecard:
    try:
        found = json.loads(blobs.get(key))
        return Scorecard(parse_day(found["day"]), int(found["profit_micros"]), int(found["o2_micros"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtefact(
            f"the scorecard {key} cannot be read", next="remove it, and run the demo again to have it made anew"
        ) from error


def _key(market: str, day: date) -> str:
    return f"reports/{market}/scorecard/{day.isoformat()}.json"
