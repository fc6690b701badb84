"""Score rows with the models of a bundle, for value tables, bids and checks."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ml.core.errors import CorruptArtefact
from ml.models.protocol import BidModel


def score_bookings(models: Mapping[str, BidModel], rows: pd.DataFrame) -> pd.DataFrame:
    """Bookings with `p_cancel` (0 to 1) and the expected `net_value_micros` (a float), in place of a realised one.

    Raises:
        CorruptArtefact: there is no value model.
        SchemaBreak: the rows lack a column that the model reads.
    """
    said = _model(models, "value").predict(rows)
    return rows.assign(p_cancel=said["p_cancel"], net_value_micros=said["net_value_micros"])


def score_traffic(models: Mapping[str, BidModel], rows: pd.DataFrame) -> pd.DataFrame:
    """Shown opportunities with `p_book` (of a click, 0 to 1) and, where there is a click model, `p_click`.

    Raises:
        CorruptArtefact: there is no conversion model.
        SchemaBreak: the rows lack a column that a model reads.
    """
    scored = rows.assign(p_book=_model(models, "conversion").predict(rows)["p_book"])
    if "click" not in models:
        return scored
    return scored.assign(p_click=models["click"].predict(rows)["p_click"])


def _model(models: Mapping[str, BidModel], name: str) -> BidModel:
    if name not in models:
        raise CorruptArtefact(
            f"the version has no {name} model", left="nothing was scored", next="train a version on this market"
        )
    return models[name]
