"""What judging a candidate's bids rests on: the recent rows scored by both, their bids, and one yardstick; each made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from ml.evaluation.holdout import Holdout
    from ml.models.protocol import BidModel
    from ml.platform import Platform
    from ml.promotion.bundle import Bundle
    from ml.promotion.evidence_bids import DoesNotApply
    from ml.promotion.yardstick import Auctions, Belief, Floats, Promise, Yardstick
    from ml.steps.portfolio import Wanted

Models = Mapping[str, "BidModel"]

NO_RESPONSE = "the market's response to bids is not known yet, so that a fixed share of the worth is bid"


@dataclass(frozen=True)
class Bidder:
    """What the models of one bundle make of the recent traffic.

    Attributes:
        cells: from `ml.bidding.worth.click_cells`.
        traffic: scored.
        auctions: from `ml.steps.portfolio.auctions_of`, with this bundle's click probabilities and worth; None where
            there is no click model.
        wanted: the bids before any limit on their change.
    """

    cells: pd.DataFrame
    traffic: pd.DataFrame
    auctions: pd.DataFrame | None
    wanted: Wanted
    promise: Promise


@dataclass(frozen=True)
class BidStudy:
    """One candidate on one day; every table is made once, when it is first asked for."""

    platform: Platform
    day: date
    bundle: Bundle
    models: Models
    champion: Models | None
    champion_meta: Mapping[str, Any]
    holdouts: Mapping[str, Holdout]

    @cached_property
    def recent(self) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Recent bookings, and the traffic where there are partners."""
        from ml.steps.publish import recent_rows

        return recent_rows(self.platform, self.day)

    @cached_property
    def traffic(self) -> pd.DataFrame:
        """The recent traffic, of a market with partners."""
        found = self.recent[1]
        assert found is not None  # noqa: S101  (asked for only where there are partners)
        return found

    @property
    def has_partners(self) -> bool:
        """Whether anybody is bid to."""
        return bool(self.platform.source.partners)

    @cached_property
    def ours(self) -> Bidder:
        """The candidate."""
        return self._bidder(self.models, self.shipped)

    @cached_property
    def theirs(self) -> Bidder | None:
        """The champion."""
        if self.champion is None:
            return None
        return self._bidder(self.champion, self.platform.under(self.champion_meta))

    @cached_property
    def auction_rows(self) -> pd.DataFrame | None:
        """Every recent auction, in the order of time; `worth_micros` holds the number of its cell and `p_click` that of its
        row of the traffic, from 1, or 0 where we were not shown: both bundles score the same rows."""
        from ml.steps.portfolio import auctions_of

        cells, traffic = self.scored(self.models)
        if "p_click" not in traffic:
            return None
        found = auctions_of(
            self.platform,
            self.day,
            cells.assign(worth_micros=np.arange(len(cells), dtype=float)),
            traffic.assign(p_click=np.arange(1, len(traffic) + 1, dtype=float)),
        )
        return None if found is None else found.sort_values("ts", kind="stable", ignore_index=True)

    @cached_property
    def auctions(self) -> Auctions:
        """The same as arrays."""
        from ml.promotion.yardstick import Auctions

        rows = self.auction_rows
        assert rows is not None  # noqa: S101  (asked for only where the response is known)
        days = rows["ts"].dt.floor("D")
        return Auctions(
            cell=rows["worth_micros"].to_numpy(dtype=np.int64),
            day=np.unique(days.to_numpy(), return_inverse=True)[1].astype(np.int64),
            hotel=np.unique(rows["hotel_id"].to_numpy(dtype=object), return_inverse=True)[1].astype(np.int64),
            bid_micros=rows["bid_micros"].to_numpy(dtype=np.float64),
            clicked=rows["clicked"].to_numpy(dtype=bool),
            cost_micros=rows["cpc_micros"].to_numpy(dtype=np.float64, na_value=0.0),
        )

    @cached_property
    def belief(self) -> Belief:
        """How far candidate and champion are believed, from what has matured; without a champion, the candidate alone."""
        from ml.evaluation.worth import worth_rows
        from ml.promotion.yardstick import Outcome, believe

        clicks, settled = self.holdouts["conversion"], self.holdouts["value"]
        money = worth_rows("conversion", self.holdouts)
        pair = (self.models, self.champion or self.models)
        assert settled.value_micros is not None  # noqa: S101  (of a value model)
        known = np.isfinite(settled.value_micros)
        return believe(
            Outcome(
                booked=clicks.label,
                books=np.array([clicks.of_label(said_by(one["conversion"], clicks.rows, "p_book")) for one in pair]),
                stay=np.ones(len(clicks.label)) if money is None else money.scale,
                kept=settled.value_micros[known],
                keeps=np.array([said_by(one["value"], settled.rows, "net_value_micros")[known] for one in pair]),
            )
        )

    @cached_property
    def yardstick(self) -> Yardstick | DoesNotApply:
        """The market's response on the believed worth; none where the platform does not know it either."""
        from ml.models.response import Response
        from ml.promotion.evidence_bids import DoesNotApply
        from ml.promotion.yardstick import Yardstick, believed_worth
        from ml.steps.portfolio import codes_of, kinds_of

        if self.ours.wanted.landscape is None or self.ours.auctions is None:
            return DoesNotApply(NO_RESPONSE)
        other = self.theirs or self.ours
        worth = believed_worth(
            self.belief, self.ours.promise, other.promise, take_share=self.platform.settings.take_share
        )
        rows = self.ours.auctions.assign(worth_micros=worth[self.auctions.cell])
        kinds, rows = kinds_of(self.ours.cells.assign(worth_micros=worth), rows)
        response = Response.fit(rows)
        return Yardstick(response, codes_of(response, kinds), worth)

    @property
    def seed(self) -> int:
        """Of every sample and resampling."""
        return self.platform.settings.seed

    @cached_property
    def known_from(self) -> datetime:
        """The end of what the candidate knew."""
        return datetime.fromisoformat(self.bundle.meta["trained_known_by"])

    @cached_property
    def worth(self) -> Floats:
        """What a click of each cell earns, as the candidate has it; shape (cells,)."""
        from ml.steps.portfolio import worth_of

        return worth_of(self.platform, self.ours.cells)

    def scored(self, models: Models) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The cells and the traffic as these models score them."""
        from ml.steps.publish import scored_cells

        found: dict[int, tuple[pd.DataFrame, pd.DataFrame]] = self.__dict__.setdefault("_scored_cells", {})
        if id(models) not in found:
            cells, traffic, _ = scored_cells(models, self.recent[0], self.traffic)
            found[id(models)] = cells, traffic
        return found[id(models)]

    @cached_property
    def shipped(self) -> Platform:
        """The platform under the bid settings that ship with the candidate; the yardsticks stay those of the platform."""
        return self.platform.under(self.bundle.meta)

    def _bidder(self, models: Models, platform: Platform) -> Bidder:
        from ml.promotion.yardstick import Promise
        from ml.steps.portfolio import wanted_on, worth_of
        from ml.steps.publish import bid_policy

        cells, traffic = self.scored(models)
        rows = self.auction_rows
        auctions = None
        if rows is not None and "p_click" in traffic:
            number, place = (rows[name].to_numpy(dtype=np.int64) for name in ("worth_micros", "p_click"))
            p_click = np.concatenate([[0.0], traffic["p_click"].to_numpy(dtype=float)])
            auctions = rows.assign(worth_micros=worth_of(platform, cells)[number], p_click=p_click[place])
        wanted = wanted_on(platform, self.day, cells, auctions, policy=bid_policy(platform))
        promise = Promise(*(cells[name].to_numpy(dtype=float) for name in ("p_book", "net_value_micros")))
        return Bidder(cells, traffic, auctions, wanted, promise)

    def moved(self) -> Any:
        """Which auctions had a bid that was moved at random; shape (auctions,)."""
        import pandas as pd

        rows = self.auction_rows
        assert rows is not None  # noqa: S101  (asked for only where the response is known)
        cells = self.ours.cells
        group = pd.MultiIndex.from_arrays([cells["partner"].astype(str), cells["hotel_id"].astype(str)])
        code, names = pd.factorize(group)
        days = np.unique(rows["ts"].dt.date.to_numpy())
        moved = np.zeros((len(names), len(days)), dtype=bool)
        for number, day in enumerate(days):
            for partner, hotels in _tried(self.platform, day).items():
                place = pd.MultiIndex.from_arrays([[partner] * len(hotels), hotels])
                found = pd.MultiIndex.from_tuples(names).get_indexer(place)
                moved[found[found >= 0], number] = True
        return moved[code[self.auctions.cell], self.auctions.day]


def said_by(model: BidModel, rows: pd.DataFrame, output: str) -> Floats:
    """One output of a model; shape (rows,)."""
    return model.predict(rows)[output].to_numpy(dtype=np.float64)


def _tried(platform: Platform, day: date) -> dict[str, list[str]]:
    """Hotels whose bids were moved at random in the auctions of a day, by partner."""
    from ml.bidding.publish import read_table
    from ml.ledger import publications

    found = {}
    for partner in platform.source.partners:
        last = publications.latest(platform.db, platform.market, partner, before=day)
        if last is None:
            continue
        table = read_table(platform.blobs, last.uri, columns=("hotel_id", "explore_factor"))
        if "explore_factor" in table:
            found[partner] = table.loc[table["explore_factor"] != 1.0, "hotel_id"].astype(str).unique().tolist()
    return found
