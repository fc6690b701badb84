"""Our bids: those that the platform published, and the house policy that bids before and beside them.

The market reads publications as a partner would: the Parquet file and its manifest, from the blob store.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.core.digests import digest_bytes
from ml.core.errors import BidwrightError, CorruptArtefact
from ml.core.units import MICROS_PER_UNIT, parse_day
from ml.lake.blobs import BlobStore
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS, LOS_BUCKETS, LOS_MIDDLES, LOS_STARTS, bucket_index
from ml.market.simulator.conversion import conversion_probability, usual_cancellation, usual_log_odds
from ml.market.simulator.partners import NAMES, PARTNERS
from ml.market.simulator.scenarios import Effects
from ml.market.simulator.world import TAKE_SHARE, Floats, Ints, Rows, World
from ml.market.tables import DEVICES

HOUSE_SCALE, HOUSE_POWER = 0.62, 0.85
"""The house policy bids `scale x worth ^ power` of what it believes a click to be worth, in currency units: like bids
kept by hand it spans less than the values do, and near enough to a model's bids that either covers the other."""

HOUSE_JITTER_SD = 0.35
"""Spread, in the logarithm, of the house policy's random jitter; its draw is kept with the truth."""

_NIGHTS = np.array(LOS_MIDDLES)
"""Middle of each bucket of length of stay, by which a bid per click is sent as one per night."""

_SHAPE = (len(DEVICES), len(LEAD_BUCKETS), len(LOS_BUCKETS))


@dataclass(frozen=True)
class Publication:
    """Our bids at one partner as they stand on a day.

    `cells` has a bid per click, in currency units, by hotel, device, lead bucket and length of stay, NaN where the
    hotel has none at all: shape (hotels, 3, 7, 5). A cell that was not published has the mean of the nearest coarser
    one: hotel, device and lead time; hotel and device; hotel. `daily_budget_micros` is what the partner may charge on a
    day before it stops showing us; None: no limit.
    """

    day: date
    digest: str
    cells: Floats
    daily_budget_micros: int | None = None


Standing = dict[str, Publication]
"""What stands on a day, by partner; a partner that is not in it is bid for by the house policy."""


class Publications:
    """The publications of one market in the blob store."""

    def __init__(self, blobs: BlobStore, market: str, hotel_ids: npt.NDArray[np.object_]) -> None:
        self.blobs, self.market = blobs, market
        self._hotels = {name: place for place, name in enumerate(hotel_ids)}
        self._read: dict[str, Publication] = {}

    def first_day(self) -> date | None:
        """The first day that published anything; None when none did."""
        return min((day for name in NAMES for day in self._days(name)), default=None)

    def standing(self, day: date) -> Standing:
        """What decides a day's auctions: the newest publication of an earlier day, partner by partner.

        CorruptArtefact when its bytes are not those of its manifest, or are not bids.
        """
        found = {}
        for name in NAMES:
            earlier = [published for published in self._days(name) if published < day]
            if earlier:
                found[name] = self._publication(name, max(earlier))
        return found

    def _days(self, partner: str) -> list[date]:
        prefix, end = f"bids/{self.market}/{partner}/", "/manifest.json"
        keys = [key for key in self.blobs.list(prefix) if key.endswith(end)]
        return [parse_day(key[len(prefix) : -len(end)]) for key in keys]

    def _publication(self, partner: str, day: date) -> Publication:
        uri = f"bids/{self.market}/{partner}/{day}"
        manifest = self.blobs.get(f"{uri}/manifest.json")
        key = f"{uri} {digest_bytes(manifest)}"
        if key not in self._read:
            self._read = {name: kept for name, kept in self._read.items() if f"/{partner}/" not in name}
            self._read[key] = self._parse(uri, day, manifest)
        return self._read[key]

    def _parse(self, uri: str, day: date, manifest: bytes) -> Publication:
        try:
            told = json.loads(manifest)
            wanted, budget = told["files"]["bids.parquet"], told.get("daily_budget_micros")
            data = self.blobs.get(f"{uri}/bids.parquet")
            if digest_bytes(data) != wanted:
                raise ValueError("its digest is not the one in the manifest")
            if budget is not None and (not isinstance(budget, int) or budget < 0):
                raise ValueError("its daily budget is no amount of money")
            return Publication(day, wanted, self._cells(data), budget)
        except BidwrightError:
            raise
        except Exception as error:
            raise CorruptArtefact(
                f"the published bids {uri} cannot be used: {error}",
                left="no auction of the day was held",
                next="publish the day again and run this again",
            ) from error

    def _cells(self, data: bytes) -> Floats:
        import pyarrow.parquet as pq

        names = ["hotel_id", "device", "lead_bucket", "los_bucket", "bid_micros"]
        return self.cells(pq.read_table(io.BytesIO(data), columns=names).to_pydict())

    def cells(self, rows: Mapping[str, Sequence[Any]]) -> Floats:
        """A published table, given by column, as bids per click of every cell; see `Publication`.

        ValueError when a bid is missing or below 0.
        """
        place = [
            [self._hotels.get(value, -1) for value in rows["hotel_id"]],
            [DEVICES.index(value) for value in rows["device"]],
            [LEAD_BUCKETS.index(value) for value in rows["lead_bucket"]],
            [LOS_BUCKETS.index(value) for value in rows["los_bucket"]],
        ]
        known = np.array(place, dtype=np.intp).reshape(4, -1)
        bids = np.array(rows["bid_micros"], dtype=np.float64) / MICROS_PER_UNIT
        if not (np.isfinite(bids).all() and (bids >= 0).all()):
            raise ValueError("a bid is missing or below 0")
        cells = np.full((len(self._hotels), *_SHAPE), np.nan)
        ours = known[0] >= 0
        cells[tuple(known[:, ours])] = bids[ours]
        return fill_from_coarser(cells)


