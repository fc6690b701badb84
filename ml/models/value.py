"""The value model: how probable it is that a booking cancels, and what it is worth net of that.

`net value = (1 - p_cancel) * gross value`: nothing is kept on a cancellation. The probability is that of a mixture
cure model (`ml.models.survival`): open bookings are censored rows, no label is made up for them. It also tells what
an open booking will still come to: `ValueModel.open_p_cancel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from ml.models.base import LogisticModel, Prepared, Task, TreeModel, enough_of_each, enough_rows, in_order
from ml.models.blend import Blend, line_share
from ml.models.boosted import Boosted, Examples
from ml.models.calibration import Calibration, Identity, choose
from ml.models.context import BOOKING_COLUMNS, BOOKING_INPUTS, booking_context
from ml.models.encoding import Column, Columns, Encoder, Values
from ml.models.field_calibration import FieldCalibration, value_weights
from ml.models.history import BOOKING_HISTORY
from ml.models.lightgbm_text import Recipe
from ml.models.logistic import Logistic
from ml.models.maturity import Knowledge
from ml.models.numbers import Bools, Floats
from ml.models.survival import Timing, objective

# Chosen on the walk through the real bookings from October 2015 to June 2016; July 2016 to March 2017 was looked at
# three times on the way, and that the line's share falls with the rows was prompted by the first of these looks.
RECIPE = Recipe(rounds=100, learning_rate=0.07, num_leaves=31, min_rows_in_leaf=100, feature_fraction=0.5, max_bins=63)
SMALL_RECIPE = Recipe(rounds=60, learning_rate=0.1, num_leaves=8, min_rows_in_leaf=200, feature_fraction=0.9)
SMALL_ROWS = 30_000
"""Below so many bookings the smaller trees."""

LEFT_OUT = frozenset({"arrival_yearday"})
"""Columns that the model does without: in a short history the day of arrival names a group, not a season."""

PRIOR_SHARE = 0.4
"""The trees that calibration is chosen with have so many of the model's rounds."""

PRIOR_AGE_DAYS = 90
"""They learn from bookings older than this; the younger ones are held out from them, and calibrate."""

CHOICE_DAYS = 30
"""The last of the held-out days choose the calibration."""

LEAD_FIELDS = (2, 8, 15, 31, 91, 181)
"""First day of each lead bucket but the first (`ml.market.buckets`)."""

MIN_ROWS, MIN_CANCELLATIONS = 300, 30


@dataclass(frozen=True)
class PreparedBookings(Prepared):
    """Bookings made ready, with what is known of them; the line is fitted once, for the model and its baseline."""

    @cached_property
    def what(self) -> Knowledge:
        """What is known of their outcomes."""
        if self.known is None:
            raise TypeError("bookings were prepared without what is known of them")
        return self.known

    @cached_property
    def line(self) -> Logistic:
        """Fitted on the labels by cell, then once more on its own expectation of them."""
        return Logistic.fit_twice(self.encoder, self.examples, relabel=self.what.expected)


class ValueTask(Task):
    """Probability of cancellation and expected net value of a booking."""

    task: ClassVar[str] = "value"
    columns: ClassVar[tuple[Column, ...]] = (
        *(column for column in BOOKING_COLUMNS if column.name not in LEFT_OUT),
        *BOOKING_HISTORY,
    )
    inputs: ClassVar[tuple[str, ...]] = (*BOOKING_INPUTS, *(column.name for column in BOOKING_HISTORY))
    outputs: ClassVar[tuple[str, ...]] = ("p_cancel", "net_value_micros")

    @classmethod
    def prepare(cls, rows: pd.DataFrame, *, as_of: datetime) -> PreparedBookings:
        """Bookings with their outcomes as known before `as_of` (`outcome`, `outcome_known_at`)."""
        rows = in_order(rows[rows["booked_at"] < as_of], time="booked_at", key="booking_id")
        enough_rows(cls.task, rows, least=MIN_ROWS)
        known = Knowledge.of(rows, as_of=as_of)
        enough_of_each(cls.task, known.label, least=MIN_CANCELLATIONS)
        frame = cls.context(rows)
        encoder = Encoder.fit(cls.columns, frame)
        examples = Examples(encoder.matrix(frame), known.label, known.weight)
        return PreparedBookings(encoder, examples, certain=known.settled, days=known.age.astype(float), known=known)

    @classmethod
    def derive(cls, columns: Columns) -> dict[str, Values]:
        """The columns of the booking."""
        return booking_context(columns)

    @classmethod
    def answer(cls, columns: Columns, p: Floats) -> dict[str, Floats]:
        """`p_cancel` and `net_value_micros` (a float: an expectation)."""
        return {"p_cancel": p, "net_value_micros": (1.0 - p) * np.asarray(columns["value_micros"])}


