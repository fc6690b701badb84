"""Rows that a candidate is judged on: outcomes that became certain after the end of what it was trained on.

A candidate of day D knows what was known `holdout_days` before the end of D. What became certain since then was
open, or did not exist, when it was trained. All models, baselines and the champion are compared on the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.core.units import known_by

if TYPE_CHECKING:
    from ml.lake.lake import Lake

CLICK_AGE_DAYS = 7
"""A click is judged once it is this old: 95 % of the bookings that follow a click follow within a week."""

DELAY_DAYS = 60
"""Clicks of these last days tell how late bookings follow: two horizons, so that every delay has been seen."""

TOGETHER = ("hotel_id", "agent_id", "segment", "booked_at", "check_in", "los_nights", "outcome", "outcome_known_at")
"""Bookings alike in all of these were made together and ended together: rooms of one block."""

TRAFFIC_ROWS = 40_000
"""About so many shown opportunities judge a click model; more would only cost time."""


@dataclass(frozen=True)
class Holdout:
    """What one model is judged on.

    Attributes:
        rows: model inputs, one row per example.
        label: 1 or 0 per row.
        block: the day that a row is resampled with: the day its outcome became known, or the day of the search.
        value_micros: realised net value per row; None for a model of probabilities alone.
        known_share: per row, the share of the events to come that can be known by now, above 0 to 1; None where all
            of them are. A probability of the event times this is the probability of the label.
    """

    rows: pd.DataFrame
    label: np.ndarray[tuple[int], np.dtype[np.float64]]
    block: np.ndarray[tuple[int], np.dtype[np.datetime64]]
    value_micros: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
    known_share: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None

    def of_label(
        self, probability: np.ndarray[tuple[int], np.dtype[np.float64]]
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The probability of the label, from that of the event; shape (n,)."""
        return probability if self.known_share is None else probability * self.known_share


def trained_known_by(day: date, *, holdout_days: int) -> datetime:
    """The instant before which a candidate of `day` knows everything, and after which it knows nothing."""
    return known_by(day - timedelta(days=holdout_days))


def settled_bookings(bookings: pd.DataFrame, *, known_from: datetime) -> Holdout:
    """Bookings whose outcome became certain at or after `known_from`; a block of rooms counts once.

    A hundred rooms that one agent books for one date and gives up on one day are one decision. Counted as a hundred
    they would make a single day decide about a model. Money is another matter: see `due_bookings`.

    Args:
        bookings: from `ml.features.training_set.booking_rows`, as known by the end of the day.
        known_from: the end of what the candidate was trained on.
    """
    rows = bookings[(bookings["outcome"] != "open") & (bookings["outcome_known_at"] >= known_from)]
    rows = rows.drop_duplicates(list(TOGETHER)).reset_index(drop=True)
    return Holdout(
        rows=rows,
        label=np.asarray(rows["outcome"] == "cancelled", dtype=np.float64),
        block=_days(rows["outcome_known_at"]),
        value_micros=rows["net_value_micros"].to_numpy(dtype=np.float64, na_value=np.nan),
    )


def due_bookings(bookings: pd.DataFrame, *, first: date, last: date) -> Holdout:
    """Bookings whose stay was to end from `first` to `last`, however and whenever they ended.

    Among outcomes that became certain in a window, cancellations of future stays and the stays themselves come
    from different seasons, so that their mix says nothing of a probability. Bookings due in a window are whole
    cohorts: predicted over realised value is an unbiased measure of calibration on them. The cancellations among
    them that were known earlier may have been trained on; they weigh on a sum far less than on a ranking.
    """
    ends = bookings["check_in"] + pd.to_timedelta(bookings["los_nights"], unit="D")
    day = _days(ends)
    there = (day >= np.datetime64(first, "D")) & (day <= np.datetime64(last, "D"))
    rows = bookings[there & (bookings["outcome"] != "open").to_numpy()]
    return Holdout(
        rows=rows.reset_index(drop=True),
        label=np.asarray(rows["outcome"] == "cancelled", dtype=np.float64),
        block=day[there & (bookings["outcome"] != "open").to_numpy()],
        value_micros=rows["net_value_micros"].to_numpy(dtype=np.float64, na_value=np.nan),
    )


def mature_clicks(lake: Lake, *, day: date, known_from: datetime, exclude_days: Sequence[date]) -> Holdout:
    """Clicks made after `known_from` that are at least `CLICK_AGE_DAYS` old at the end of `day`.

    About one booking in twenty of theirs is still to come. Its share by the age of the click, from the clicks of the
    last `DELAY_DAYS`, is what every model's probability is held against.
    """
    from ml.features.training_set import click_rows
    from ml.models.conversion import known_share

    known = known_by(day)
    last = day - timedelta(days=CLICK_AGE_DAYS)
    rows = click_rows(lake, as_of=known, first=known_from.date(), last=last, exclude_days=exclude_days)
    recent = click_rows(
        lake, as_of=known, first=day - timedelta(days=DELAY_DAYS), last=day, exclude_days=exclude_days, views=()
    )
    return Holdout(
        rows=rows,
        label=rows["booked"].to_numpy(dtype=np.float64),
        block=_days(rows["ts"]),
        known_share=known_share(rows, learned_from=recent, as_of=known),
    )


def shown_offers(lake: Lake, *, day: date, known_from: datetime, exclude_days: Sequence[date], share: float) -> Holdout:
    """A fixed share of the offers shown after `known_from`."""
    from ml.features.training_set import opportunity_rows

    rows = opportunity_rows(
        lake, as_of=known_by(day), first=known_from.date(), last=day, exclude_days=exclude_days, share=share
    )
    return Holdout(rows=rows, label=rows["clicked"].to_numpy(dtype=np.float64), block=_days(rows["ts"]))


def _days(instants: pd.Series[pd.Timestamp]) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return instants.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[D]")
