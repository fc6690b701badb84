"""The rows on which a model's errors of worth are counted in money: what it promised beside what came.

What a click is worth is the probability of a booking times what a booking is worth. The value model is held against the
bookings that were due, in net value. The conversion model is held against mature clicks, each weighing what its stay would
have been worth: price x nights, net of the share that the due bookings kept. The error of one model is counted as though the
other were right. A click model has no part in what a click is worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.core.units import MICROS_PER_UNIT

if TYPE_CHECKING:
    from ml.evaluation.holdout import Holdout
    from ml.models.protocol import BidModel

FIELDS = {
    "value": ("lead_bucket", "segment"),
    "conversion": ("lead_bucket", "partner", "device"),
}
"""Where errors are looked for, by model."""


@dataclass(frozen=True)
class WorthRows:
    """Rows of a holdout with their weight in money.

    Attributes:
        due: the rows, with the columns of `fields`.
        scale: currency units per unit of the model's last output, shape (n,).
        came: worth that came, in currency units, shape (n,).
        fields: see `FIELDS`.
    """

    due: Holdout
    scale: npt.NDArray[np.float64]
    came: npt.NDArray[np.float64]
    fields: tuple[str, ...]

    def report(self, model: BidModel, *, seed: int) -> dict[str, Any]:
        """What this model's errors cost: `ml.evaluation.money.worth_report`."""
        from ml.evaluation.money import worth_report

        rows = self.due.rows
        said = self.due.of_label(model.predict(rows)[model.outputs[-1]].to_numpy(dtype=np.float64))
        labels = {name: rows[name].astype(object).fillna("none").to_numpy() for name in self.fields}
        return worth_report(said * self.scale, self.came, labels, self.due.block, seed=seed)


def worth_rows(name: str, judged: Mapping[str, Holdout]) -> WorthRows | None:
    """The rows of a model; None where it is not a model of worth, or nothing was due.

    Args:
        name: the model's.
        judged: from `ml.evaluation.rows.evaluation_rows`.
    """
    value = judged.get("value_due")
    due = judged.get(f"{name}_due", judged.get(name))
    if name not in FIELDS or value is None or due is None or value.value_micros is None or not len(due.label):
        return None
    if name == "value":
        return WorthRows(
            due, np.full(len(due.label), 1 / MICROS_PER_UNIT), value.value_micros / MICROS_PER_UNIT, FIELDS[name]
        )
    gross = value.rows["value_micros"].to_numpy(dtype=np.float64, na_value=np.nan)
    if not gross.sum() > 0:
        return None
    kept = float(value.value_micros.sum() / gross.sum())
    stay = due.rows["price_micros"].to_numpy(dtype=np.float64) * due.rows["los_nights"].to_numpy(dtype=np.float64)
    worth = kept * stay / MICROS_PER_UNIT
    return WorthRows(due, worth, worth * due.label, FIELDS[name])


def money_of(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a version's metrics tell of money, for people: a row per model and baseline, each with its tables.

    Returns:
        Rows with `model`, `by` ("model" or "baseline"), `whole`, `cost` and `fields` as of `ml.evaluation.money.worth_report`. Versions from
        before money was measured have none.
    """
    found = []
    for name, measured in metrics.items():
        if not isinstance(measured, Mapping):
            continue
        for by, one in (("model", measured), ("baseline", measured.get("baseline"))):
            money = one.get("money") if isinstance(one, Mapping) else None
            if money:
                tables = {"whole": money["whole"], "cost": money["cost"], "fields": money["by"]}
                found.append({"model": name, "by": by, **tables})
    return found