class ValueModel(ValueTask, TreeModel):
    """Two forests and a line over the booking and the history of its agent, company and segment."""

    name: ClassVar[str] = "value"

    def __init__(self, fitted: Blend) -> None:
        super().__init__(fitted)
        self.blend = fitted

    @classmethod
    def fit_prepared(cls, prepared: Prepared, *, seed: int) -> Self:
        """Forests on the likelihood of what is known, the line, the calibrations."""
        bookings = _bookings(prepared)
        recipe = RECIPE if len(bookings.examples.labels) >= SMALL_ROWS else SMALL_RECIPE
        best = _grow(bookings, recipe, seed=seed)
        random = _grow(bookings, replace(recipe, random_splits=True), seed=seed)
        whole, fields = _calibrations(bookings, recipe, seed=seed)
        blend = Blend(
            best.encoder,
            best.trees,
            best.intercept,
            whole,
            random=random.trees,
            random_intercept=random.intercept,
            line=bookings.line,
            share=line_share(len(bookings.examples.labels)),
            fields=fields,
            timing=Timing.of(bookings.what),
        )
        return cls(blend)

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Self:
        """Read back `artefacts`; CorruptArtefact when a file is missing or not of its form."""
        return cls(Blend.load(cls.name, artefacts))

    def open_p_cancel(self, rows: pd.DataFrame, *, as_of: datetime) -> pd.Series[float]:
        """Probability that bookings still open before `as_of` end cancelled; under the index of `rows`.

        Having waited makes a cancellation less likely: `p (1 - F) / (1 - p F)` with F the share of the eventual
        cancellations that bookings of the lead bucket and segment have shown by the age of the booking.

        Args:
            rows: open bookings, with the model's inputs as known when they were made.
            as_of: the instant of knowledge, UTC.
        """
        p = self.predict(rows)["p_cancel"].to_numpy(dtype=float)
        found = self.blend.timing.still_cancels(p, rows, as_of=pd.Timestamp(as_of))
        return pd.Series(found, index=rows.index, name="p_cancel")


class ValueBaseline(ValueTask, LogisticModel):
    """The same task, columns and labels with a logistic regression."""

    name: ClassVar[str] = "value_baseline"

    @classmethod
    def fit_prepared(cls, prepared: Prepared, *, seed: int) -> Self:  # noqa: ARG003  (nothing random here)
        """Fit on the labels by cell, then once more on its own expectation of them."""
        return cls(_bookings(prepared).line)


def _bookings(prepared: Prepared) -> PreparedBookings:
    if not isinstance(prepared, PreparedBookings):
        raise TypeError("the value model fits on what its own `prepare` gave")
    return prepared


def _grow(bookings: PreparedBookings, recipe: Recipe, *, seed: int) -> Boosted:
    examples = bookings.examples
    loss = objective(bookings.what, examples.weights)
    return Boosted.fit(bookings.encoder, examples, recipe=recipe, seed=seed, objective=loss)


def _calibrations(
    bookings: PreparedBookings, recipe: Recipe, *, seed: int
) -> tuple[Calibration, tuple[FieldCalibration, ...]]:
    """Of the whole, by lead bucket and by segment, each chosen in money on bookings that its trees did not see."""
    known, examples = bookings.what, bookings.examples
    old = bookings.days > PRIOR_AGE_DAYS
    if not _enough_to_split(examples, old):
        return Identity(), ()
    half = replace(recipe, rounds=round(recipe.rounds * PRIOR_SHARE))
    loss = objective(known.take(old), examples.weights[old])
    trees = Boosted.fit(bookings.encoder, examples.take(old), recipe=half, seed=seed, objective=loss)
    young = ~old
    matrix, names = examples.matrix[young], bookings.encoder.names
    p = trees.raw(matrix)
    y = known.take(young).expected(p)
    w = value_weights(examples.weights[young], matrix[:, names.index("value")])
    days = known.age[young]
    held_out = days <= CHOICE_DAYS
    whole = choose(p, y, w, blocks=days, held_out=held_out)
    p = whole.apply(p)
    fields = []
    codes = range(1, len(bookings.encoder.categories["segment"]))
    for column, starts in (("lead_days", LEAD_FIELDS), ("segment", tuple(codes))):
        values = matrix[:, names.index(column)]
        by_field = FieldCalibration.choose(column, starts, values, p, y, w, blocks=days, held_out=held_out)
        p = by_field.apply(p, values)
        fields.append(by_field)
    return whole, tuple(fields)


def _enough_to_split(examples: Examples, old: Bools) -> bool:
    labels = examples.labels[old]
    return len(labels) >= MIN_ROWS and float(np.minimum(labels.sum(), (1 - labels).sum())) >= MIN_CANCELLATIONS
