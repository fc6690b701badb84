"""What may be learned from bookings whose outcome is not certain yet.

Cancellations become known earlier than stays. Training on the outcomes known so far therefore sees too many
cancellations; training on bookings whose arrival has passed sees old and short-lead ones only. Here every booking
counts: a known cancellation as 1, a finished booking as 0, and an open one as one of which a share F of the eventual
cancellations has been seen (`ml.models.survival` makes a likelihood of it). Given its probability p of ever
cancelling it still cancels with `q = p (1 - F) / (1 - p F)`. F comes from a product-limit estimate (Kaplan and
Meier 1958) over cells of lead time and segment, with open bookings as the censored rows they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from ml.models.encoding import as_numbers, as_times, known_before
from ml.models.numbers import Bools, Floats, Ints

LEAD_STARTS = (1, 2, 8, 31, 91, 181)
"""Cells of lead time, in days: 0, 1, 2-7, 8-30, 31-90, 91-180, 181 and more. Same-day bookings stand alone
because their whole booking window is one day."""

SEGMENTS = 3
"""So many of the largest segments have cells of their own; the others share one."""

TENTHS = 10
"""Equal parts of the window from the day after booking to arrival, on which hazards are constant; the day of
booking is a part of its own, before them."""

HAZARD_HALF_LIFE_DAYS = 180.0
"""Exposure this old counts half in the hazards."""

ROW_HALF_LIFE_DAYS = 365.0
"""A booking this old counts half in training."""

LOOKBACK_DAYS = 730
_SHRINK = 50.0
_MAX_HAZARD = 0.95
_NEVER = 10**6
PARTS = TENTHS + 1


@dataclass(frozen=True)
class Ages:
    """Bookings by age; each of shape (n,), in days.

    Attributes:
        age: whole days from the day of booking to the instant of knowledge.
        lead: from the day of booking to arrival.
        cancelled: whether a cancellation is known.
        cancel_age: from the day of booking to the day the cancellation became known; a million where none is.
        settled: whether the outcome is certain, either way.
        cell: the hazard cell, from 0.
        cells: how many cells there are.
        segments: names of the segments that have cells of their own, in the order of the cells.
    """

    age: Ints
    lead: Ints
    cancelled: Bools
    cancel_age: Ints
    settled: Bools
    cell: Ints
    cells: int
    segments: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: pd.DataFrame, *, as_of: datetime) -> Ages:
        """Read bookings with `booked_at`, `lead_days`, `segment`, `outcome` and `outcome_known_at`."""
        booked = as_times(rows["booked_at"]).floor("D")
        certain = known_before(rows["outcome_known_at"], as_of)
        cancelled = (rows["outcome"] == "cancelled").to_numpy(dtype=bool) & certain
        stayed = (rows["outcome"] == "stayed").to_numpy(dtype=bool) & certain
        cancel_age = np.where(cancelled, _days(as_times(rows["outcome_known_at"]).floor("D"), booked), _NEVER)
        lead = as_numbers(rows["lead_days"]).astype(np.int64)
        segments = _largest(rows["segment"])
        groups = len(segments) + 1
        cell = lead_cells(lead, segment_codes(rows["segment"], segments), groups=groups)
        age = _days(pd.DatetimeIndex([as_of]).floor("D"), booked)
        cells = (len(LEAD_STARTS) + 1) * groups
        return cls(age, lead, cancelled, cancel_age, cancelled | stayed, cell, cells, segments)


@dataclass(frozen=True)
class Hazards:
    """Cumulative cancellation hazard of each cell at the ends of the parts; shape (cells, parts + 1), from 0."""

    cumulative: Floats

    @classmethod
    def fit(cls, ages: Ages) -> Hazards:
        """Product-limit estimate with recency weights, shrunk towards the cell's lead bucket by 50 bookings."""
        events, exposed = np.zeros((ages.cells, PARTS)), np.zeros((ages.cells, PARTS))
        recent = ages.age <= LOOKBACK_DAYS
        position = clock(ages.age, ages.lead)
        event_part = np.minimum(clock(ages.cancel_age, ages.lead).astype(np.int64), TENTHS)
        for part in range(PARTS):
            # The calendar day on which a booking was in this part gives its weight: by booking day, long lead
            # times would be favoured, whose late parts are only known from old bookings.
            middle = 0.0 if part == 0 else (part - 0.5) / TENTHS * ages.lead
            weight = 0.5 ** (np.maximum(ages.age - middle, 0) / HAZARD_HALF_LIFE_DAYS) * recent
            hit = ages.cancelled & (event_part == part)
            half_way = np.where(ages.settled, 1.0, np.clip(position - part, 0.0, 1.0))
            there = np.where(ages.cancelled, (event_part >= part).astype(float), half_way)
            events[:, part] = np.bincount(ages.cell, weight * hit, minlength=ages.cells)
            exposed[:, part] = np.bincount(ages.cell, weight * there, minlength=ages.cells)
        groups = ages.cells // (len(LEAD_STARTS) + 1)
        prior = (_per_bucket(events, groups) + 0.02) / (_per_bucket(exposed, groups) + 1.0)
        hazard = np.clip((events + _SHRINK * prior) / (exposed + _SHRINK), 0.0, _MAX_HAZARD)
        return cls(np.hstack([np.zeros((ages.cells, 1)), np.cumsum(-np.log1p(-hazard), axis=1)]))

    def cancelled_share(self, cell: Ints, position: Floats) -> Floats:
        """Share of a cell's bookings that have cancelled by a position on the clock; shape (n,)."""
        before = np.minimum(position.astype(np.int64), TENTHS)
        low, high = self.cumulative[cell, before], self.cumulative[cell, before + 1]
        return np.asarray(-np.expm1(-(low + (position - before) * (high - low))), dtype=np.float64)

    def total(self, cell: Ints) -> Floats:
        """Share of a cell's bookings that ever cancel; shape (n,)."""
        return np.asarray(-np.expm1(-self.cumulative[cell, -1]), dtype=np.float64)

    def shown(self, cell: Ints, position: Floats) -> Floats:
        """F: of a cell's eventual cancellations, the share seen by a position on the clock; shape (n,), 0 to 1."""
        share = self.cancelled_share(cell, position) / np.maximum(self.total(cell), 1e-6)
        return np.asarray(np.clip(share, 0.0, 1.0), dtype=np.float64)


