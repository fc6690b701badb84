"""Fits of the usual models that differ in their trees or in their hotels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from ml.challenge.planted import Rows
from ml.models import click, conversion
from ml.models.base import Prepared, TreeModel
from ml.models.boosted import Boosted
from ml.models.candidate import fit_models
from ml.models.click import ClickModel
from ml.models.conversion import ConversionBaseline, ConversionModel
from ml.models.hotel_effect import fit_hotels
from ml.models.logistic import Logistic
from ml.models.numbers import Floats
from ml.models.over_line import OverLine
from ml.models.shrinkage import Multipliers
from ml.models.training import Trained, prepare


def fit_with_trees(rows: Rows, as_of: datetime, seed: int, trees: Mapping[str, Any]) -> Trained:
    """The usual models, with another recipe for the trees of clicks and conversions.

    Args:
        rows: as for `ml.models.training.train`.
        as_of: the instant of knowledge.
        seed: of every random choice.
        trees: fields of `ml.models.lightgbm_text.Recipe` that differ.
    """
    usual = fit_models(rows, as_of, seed)
    of_clicks = prepare(ClickModel.name, rows, as_of=as_of)
    recipe = replace(click.RECIPE, **trees)
    grown = ClickModel(Boosted.fit(of_clicks.encoder, of_clicks.examples, recipe=recipe, seed=seed))
    of_bookings = prepare(ConversionModel.name, rows, as_of=as_of)
    over = OverLine.over(
        Logistic.fit(of_bookings.encoder, of_bookings.examples),
        of_bookings.examples,
        recipe=replace(conversion.RECIPE, **trees),
        seed=seed,
    )
    hotels = fit_hotels(of_bookings, over.raw(of_bookings.examples.matrix))
    other: dict[str, TreeModel] = {"click": grown, "conversion": ConversionModel(over, hotels, of_bookings.level)}
    return replace(usual, models={**usual.models, **other})


def with_raw_ratios(trained: Trained, rows: Rows, as_of: datetime) -> Trained:
    """The same models, with the bookings of each hotel over those expected of it for its multiplier."""
    model, line = trained.models["conversion"], trained.baselines["conversion"]
    if not (isinstance(model, ConversionModel) and isinstance(line, ConversionBaseline)):
        raise TypeError("the conversion models are not of the usual kind")
    prepared = prepare(ConversionModel.name, rows, as_of=as_of)
    matrix = prepared.examples.matrix
    trees = ConversionModel(_over_line(model), _raw(prepared, model.hotels, _over_line(model).raw(matrix)), model.level)
    plain = ConversionBaseline(line.fitted, _raw(prepared, line.hotels, line.fitted.raw(matrix)), line.level)
    return replace(
        trained,
        models={**trained.models, "conversion": trees},
        baselines={**trained.baselines, "conversion": plain},
    )


def _over_line(model: ConversionModel) -> OverLine:
    fitted = model.fitted
    if not isinstance(fitted, OverLine):
        raise TypeError("the conversion model is not made of a line and trees")
    return fitted


def _raw(prepared: Prepared, usual: Multipliers, probability: Floats) -> Multipliers:
    """Raw ratios in the form of multipliers; a hotel without a booking has next to nothing."""
    if prepared.hotels is None or prepared.known_share is None:
        raise TypeError("the prepared rows do not say which hotel each is of")
    names = usual.keys[0]
    code = np.searchsorted(np.asarray(names), np.asarray(prepared.hotels, dtype=str))
    came = np.bincount(code, prepared.examples.labels, minlength=len(names))
    expected = np.bincount(code, probability * prepared.known_share, minlength=len(names)) * usual.scale
    ratio = np.maximum(came / np.maximum(expected, 1e-9), 1e-3)
    return Multipliers.load(replace(usual, means=(ratio, *usual.means[1:])).artefacts())
