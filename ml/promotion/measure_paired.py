"""Evidence of candidate beside champion on the same rows, from arrays: differences by hotel and day, slices, ranking, money."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ml.core.units import MICROS_PER_UNIT
from ml.evaluation.metrics import auc
from ml.evaluation.profit import expected_utility
from ml.evaluation.slices import each_slice
from ml.evaluation.two_way import Estimate, Floats, two_way, two_way_ratio
from ml.promotion.evidence import FieldEvidence, ProfitEvidence, SliceEvidence

Labels = Mapping[str, npt.NDArray[np.object_]]


def difference(
    ours: npt.ArrayLike, theirs: npt.ArrayLike, days: npt.ArrayLike, hotels: npt.ArrayLike | None
) -> Estimate:
    """Mean of ours minus theirs on the same rows, shape (rows,) each, with its error by hotel and day."""
    with np.errstate(invalid="ignore"):  # inf - inf: the result is NaN, and the estimate says so
        gap = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    return two_way(gap, days, hotels)


def measure_slices(
    ours: Floats,
    theirs: Floats,
    labels: npt.ArrayLike,
    slices: Labels,
    days: npt.ArrayLike,
    hotels: npt.ArrayLike | None,
) -> tuple[SliceEvidence, ...]:
    """The difference of losses in each slice, those without support too: a gate says what counts as support."""
    day, hotel = np.asarray(days), None if hotels is None else np.asarray(hotels)
    positive = np.asarray(labels) == 1
    return tuple(
        SliceEvidence(
            field=field,
            label=label,
            rows=int(there.sum()),
            positives=int(positive[there].sum()),
            champion=float(theirs[there].mean()),
            difference=difference(ours[there], theirs[there], day[there], None if hotel is None else hotel[there]),
        )
        for field, label, there in each_slice(slices)
    )


def measure_fields(
    predicted: npt.ArrayLike,
    realised: npt.ArrayLike,
    events: npt.ArrayLike,
    slices: Labels,
    days: npt.ArrayLike,
    hotels: npt.ArrayLike | None,
) -> tuple[FieldEvidence, ...]:
    """Predicted over realised in each slice.

    Args:
        predicted, realised: money or events of each row, shape (rows,).
        events: the events expected of each row, shape (rows,), from which support is counted.
        slices: labels by field, shape (rows,) each.
        days, hotels: what rows move together by.
    """
    p, r, e, day = (np.asarray(column) for column in (predicted, realised, events, days))
    hotel = None if hotels is None else np.asarray(hotels)
    return tuple(
        FieldEvidence(
            field=field,
            label=label,
            rows=int(there.sum()),
            events=float(e[there].sum()),
            predicted=float(p[there].sum()),
            realised=float(r[there].sum()),
            ratio=two_way_ratio(p[there], r[there], day[there], None if hotel is None else hotel[there]),
        )
        for field, label, there in each_slice(slices)
    )


def auc_difference(
    labels: npt.ArrayLike, ours: npt.ArrayLike, theirs: npt.ArrayLike, days: npt.ArrayLike, hotels: npt.ArrayLike | None
) -> Estimate:
    """AUC of ours minus theirs, with its error by hotel and day.

    The error is that of the placements (E. DeLong, D. DeLong and D. Clarke-Pearson, Biometrics 44, 1988): each row's share of
    rows of the other class that it is ordered rightly with, whose mean is the AUC.
    """
    y = np.asarray(labels, dtype=np.float64)
    gap = auc(y, ours) - auc(y, theirs)
    if not math.isfinite(gap):
        return Estimate(math.nan, math.nan, 0, 0, 0, len(y))
    moved = _placements(y, np.asarray(ours, dtype=np.float64)) - _placements(y, np.asarray(theirs, dtype=np.float64))
    share = y.mean()
    weighted = np.where(y == 1, moved / share, moved / (1 - share))
    found = two_way(weighted - gap, days, hotels)
    return Estimate(gap, found.error, found.degrees, found.hotels, found.days, found.rows)


def measure_profit(
    candidate_worth: Floats,
    champion_worth: Floats,
    came: Floats,
    costs_micros: Floats,
    *,
    bookings: int,
    days: npt.ArrayLike,
    hotels: npt.ArrayLike | None,
) -> ProfitEvidence:
    """What these clicks would have earned at bids by either worth; all amounts in micros, shape (clicks,).

    Clicks that cost nothing say nothing of prices and are left out.
    """
    paid = costs_micros > 0
    ours, theirs = (
        expected_utility(worth[paid], came[paid], costs_micros[paid]) for worth in (candidate_worth, champion_worth)
    )
    day, hotel = np.asarray(days)[paid], None if hotels is None else np.asarray(hotels)[paid]
    total = float(theirs.sum())
    gap = difference(ours, theirs, day, hotel)
    scale = abs(total) / max(len(theirs), 1)
    relative = (
        Estimate(gap.mid / scale, gap.error / scale, gap.degrees, gap.hotels, gap.days, gap.rows) if scale else None
    )
    return ProfitEvidence(
        applies=True,
        clicks=int(paid.sum()),
        bookings=bookings,
        candidate=float(ours.sum()) / MICROS_PER_UNIT,
        champion=total / MICROS_PER_UNIT,
        difference=relative,
    )


def wape(realised: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Sum of absolute errors over the sum of what came; NaN where nothing came.

    >>> wape([100.0, 0.0], [80.0, 10.0])
    0.3
    """
    came, said = np.asarray(realised, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    total = float(came.sum())
    return float(np.abs(came - said).sum()) / total if total > 0 else math.nan


def _placements(labels: Floats, scores: Floats) -> Floats:
    """Of the rows of the other class, the share that each row is on the right side of; ties count half."""
    found = np.empty(len(labels))
    for own, sign in ((labels == 1, 1.0), (labels != 1, -1.0)):
        other = np.sort(sign * scores[~own])
        mine = sign * scores[own]
        below = np.searchsorted(other, mine, "left") + np.searchsorted(other, mine, "right")
        found[own] = below / (2 * max(len(other), 1))
    return found
