"""What miscalibration costs in money: promising too much is dearer than promising too little.

A bid follows the value that the model promises. A value 30 % too high buys clicks that cost more than they bring;
one 30 % too low leaves profit to others, but spends less. How much profit is left when every value is wrong by one
factor was measured in the prototype of the market (section 2.7 of the domain notes): x 0.5 leaves 75 % of the
profit, x 1.5 leaves 71 %, x 2.0 leaves nothing and more than quadruples the spend. `profit_kept` and `spend_moved`
are those curves, linear between their points in the logarithm of the factor; the tables apply them to each field
(lead bucket, segment), because errors of different fields do not cancel in bids as they do in a total. A small field
is off by chance too, so that each cost is also told for those fields alone whose interval leaves out 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.core.errors import UsageError
from ml.core.units import MICROS_PER_UNIT
from ml.evaluation.interval import Interval
from ml.evaluation.paired import ratio_bootstrap

Floats: TypeAlias = npt.NDArray[np.float64]

FACTORS = (0.5, 0.7, 0.85, 1.0, 1.15, 1.3, 1.5, 2.0)
"""Predicted value over true value."""

PROFIT = (0.75, 0.90, 0.98, 1.0, 0.97, 0.90, 0.71, -0.01)
"""Profit at each factor, over the profit at the truth."""

SPEND = (0.17, 0.40, 0.67, 1.0, 1.40, 1.85, 2.52, 4.40)
"""Spend at each factor, over the spend at the truth."""

PROFIT_SHARE = 0.15 - 0.03 - 0.046 / 0.86
"""Profit that a unit of net value leaves when the values are true: a take of 15 % less 3 % of variable cost, less a
spend of 4.6 % of gross value, of which 86 % is not cancelled (section 8.2 of the domain notes)."""

ERRORS = (0.05, 0.10, 0.15, 0.20, 0.30, 0.50)


def profit_kept(factor: npt.ArrayLike) -> Floats:
    """Share of the possible profit that is left when values are wrong by a factor; any shape.

    Args:
        factor: predicted over true, 0 or more. At 0 nothing is bid and nothing earned; above 2 the last slope holds.

    >>> profit_kept([0.0, 0.7, 1.0, 1.3]).round(2).tolist()
    [0.0, 0.9, 1.0, 0.9]
    """
    return _between(factor, PROFIT)


def spend_moved(factor: npt.ArrayLike) -> Floats:
    """Spend over the spend at the truth when values are wrong by a factor; shape and range as `profit_kept`.

    >>> spend_moved([0.0, 0.7, 1.0, 1.3]).round(2).tolist()
    [0.0, 0.4, 1.0, 1.85]
    """
    return _between(factor, SPEND)


def asymmetry(errors: Sequence[float] = ERRORS) -> list[dict[str, float]]:
    """Profit lost and spend by an error of the same size upwards and downwards.

    Args:
        errors: sizes, above 0 and below 1; 0.1 is a value 10 % too high, and one 10 % too low.

    Returns:
        Per size: `error`, `over_lost` and `under_lost` (shares of the possible profit), `over_spend` and
        `under_spend` (over the spend at the truth).

    Raises:
        UsageError: an error is not between 0 and 1.
    """
    if not all(0 < error < 1 for error in errors):
        raise UsageError("an error of calibration is a share between 0 and 1", next="write 10 % as 0.1")
    sizes = np.asarray(errors, dtype=np.float64)
    over, under = 1 + sizes, 1 - sizes
    columns = {
        "error": sizes,
        "over_lost": 1 - profit_kept(over),
        "under_lost": 1 - profit_kept(under),
        "over_spend": spend_moved(over),
        "under_spend": spend_moved(under),
    }
    return [{name: round(float(values[n]), 4) for name, values in columns.items()} for n in range(len(sizes))]


@dataclass(frozen=True)
class FieldMoney:
    """Promised against realised net value of one field, and what the difference costs.

    Attributes:
        name: of the field, such as a lead bucket.
        rows: how many bookings.
        predicted, realised: net value, in the unit of money handed in.
        ratio: predicted over realised, with its block bootstrap interval.
        profit_lost: share of the field's possible profit that bids on the promised value lose; NaN where nothing
            was realised.
        cost: the same in money.
    """

    name: str
    rows: int
    predicted: float
    realised: float
    ratio: Interval
    profit_lost: float
    cost: float

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, rounded; null where one is not finite."""
        return {
            "name": self.name,
            "rows": self.rows,
            "predicted": _number(self.predicted, 2),
            "realised": _number(self.realised, 2),
            "net_value_ratio": _number(self.ratio.mid, 6),
            "low": _number(self.ratio.low, 6),
            "high": _number(self.ratio.high, 6),
            "profit_lost": _number(self.profit_lost, 6),
            "cost": _number(self.cost, 2),
        }


def money_by_field(
    predicted: npt.ArrayLike,
    realised: npt.ArrayLike,
    fields: npt.ArrayLike,
    blocks: npt.ArrayLike,
    *,
    seed: int,
    profit_share: float = PROFIT_SHARE,
) -> list[FieldMoney]:
    """One row per field, by name.

    Args:
        predicted: expected net value per booking, shape (n,), in one unit of money.
        realised: net value that came, shape (n,), in the same unit.
        fields: name of each booking's field, shape (n,).
        blocks: what is resampled together, shape (n,): its week or its day.
        seed: of the bootstrap.
        profit_share: profit per unit of net value when the values are true.

    Raises:
        UsageError: columns of different lengths.
    """
    ours, came = np.asarray(predicted, dtype=np.float64).ravel(), np.asarray(realised, dtype=np.float64).ravel()
    names, groups = np.asarray(fields).astype(str).ravel(), np.asarray(blocks).ravel()
    if len({len(ours), len(came), len(names), len(groups)}) != 1:
        raise UsageError("promised and realised values, fields and blocks differ in length", next="give one per row")
    return [
        _field(name, ours[there], came[there], groups[there], seed=seed, profit_share=profit_share)
        for name in np.unique(names)
        for there in [names == name]
    ]


