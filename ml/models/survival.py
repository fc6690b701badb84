"""Time to cancel as a mixture cure model: whether a booking ever cancels, and when those that do cancel.

A booking cancels with probability p(x), and those that cancel have done so by age u with probability F(u), their
hazard being constant on parts of the booking window (`ml.models.maturity`); staying is the competing end, at
check-in. The likelihood of what is known (Farewell 1982; with conversions for cancellations, Chapelle 2014):

    cancelled   p              finished   1 - p              open at age u   1 - p F(u)

so that an open booking is the censored row that it is: no label is made up for it. F comes first, by product limit;
p is then fitted in one pass. In log-odds z of p the gradient is p - q, q being the probability that the booking
ends cancelled given that it has waited so long, `logit q = z + ln(1 - F)`: the fixed point of EM, without its loops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.core.errors import CorruptArtefact
from ml.models.encoding import as_numbers, as_times
from ml.models.lightgbm_text import Objective
from ml.models.maturity import LEAD_STARTS, PARTS, Hazards, Knowledge, clock, lead_cells, segment_codes, still_cancels
from ml.models.numbers import Floats, Ints, sigmoid, to_json_floats


def objective(known: Knowledge, weights: Floats) -> Objective:
    """Weighted gradient and curvature of the negative log likelihood above, for boosting.

    The curvature is `p (1 - p)`, that of the bound which EM minimises: an open booking's own can be negative.
    """
    rows = np.flatnonzero(~known.settled)
    certain = known.cancelled.astype(np.float64)
    waited = np.log(np.maximum(1.0 - known.shown[rows], 1e-9))

    def gradients(margin: Floats, _: Any) -> tuple[Floats, Floats]:
        p = sigmoid(margin)
        ends = certain.copy()
        ends[rows] = sigmoid(margin[rows] + waited)
        return weights * (p - ends), weights * p * (1.0 - p)

    return gradients


def log_likelihood(p: Floats, known: Knowledge) -> Floats:
    """Log likelihood of what is known of each booking under its probability p of ever cancelling; shape (n,)."""
    inside = np.clip(p, 1e-12, 1 - 1e-12)
    return np.asarray(
        np.where(known.cancelled, np.log(inside), np.log1p(-inside * known.shown)),
        dtype=np.float64,
    )


@dataclass(frozen=True)
class Timing:
    """When bookings that cancel do so: cells of lead bucket and segment, and the hazard of each.

    Attributes:
        segments: the largest segments, in the order of their cells; the others share the cells after them.
        hazards: cumulative hazard by cell.
    """

    segments: tuple[str, ...]
    hazards: Hazards

    @classmethod
    def of(cls, known: Knowledge) -> Timing:
        """The curves by which `known` was told, rounded as they are kept."""
        shape = known.hazards.cumulative.shape
        rounded = np.asarray(to_json_floats(known.hazards.cumulative)).reshape(shape)
        return cls(known.segments, Hazards(rounded))

    def shown(self, rows: pd.DataFrame, age: Ints) -> Floats:
        """F, the share of eventual cancellations shown by an age in whole days, 0 to 1; shape (n,).

        Args:
            rows: `lead_days` and `segment`.
            age: days from the day of booking, shape (n,).
        """
        lead = as_numbers(rows["lead_days"]).astype(np.int64)
        cell = lead_cells(lead, segment_codes(rows["segment"], self.segments), groups=len(self.segments) + 1)
        return self.hazards.shown(cell, clock(age, lead))

    def still_cancels(self, p: Floats, rows: pd.DataFrame, *, as_of: pd.Timestamp) -> Floats:
        """Probability that bookings open at `as_of` end cancelled, given their p of ever cancelling; shape (n,)."""
        booked = as_times(rows["booked_at"]).floor("D")
        age = np.asarray((as_of.floor("D") - booked) // np.timedelta64(1, "D"), dtype=np.int64)
        return still_cancels(p, self.shown(rows, np.maximum(age, 0)))

    def to_json(self) -> dict[str, Any]:
        """Segments and cumulative hazards, a row per cell."""
        return {"segments": list(self.segments), "cumulative": self.hazards.cumulative.tolist()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Timing:
        """Read back `to_json`; CorruptArtefact when it is not of that form."""
        try:
            segments = tuple(map(str, value["segments"]))
            curves = np.asarray(value["cumulative"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtefact(
                "cancellation timing is not of the expected form", next="train the version again"
            ) from error
        cells = (len(LEAD_STARTS) + 1) * (len(segments) + 1)
        rising = curves.shape == (cells, PARTS + 1) and bool(np.isfinite(curves).all() and (np.diff(curves) >= 0).all())
        if not rising or (curves[:, 0] != 0).any():
            raise CorruptArtefact(
                "cancellation timing is not a rising curve for each cell", next="train the version again"
            )
        return cls(segments, Hazards(curves))