def fill_from_coarser(cells: Floats) -> Floats:
    """Give each unknown cell of shape (hotels, 3, 7, 5) the mean of the published cells of the nearest coarser one."""
    published = ~np.isnan(cells)
    bids = np.where(published, cells, 0.0)
    filled = cells
    for axes in ((3,), (2, 3), (1, 2, 3)):
        count = published.sum(axis=axes, keepdims=True)
        mean = bids.sum(axis=axes, keepdims=True) / np.where(count > 0, count, 1)
        filled = np.where(np.isnan(filled) & (count > 0), mean, filled)
    return filled


def our_bids(world: World, searches: Rows, standing: Standing, effects: Effects) -> Ints:
    """What we bid for each of n searches, per click, in micros; shape (n,).

    The bid of the search's cell at its partner, through the partner's unit; the house policy's where there is none.
    """
    bid = _house(searches)
    lead, los = bucket_index(searches["lead"], LEAD_STARTS), bucket_index(searches["los"], LOS_STARTS)
    for number, (name, partner) in enumerate(PARTNERS.items()):
        if name not in standing:
            continue
        mine = np.flatnonzero(searches["partner"] == number)
        rows, bucket = searches[mine], los[mine]
        published = standing[name].cells[rows["hotel"], rows["device"], lead[mine], bucket]
        if partner.unit == "per_night":
            published = published / _NIGHTS[bucket] * rows["los"]
        elif partner.unit == "percent":
            usual = world.rate[rows["hotel"]] * _NIGHTS[bucket]
            published = published / usual * rows["price"] * rows["los"]
        bid[mine] = np.where(np.isnan(published), bid[mine], published)
    wrong_unit = searches["number"] * 0.4142135624 % 1.0 < effects.per_stay
    bid = np.where(wrong_unit, bid * searches["los"], bid)
    micros: Ints = np.rint(bid * MICROS_PER_UNIT).astype(np.int64)
    return micros


def _house(searches: Rows) -> Floats:
    """The house prior: a rule of what a click is worth on the market's averages, times log-normal jitter.

    It knows partner, device, lead time, length of stay and kind of dates, and nothing of the single hotel.
    """
    gross = searches["market_rate"] * searches["los"] * (1 - usual_cancellation(searches["lead"]))
    worth = conversion_probability(usual_log_odds(searches)) * gross * TAKE_SHARE
    jitter = np.exp(HOUSE_JITTER_SD * searches["jitter"] - HOUSE_JITTER_SD**2 / 2)
    bid: Floats = HOUSE_SCALE * worth**HOUSE_POWER * jitter
    return bid
