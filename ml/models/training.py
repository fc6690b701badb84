"""Fit every model and its baseline on the same rows, as known at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from ml.core.digests import canonical_json
from ml.models import PAIRS, baseline_of
from ml.models.base import LogisticModel, Prepared, TreeModel
from ml.models.conversion import ConversionModel
from ml.models.golden import golden
from ml.models.protocol import BidModel
from ml.models.rows import AUCTIONS


@dataclass(frozen=True)
class Trained:
    """What came out of a training.

    Attributes:
        models: by name.
        baselines: by the name of the model that each stands against.
        counts: per model, how many `rows` it was fitted on, how many with a `certain` label, how many `corrected`.
        shares: per model, the share of its label in training, weighted: what a constant would say.
    """

    models: Mapping[str, TreeModel]
    baselines: Mapping[str, LogisticModel]
    counts: Mapping[str, Mapping[str, int]]
    shares: Mapping[str, float]

    def by_folder(self) -> dict[str, BidModel]:
        """Models and baselines under the names of their folders in a bundle."""
        return {**self.models, **{baseline_of(name): model for name, model in self.baselines.items()}}

    def artefacts(self, rows: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
        """The files of a bundle: models, baselines, reference statistics over `rows`, golden predictions on them."""
        everything = self.by_folder()
        asked = {name: rows[name] for name in self.models} | {baseline_of(name): rows[name] for name in self.baselines}
        reference = {name: model.reference(rows[name]) for name, model in self.models.items()}
        files = {file: data for model in everything.values() for file, data in model.artefacts().items()}
        return {**files, "reference.json": canonical_json(reference), "golden.json": golden(everything, asked)}

    def training_record(self) -> dict[str, dict[str, Any]]:
        """Per model, its inputs and counts, for the gates."""
        return {name: {"inputs": list(model.inputs), **self.counts[name]} for name, model in self.models.items()}


def train(rows: Mapping[str, pd.DataFrame], *, as_of: datetime, seed: int) -> Trained:
    """Fit the models named in `rows`, and their baselines.

    Args:
        rows: from `ml.models.rows.training_rows`: for each model its rows, with outcomes as known before `as_of`.
        as_of: the instant of knowledge.
        seed: of every random choice; with the same rows it gives the same bytes.

    Raises:
        NoData: a model has too few rows.
    """
    models: dict[str, TreeModel] = {}
    baselines: dict[str, LogisticModel] = {}
    counts: dict[str, Mapping[str, int]] = {}
    shares: dict[str, float] = {}
    for name in (name for name in rows if name in PAIRS):
        model, baseline = PAIRS[name]
        prepared = prepare(name, rows, as_of=as_of)
        models[name] = model.fit_prepared(prepared, seed=seed)
        baselines[name] = baseline.fit_prepared(prepared, seed=seed)
        counts[name], shares[name] = prepared.counts(), prepared.share()
    return Trained(models, baselines, counts, shares)


def prepare(name: str, rows: Mapping[str, pd.DataFrame], *, as_of: datetime) -> Prepared:
    """The rows of a model made ready for it and its baseline; NoData when there are too few.

    Args:
        name: of the model, a key of `PAIRS`.
        rows: as in `train`.
        as_of: the instant of knowledge.
    """
    if name == ConversionModel.name:
        return ConversionModel.prepare(rows[name], as_of=as_of, auctions=rows.get(AUCTIONS))
    return PAIRS[name][0].prepare(rows[name], as_of=as_of)