@dataclass(frozen=True)
class Knowledge:
    """What is known of each booking's outcome; each of shape (n,).

    Attributes:
        age: days since it was booked.
        settled: the outcome is certain, either way.
        cancelled: a cancellation is known.
        shown: F, the share of eventual cancellations that bookings of its cell and age have shown, 0 to 1;
            1 where the outcome is certain.
        label: 1 for a known cancellation, else the probability that the booking still cancels, by its cell alone.
        weight: of the row in training, halved every year of age.
        hazards, segments: the curves that F comes from, and the segments that have cells of their own.
    """

    age: Ints
    settled: Bools
    cancelled: Bools
    shown: Floats
    label: Floats
    weight: Floats
    hazards: Hazards
    segments: tuple[str, ...]

    @classmethod
    def of(cls, rows: pd.DataFrame, *, as_of: datetime) -> Knowledge:
        """What is known of bookings before `as_of`."""
        ages = Ages.of(rows, as_of=as_of)
        hazards = Hazards.fit(ages)
        shown = np.where(ages.settled, 1.0, hazards.shown(ages.cell, clock(ages.age, ages.lead)))
        still = still_cancels(hazards.total(ages.cell), shown)
        return cls(
            age=ages.age,
            settled=ages.settled,
            cancelled=ages.cancelled,
            shown=shown,
            label=np.where(ages.cancelled, 1.0, still),
            weight=0.5 ** (ages.age / ROW_HALF_LIFE_DAYS),
            hazards=hazards,
            segments=ages.segments,
        )

    def take(self, rows: Bools) -> Knowledge:
        """What is known of the bookings for which the mask, shape (n,), is true."""
        return replace(
            self,
            age=self.age[rows],
            settled=self.settled[rows],
            cancelled=self.cancelled[rows],
            shown=self.shown[rows],
            label=self.label[rows],
            weight=self.weight[rows],
        )

    def expected(self, p: Floats) -> Floats:
        """Labels given each booking's own probability p of ever cancelling, shape (n,): the E step of EM."""
        return np.where(self.cancelled, 1.0, still_cancels(np.clip(p, 1e-4, 1 - 1e-4), self.shown))


def clock(age: Ints, lead: Ints) -> Floats:
    """Place in the booking window after `age` whole days; shape (n,).

    0 before the day of booking is over, 1 after it, then evenly to 11 at the end of the day of arrival.
    """
    later = np.where(lead > 0, TENTHS * np.clip((age - 1) / np.maximum(lead, 1), 0.0, 1.0), float(TENTHS))
    return np.where(age <= 0, 0.0, 1.0 + later)


def _per_bucket(values: Floats, groups: int) -> Floats:
    """Sums over the segments of a lead bucket, back at the size of the cells."""
    summed = values.reshape(len(LEAD_STARTS) + 1, groups, PARTS).sum(axis=1)
    return np.repeat(summed, groups, axis=0)


def still_cancels(p: Floats, shown: Floats) -> Floats:
    """Probability that an open booking ends cancelled: `p (1 - F) / (1 - p F)`; shape (n,).

    Args:
        p: probability of ever cancelling, known when it was booked, shape (n,), 0 to 1.
        shown: F, shape (n,), 0 to 1.
    """
    left = 1.0 - p * shown
    return np.asarray(np.where(left > 0, p * (1.0 - shown) / np.where(left > 0, left, 1.0), 0.0), dtype=np.float64)


def lead_cells(lead: Ints, group: Ints, *, groups: int) -> Ints:
    """Cell of each booking, from its lead time in days and the number of its segment; shape (n,)."""
    return np.asarray(np.searchsorted(LEAD_STARTS, lead, side="right") * groups + group, dtype=np.int64)


def segment_codes(values: pd.Series[Any], segments: tuple[str, ...]) -> Ints:
    """Place of each row's segment among `segments`; their number where it is none of them. Shape (n,)."""
    codes = pd.Categorical(values.astype(object).fillna(""), categories=list(segments)).codes.astype(np.int64)
    return np.where(codes < 0, len(segments), codes)


def _largest(values: pd.Series[Any]) -> tuple[str, ...]:
    """The largest segments, largest first."""
    counts = values.astype(object).fillna("").value_counts()
    return tuple(sorted(counts.index, key=lambda name: (-int(counts[name]), name))[:SEGMENTS])


def _days(later: pd.DatetimeIndex, earlier: pd.DatetimeIndex) -> Ints:
    """Whole days between midnights; a missing `later` counts as 0."""
    if len(later) == 1 and len(earlier) != 1:
        later = pd.DatetimeIndex([later[0]] * len(earlier))
    gap = (later - earlier).to_numpy().astype("timedelta64[D]")
    return np.where(np.isnat(gap), 0, gap.astype(np.int64))
