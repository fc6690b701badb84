"""The value model: how probable it is that a booking cancels, and what it is worth net of that.

`net value = (1 - p_cancel) * gross value`: nothing is kept on a cancellation. Fitted in two passes (EM with one
step): a prior on the older bookings, whose outcomes are nearly all certain, then the model on every booking,
where an open one counts with the probability that it still cancels (`ml.models.maturity`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Self

import pandas as pd

from ml.models.base import LogisticModel, Prepared, Task, TreeModel, enough_of_each, enough_rows, in_order
from ml.models.boosted import Boosted, Examples
from ml.models.calibration import choose
from ml.models.context import BOOKING_COLUMNS, BOOKING_INPUTS, booking_context
from ml.models.encoding import Column, Encoder, as_numbers
from ml.models.history import BOOKING_HISTORY
from ml.models.lightgbm_text import Recipe
from ml.models.logistic import Logistic
from ml.models.maturity import Knowledge
from ml.models.numbers import Bools, Floats

RECIPE = Recipe(rounds=120, learning_rate=0.07, num_leaves=31, min_rows_in_leaf=100, feature_fraction=0.5, max_bins=63)
SMALL_RECIPE = Recipe(rounds=60, learning_rate=0.1, num_leaves=8, min_rows_in_leaf=200, feature_fraction=0.9)
SMALL_ROWS = 30_000
"""Below so many bookings the smaller trees."""

PRIOR_SHARE = 0.4
"""The prior has so many of the model's rounds: it is only to tell apart what an open booking will come to."""

PRIOR_AGE_DAYS = 90
"""Bookings older than this teach the prior; the younger ones are held out from it."""

CHOICE_DAYS = 30
"""The last of the held-out days choose the calibration."""

MIN_ROWS, MIN_CANCELLATIONS = 300, 30


class ValueTask(Task):
    """Probability of cancellation and expected net value of a booking."""

    task: ClassVar[str] = "value"
    columns: ClassVar[tuple[Column, ...]] = (*BOOKING_COLUMNS, *BOOKING_HISTORY)
    inputs: ClassVar[tuple[str, ...]] = (*BOOKING_INPUTS, *(column.name for column in BOOKING_HISTORY))
    outputs: ClassVar[tuple[str, ...]] = ("p_cancel", "net_value_micros")

    @classmethod
    def prepare(cls, rows: pd.DataFrame, *, as_of: datetime) -> Prepared:
        """Bookings with their outcomes as known before `as_of` (`outcome`, `outcome_known_at`)."""
        rows = in_order(rows[rows["booked_at"] < as_of], time="booked_at", key="booking_id")
        enough_rows(cls.task, rows, least=MIN_ROWS)
        known = Knowledge.of(rows, as_of=as_of)
        enough_of_each(cls.task, known.label, least=MIN_CANCELLATIONS)
        frame = booking_context(rows)
        encoder = Encoder.fit(cls.columns, frame)
        examples = Examples(encoder.matrix(frame), known.label, known.weight)
        return Prepared(encoder, examples, certain=known.settled, days=known.age.astype(float), known=known)

    @classmethod
    def context(cls, rows: pd.DataFrame) -> pd.DataFrame:
        """The columns of the design matrix."""
        return booking_context(rows)

    @classmethod
    def answer(cls, rows: pd.DataFrame, p: Floats) -> pd.DataFrame:
        """`p_cancel` and `net_value_micros` (a float: an expectation)."""
        net = (1.0 - p) * as_numbers(rows["value_micros"])
        return pd.DataFrame({"p_cancel": p, "net_value_micros": net}, index=rows.index)


class ValueModel(ValueTask, TreeModel):
    """Trees over the booking and the history of its agent, company and segment."""

    name: ClassVar[str] = "value"

    @classmethod
    def fit_prepared(cls, prepared: Prepared, *, seed: int) -> Self:
        """Prior, expectation, model, calibration."""
        encoder, examples, known = prepared.encoder, prepared.examples, _known(prepared)
        recipe = RECIPE if len(examples.labels) >= SMALL_ROWS else SMALL_RECIPE
        old = prepared.days > PRIOR_AGE_DAYS
        if not _enough_to_split(examples, old):
            # A short history has no settled half to learn a prior from; a regression needs less than trees do.
            first = ValueBaseline.fit_prepared(prepared, seed=seed).fitted.raw(examples.matrix)
            return cls(Boosted.fit(encoder, examples.relabelled(known.expected(first)), recipe=recipe, seed=seed))
        half = replace(recipe, rounds=round(recipe.rounds * PRIOR_SHARE))
        prior = Boosted.fit(encoder, examples.take(old), recipe=half, seed=seed).raw(examples.matrix)
        expected = examples.relabelled(known.expected(prior))
        model = Boosted.fit(encoder, expected, recipe=recipe, seed=seed)
        young = ~old
        fitted = choose(
            prior[young],
            expected.labels[young],
            examples.weights[young],
            blocks=known.age[young],
            held_out=known.age[young] <= CHOICE_DAYS,
        )
        return cls(model.with_calibration(fitted))


class ValueBaseline(ValueTask, LogisticModel):
    """The same task, columns and labels with a logistic regression."""

    name: ClassVar[str] = "value_baseline"

    @classmethod
    def fit_prepared(cls, prepared: Prepared, *, seed: int) -> Self:  # noqa: ARG003  (nothing random here)
        """Fit on the labels by cell, then once more on its own expectation of them."""
        relabel = _known(prepared).expected
        return cls(Logistic.fit_twice(prepared.encoder, prepared.examples, relabel=relabel))


def _known(prepared: Prepared) -> Knowledge:
    if prepared.known is None:
        raise TypeError("bookings were prepared without what is known of them")
    return prepared.known


def _enough_to_split(examples: Examples, old: Bools) -> bool:
    labels = examples.labels[old]
    return len(labels) >= MIN_ROWS and min(labels.sum(), (1 - labels).sum()) >= MIN_CANCELLATIONS