def total_cost(fields: Sequence[FieldMoney]) -> dict[str, float]:
    """What all fields lose together, apart for those promised too much and too little, in money."""
    known = [field for field in fields if math.isfinite(field.cost)]
    over = sum((field.cost for field in known if field.ratio.mid > 1), 0.0)
    under = sum((field.cost for field in known if field.ratio.mid <= 1), 0.0)
    return {"over": round(over, 2), "under": round(under, 2), "total": round(over + under, 2)}


def money_report(
    bookings: pd.DataFrame, p_cancel: npt.ArrayLike, *, blocks: npt.ArrayLike, seed: int
) -> dict[str, Any]:
    """Calibration in money of a probability of cancellation, in whole, by lead bucket and by segment.

    Args:
        bookings: `value_micros` (gross), `net_value_micros` (as it came), `lead_bucket` and `segment`; none open.
        p_cancel: per booking, shape (n,).
        blocks: as of `money_by_field`.
        seed: of the bootstrap.

    Returns:
        `whole` (one row), `lead_bucket` and `segment` (a row each), `cost` (over the lead buckets: `over`, `under`,
        `total`). Money is in the currency of the values, not in micros.
    """
    gross = bookings["value_micros"].to_numpy(dtype=np.float64, na_value=np.nan) / MICROS_PER_UNIT
    came = bookings["net_value_micros"].to_numpy(dtype=np.float64, na_value=np.nan) / MICROS_PER_UNIT
    promised = (1.0 - np.asarray(p_cancel, dtype=np.float64)) * gross

    def rows(names: npt.ArrayLike) -> list[FieldMoney]:
        return money_by_field(promised, came, names, blocks, seed=seed)

    by_lead = rows(bookings["lead_bucket"].to_numpy(dtype=object))
    by_segment = rows(bookings["segment"].astype(object).fillna("none").to_numpy())
    return {
        "whole": rows(np.full(len(bookings), "all"))[0].as_json(),
        "lead_bucket": [row.as_json() for row in by_lead],
        "segment": [row.as_json() for row in by_segment],
        "cost": total_cost(by_lead),
    }


def worth_report(
    promised: npt.ArrayLike,
    came: npt.ArrayLike,
    fields: Mapping[str, npt.ArrayLike],
    blocks: npt.ArrayLike,
    *,
    seed: int,
) -> dict[str, Any]:
    """What a model's errors of worth cost in money, in which fields.

    Args:
        promised: worth expected of each row, shape (n,), in currency units.
        came: worth that came of it, shape (n,), in the same unit.
        fields: label of each row, shape (n,), by the name of the field, such as `lead_bucket`.
        blocks: as of `money_by_field`.
        seed: of the bootstrap.

    Returns:
        `whole`: one row of all; `cost`: per field `over`, `under`, `total` and `shown` (of labels whose interval leaves
        out 1); `by`: per field and label a row. Plain numbers, so that it can be kept with a version's metrics.
    """
    rows = {
        name: money_by_field(promised, came, labels, blocks, seed=seed)
        for name, labels in {"": np.full(len(np.asarray(came)), "all"), **fields}.items()
    }
    whole = rows.pop("")
    return {
        "whole": _plain(whole[0]) if whole else {},
        "cost": {name: {**total_cost(found), "shown": shown_cost(found)} for name, found in rows.items()},
        "by": {name: {row.name: _plain(row) for row in found} for name, found in rows.items()},
    }


def shown_cost(fields: Sequence[FieldMoney]) -> float:
    """What those fields lose whose error is shown: the interval of their ratio is known, and leaves out 1."""
    shown = (f.cost for f in fields if f.ratio.finite and not f.ratio.low <= 1 <= f.ratio.high)
    return round(sum(shown, 0.0), 2)


def _plain(row: FieldMoney) -> dict[str, Any]:
    return {name: value for name, value in row.as_json().items() if name != "name"}


def _field(
    name: str, predicted: Floats, realised: Floats, blocks: npt.NDArray[Any], *, seed: int, profit_share: float
) -> FieldMoney:
    ratio = ratio_bootstrap(predicted, realised, blocks, seed=seed)
    lost = float(1 - profit_kept(ratio.mid)) if math.isfinite(ratio.mid) and ratio.mid >= 0 else math.nan
    came = float(realised.sum())
    return FieldMoney(
        name=str(name),
        rows=len(predicted),
        predicted=float(predicted.sum()),
        realised=came,
        ratio=ratio,
        profit_lost=lost,
        cost=lost * profit_share * came,
    )


def _between(factor: npt.ArrayLike, levels: tuple[float, ...]) -> Floats:
    """Linear in ln(factor) between the points, through the origin below them, along the last slope above them."""
    values = np.asarray(factor, dtype=np.float64)
    points = np.log(FACTORS)
    logs = np.log(np.maximum(values, FACTORS[0]))
    inside = np.interp(logs, points, levels)
    slope = (levels[-1] - levels[-2]) / (points[-1] - points[-2])
    beyond = inside + slope * np.maximum(logs - points[-1], 0.0)
    return np.asarray(np.where(values < FACTORS[0], levels[0] * values / FACTORS[0], beyond), dtype=np.float64)


def _number(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
