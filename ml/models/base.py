"""What the models share, and what the baselines share: columns to probability, files, reference statistics.

A model names its columns and says how to fit; a baseline is the same task with a logistic regression.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pandas as pd

from ml.core.digests import canonical_json
from ml.core.errors import NoData
from ml.models.artefacts import read_object
from ml.models.boosted import Boosted, Examples
from ml.models.context import forms_of
from ml.models.encoding import Column, Columns, Encoder, Values, columns_of
from ml.models.lightgbm_text import TextModel
from ml.models.logistic import Logistic
from ml.models.maturity import Knowledge
from ml.models.numbers import Bools, Floats
from ml.models.reference import reference
from ml.models.rival_level import RivalLevel

REFERENCE_ROWS = 20_000
"""Reference statistics are of so many of the latest rows."""


@dataclass(frozen=True)
class Prepared:
    """Rows made ready for a fit; a model and its baseline fit on the same.

    Attributes:
        encoder: the codes of the categories in them.
        examples: the rows encoded, with labels, weights and offsets.
        certain: shape (n,); whether the label cannot change any more. The others enter as expectations.
        days: shape (n,); age of the row in days, to hold out the latest.
        known: what is known of open bookings; none for models of clicks.
        hotels: the hotel of each row, where a model learns an effect of it; n names.
        known_share: shape (n,); the share of each row's events known so far, where it matters to such a model.
        level: how high rivals bid, where it is one of the columns.
    """

    encoder: Encoder
    examples: Examples
    certain: Bools
    days: Floats
    known: Knowledge | None = None
    hotels: tuple[str, ...] | None = None
    known_share: Floats | None = None
    level: RivalLevel | None = None

    def counts(self) -> dict[str, int]:
        """How many rows there are, how many are certain, and how many enter corrected."""
        rows, certain = len(self.certain), int(self.certain.sum())
        return {"rows": rows, "certain": certain, "corrected": rows - certain}

    def share(self) -> float:
        """Weighted mean label, 0 to 1."""
        return float(np.average(self.examples.labels, weights=self.examples.weights))


class Fitted(Protocol):
    """What was fitted: columns in, probabilities of the label out."""

    @property
    def encoder(self) -> Encoder:
        """The codes of the columns, in the order of the design."""
        ...

    def of_matrix(self, matrix: Floats) -> Floats:
        """Probability of the label, shape (n,), of rows encoded by the encoder, shape (n, k)."""
        ...


class Task(ABC):
    """What is predicted and from which columns; a model and its baseline share one."""

    task: ClassVar[str]
    name: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[tuple[str, ...]]
    fitted: Fitted

    @classmethod
    @abstractmethod
    def prepare(cls, rows: pd.DataFrame, *, as_of: datetime) -> Prepared:
        """Labels, weights and codes from what was known before `as_of`; NoData when there is too little."""

    @classmethod
    @abstractmethod
    def derive(cls, columns: Columns) -> dict[str, Values]:
        """The task's columns that are not among its inputs, from these."""

    @classmethod
    @abstractmethod
    def answer(cls, columns: Columns, p: Floats) -> dict[str, Floats]:
        """The task's outputs, from its inputs and the probability of its label."""

    @classmethod
    @abstractmethod
    def fit_prepared(cls, prepared: Prepared, *, seed: int) -> Self:
        """Fit on prepared rows."""

    @classmethod
    def fit(cls, rows: pd.DataFrame, *, as_of: datetime, seed: int) -> Self:
        """Fit on what was known before `as_of`; the same rows and seed give the same artefacts."""
        return cls.fit_prepared(cls.prepare(rows, as_of=as_of), seed=seed)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that the design is made of, in order."""
        return self.fitted.encoder.names

    @classmethod
    def context(cls, rows: pd.DataFrame) -> pd.DataFrame:
        """The task's columns for rows with its inputs, besides what the rows have already."""
        return rows.assign(**cls.derive(cls.columns_of(rows)))

    @classmethod
    def columns_of(cls, rows: pd.DataFrame) -> Columns:
        """The inputs in a frame as arrays."""
        return columns_of(rows, forms_of(cls.inputs))

    def design(self, columns: Columns) -> Columns:
        """What the encoder reads: the inputs, the task's columns, and what only the fitted model knows."""
        return {**columns, **self.derive(columns)}

    def probability(self, columns: Columns, design: Columns) -> Floats:  # noqa: ARG002  (for tasks that add to it)
        """Probability of the label, shape (n,), of rows with these inputs and this design."""
        return self.fitted.of_matrix(self.fitted.encoder.encode(design))

    def predict_columns(self, columns: Columns) -> dict[str, Floats]:
        """The outputs, each of shape (n,), of inputs without a frame; a row's do not depend on which others are there."""
        return self.answer(columns, self.probability(columns, self.design(columns)))

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The outputs for each row, under the index of `rows`; on one thread."""
        return pd.DataFrame(self.predict_columns(self.columns_of(rows)), index=rows.index)

    def forests(self) -> tuple[TextModel, ...]:
        """The trees that it is made of; none where it has none."""
        return ()

    def importance(self) -> dict[str, float]:
        """Each column's share of the gain, which sums to 1; empty where there is no such share."""
        return {}

    def reference(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Distributions of columns and predictions over the latest rows, for drift checks."""
        latest = rows.tail(REFERENCE_ROWS)
        said = self.predict(latest)
        predictions = {name: said[name].to_numpy(dtype=float) for name in self.outputs}
        return reference(self.fitted.encoder, self._frame(latest), predictions, importance=self.importance())

    def _frame(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The design as a frame, for statistics."""
        design = self.design(self.columns_of(rows))
        return rows.assign(**{name: design[name] for name in self.features if name not in rows.columns})


class TreeModel(Task):
    """A model made of trees and a calibration."""

    fitted: Boosted

    def __init__(self, fitted: Boosted) -> None:
        self.fitted = fitted

    def artefacts(self) -> dict[str, bytes]:
        """`<name>/model.txt`, `<name>/calibration.json` and `<name>/features.json`."""
        return self.fitted.artefacts(self.name)

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Self:
        """Read back `artefacts`; CorruptArtefact when a file is missing or not of its form."""
        return cls(cls.load_fitted(artefacts))

    @classmethod
    def load_fitted(cls, artefacts: Mapping[str, bytes]) -> Boosted:
        """Trees and calibration; CorruptArtefact when a file is missing or not of its form."""
        return Boosted.load(cls.name, artefacts)

    def forests(self) -> tuple[TextModel, ...]:
        """The trees that it is made of."""
        return self.fitted.forests

    def importance(self) -> dict[str, float]:
        """Each column's share of the gain; sums to 1."""
        return self.fitted.importance()


class LogisticModel(Task):
    """A baseline made of a logistic regression."""

    fitted: Logistic

    def __init__(self, fitted: Logistic) -> None:
        self.fitted = fitted

    def artefacts(self) -> dict[str, bytes]:
        """`<name>/logistic.json`."""
        return {f"{self.name}/logistic.json": canonical_json(self.fitted.to_json())}

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Self:
        """Read back `artefacts`; CorruptArtefact when the file is missing or not of its form."""
        return cls(cls.load_fitted(artefacts))

    @classmethod
    def load_fitted(cls, artefacts: Mapping[str, bytes]) -> Logistic:
        """The regression; CorruptArtefact when the file is missing or not of its form."""
        return Logistic.from_json(read_object(artefacts, f"{cls.name}/logistic.json"))


def in_order(rows: pd.DataFrame, *, time: str, key: str) -> pd.DataFrame:
    """Rows by time and then key, numbered from 0: the order that makes a fit the same whatever order they came in."""
    return rows.sort_values([time, key], kind="stable", ignore_index=True)


def enough_rows(name: str, rows: pd.DataFrame, *, least: int) -> None:
    """Refuse to fit on next to nothing: NoData when there are fewer rows than `least`."""
    if len(rows) < least:
        raise _too_few(f"the {name} model has {len(rows)} rows; it needs {least}")


def enough_of_each(name: str, labels: Floats, *, least: int) -> None:
    """Refuse to fit on one outcome alone: NoData when either label, shape (n,) within 0 and 1, is rarer than `least`."""
    rarer = float(min(labels.sum(), (1 - labels).sum()))
    if rarer < least:
        raise _too_few(
            f"the {name} model has {rarer:.0f} of {len(labels)} rows with the rarer outcome; it needs {least}"
        )


def _too_few(what: str) -> NoData:
    return NoData(what, left="no version was made", next="import more market days")
