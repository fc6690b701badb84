"""The conversion model: how probable it is that a click books.

It reads the search and the price, and no history that our own bids have written. How high rivals bid for such a search
at this hotel (`ml.models.rival_level`) is one column more, learned from auctions whose bids are conditioned on; how far
that is to be believed is learned from our bookings. What a hotel books beyond it is a shrunk multiplier
(`ml.models.hotel_effect`). Bookings are few: a line in log-odds carries the whole, and small trees only add to it.

A click of the last days may still book. Its label is what is known, and the share F of bookings known at its age,
partner and lead time (`ml.models.delay`) enters as an offset in log-odds, `logit(p F) - logit(p)` at the mean p, so
that every click counts and none counts as lost too early.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from ml.market.buckets import lead_buckets
from ml.models.base import LogisticModel, Prepared, Task, TreeModel, enough_of_each, enough_rows, in_order
from ml.models.boosted import Examples
from ml.models.context import SEARCH_COLUMNS, SEARCH_INPUTS, search_context
from ml.models.delay import Completion
from ml.models.encoding import Column, Columns, Encoder, Values, as_times, known_before
from ml.models.hotel_effect import fit_hotels, hotel_artefacts, load_hotels, of_hotels
from ml.models.lightgbm_text import Recipe
from ml.models.logistic import Logistic
from ml.models.numbers import Bools, Floats, logit
from ml.models.over_line import OverLine
from ml.models.rival_level import LEVEL, RivalLevel
from ml.models.shrinkage import Multipliers

MATURE_DAYS = 7
"""From this age on a click counts as mature: 95 % of its bookings are known."""

RECIPE = Recipe(
    rounds=100,
    learning_rate=0.05,
    num_leaves=4,
    min_rows_in_leaf=100,
    feature_fraction=0.9,
    l2=30.0,
    max_bins=63,
    falling=("price_gap", "dearer_by"),
)

MIN_CLICKS, MIN_BOOKINGS = 300, 10


class ConversionTask(Task):
    """Probability that a click books: that of a fitted model of the search, and a multiplier per hotel."""

    task: ClassVar[str] = "conversion"
    columns: ClassVar[tuple[Column, ...]] = tuple(column for column in SEARCH_COLUMNS if column.name != "hotel_id")
    inputs: ClassVar[tuple[str, ...]] = SEARCH_INPUTS
    outputs: ClassVar[tuple[str, ...]] = ("p_book",)
    hotels: Multipliers
    level: RivalLevel | None

    def design(self, columns: Columns) -> Columns:
        """The columns of the design, with what rivals bid where it is known."""
        return _with_level(super().design(columns), self.level)

    def probability(self, columns: Columns, design: Columns) -> Floats:
        """Probability of a booking of each row, shape (n,)."""
        return of_hotels(self.hotels, columns, super().probability(columns, design))

    @classmethod
    def prepare(
        cls,
        rows: pd.DataFrame,
        *,
        as_of: datetime,
        completion: Completion | None = None,
        auctions: pd.DataFrame | None = None,
    ) -> Prepared:
        """Clicks known before `as_of` (`click_known_at`, `booked`, `booking_known_at`), at least a day old.

        `completion` gives the share of bookings known by age, learned from more clicks than these (`completion_of`);
        it is needed where these are of a few days only, which have no matured cohort to learn it from.
        `auctions` (`ml.models.rival_level.AUCTION_COLUMNS`) tell how high rivals bid; without them nothing is read of it.
        """
        old_enough = known_before(rows["click_known_at"], as_of - timedelta(days=1))
        rows = in_order(rows[old_enough], time="ts", key="click_id")
        enough_rows(cls.task, rows, least=MIN_CLICKS)
        age, delay, booked = _ages(rows, as_of=as_of)
        enough_of_each(cls.task, booked.astype(float), least=MIN_BOOKINGS)
        cell = delay_cells(rows)
        learned = Completion.fit(age, delay, booked, cell=cell) if completion is None else completion
        factor = learned.at(age, cell)
        level = None if auctions is None else RivalLevel.fit(auctions[known_before(auctions["known_at"], as_of)])
        frame = cls.context(rows)
        if level is not None:
            frame = frame.assign(**{LEVEL.name: level.of(rows)})
        encoder = Encoder.fit(cls.columns if level is None else (*cls.columns, LEVEL), frame)
        examples = Examples(
            encoder.matrix(frame), booked.astype(float), np.ones(len(rows)), delay_offset(factor, booked)
        )
        hotels = tuple(rows["hotel_id"].astype(str))
        certain = booked | (age >= MATURE_DAYS)
        return Prepared(encoder, examples, certain=certain, days=age, hotels=hotels, known_share=factor, level=level)

    @classmethod
    def derive(cls, columns: Columns) -> dict[str, Values]:
        """The columns of the search."""
        return search_context(columns)

    @classmethod
    def answer(cls, columns: Columns, p: Floats) -> dict[str, Floats]:  # noqa: ARG003  (the probability is the answer)
        """`p_book`."""
        return {"p_book": p}


class ConversionModel(ConversionTask, TreeModel):
    """A line and small trees over the search, the price and what rivals bid, and a multiplier per hotel."""

    name: ClassVar[str] = "conversion"

    def __init__(self, fitted: OverLine, hotels: Multipliers, level: RivalLevel | None) -> None:
        super().__init__(fitted)
        self.hotels, self.level = hotels, level

    @classmethod
    def fit_prepared(cls, prepared: Prepared, *, seed: int) -> Self:
        """Fit; the trees are few and small, so that they need no calibration beyond their intercept."""
        fitted = OverLine.over(
            Logistic.fit(prepared.encoder, prepared.examples), prepared.examples, recipe=RECIPE, seed=seed
        )
        return cls(fitted, fit_hotels(prepared, fitted.raw(prepared.examples.matrix)), prepared.level)

    def artefacts(self) -> dict[str, bytes]:
        """Those of line and trees, `conversion/hotels.json` and, where known, `conversion/rival_level.json`."""
        return super().artefacts() | _own_artefacts(self.name, self.hotels, self.level)

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Self:
        """Read back `artefacts`; CorruptArtefact when a file is missing or not of its form."""
        fitted = OverLine.load(cls.name, artefacts)
        return cls(fitted, load_hotels(cls.name, artefacts), _level_of(cls.name, fitted.encoder, artefacts))


class ConversionBaseline(ConversionTask, LogisticModel):
    """The same task, columns, labels, offsets and hotels with a logistic regression alone."""

    name: ClassVar[str] = "conversion_baseline"

    def __init__(self, fitted: Logistic, hotels: Multipliers, level: RivalLevel | None) -> None:
        super().__init__(fitted)
        self.hotels, self.level = hotels, level

    @classmethod
    def fit_prepared(cls, prepared: Prepared, *, seed: int) -> Self:  # noqa: ARG003  (nothing random here)
        """Fit."""
        fitted = Logistic.fit(prepared.encoder, prepared.examples)
        return cls(fitted, fit_hotels(prepared, fitted.raw(prepared.examples.matrix)), prepared.level)

    def artefacts(self) -> dict[str, bytes]:
        """That of the regression, `conversion_baseline/hotels.json` and, where known, `.../rival_level.json`."""
        return super().artefacts() | _own_artefacts(self.name, self.hotels, self.level)

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Self:
        """Read back `artefacts`; CorruptArtefact when a file is missing or not of its form."""
        fitted = cls.load_fitted(artefacts)
        return cls(fitted, load_hotels(cls.name, artefacts), _level_of(cls.name, fitted.encoder, artefacts))


def _with_level(columns: Columns, level: RivalLevel | None) -> Columns:
    return columns if level is None else {**columns, LEVEL.name: level.of_columns(columns)}


def _own_artefacts(name: str, hotels: Multipliers, level: RivalLevel | None) -> dict[str, bytes]:
    return hotel_artefacts(name, hotels) | ({} if level is None else level.artefacts(name))


def _level_of(name: str, encoder: Encoder, artefacts: Mapping[str, bytes]) -> RivalLevel | None:
    """What the column of that name is made with; none where the model does not read it."""
    return RivalLevel.load(name, artefacts) if LEVEL.name in encoder.names else None


def completion_of(clicks: pd.DataFrame, *, as_of: datetime) -> Completion:
    """Completion factors per partner and lead bucket, learned from clicks of any age.

    Args:
        clicks: with `click_known_at` and `booking_known_at`; and `partner` and `lead_days`, without which all are pooled.
        as_of: the instant of knowledge.
    """
    return Completion.fit(*_ages(clicks, as_of=as_of), cell=delay_cells(clicks))


def known_share(rows: pd.DataFrame, *, learned_from: pd.DataFrame, as_of: datetime) -> Floats:
    """Of the bookings that ever follow these clicks, the share known before `as_of`; shape (n,), above 0 to 1.

    Args:
        rows: clicks known before `as_of`, with `click_known_at`, and `partner` and `lead_days` where there are any.
        learned_from: clicks of any age with the same columns and `booking_known_at`, to learn the delay from.
        as_of: the instant of knowledge.
    """
    age = _days(pd.Timestamp(as_of) - as_times(rows["click_known_at"]))
    return completion_of(learned_from, as_of=as_of).at(age, delay_cells(rows))


def delay_offset(factor: Floats, booked: Bools) -> Floats:
    """`logit(p F) - logit(p)` at the mean p that these bookings make of these factors F; shape (n,), 0 or less.

    With `ln F` alone the fit would be some `p (1 - F)` of p too high.
    """
    p = np.array([min(booked.sum() / factor.sum(), 0.5)])
    return logit(p * factor) - logit(p)


def delay_cells(rows: pd.DataFrame) -> list[str] | None:
    """Partner and lead bucket of each click, or none where the rows do not say."""
    if not {"partner", "lead_days"} <= set(rows.columns):
        return None
    lead = lead_buckets(rows["lead_days"].to_numpy(dtype=np.int64))
    return [f"{partner} {bucket}" for partner, bucket in zip(rows["partner"], lead, strict=True)]


def _ages(rows: pd.DataFrame, *, as_of: datetime) -> tuple[Floats, Floats, Bools]:
    """Days from click to `as_of` and to its booking, and whether one was known before `as_of`."""
    clicked, booking = as_times(rows["click_known_at"]), as_times(rows["booking_known_at"])
    booked = known_before(rows["booking_known_at"], as_of)
    delay = np.where(booked, _days(booking - clicked), 0.0)
    return _days(pd.Timestamp(as_of) - clicked), np.maximum(delay, 0.0), booked


def _days(spans: pd.TimedeltaIndex) -> Floats:
    return np.asarray(spans / np.timedelta64(1, "D"), dtype=np.float64)
