"""Two forests and a straight line, averaged in log-odds; kept as text.

The forests differ in how they cut: one at the best place of each column, one at random places. The line knows no
interactions, but neither does it learn by heart which agents' groups fell through last year; the shorter the
history, the more it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact
from ml.models.artefacts import read_object, read_text
from ml.models.boosted import Boosted
from ml.models.field_calibration import FieldCalibration
from ml.models.lightgbm_text import TextModel
from ml.models.logistic import Logistic
from ml.models.numbers import Floats, logit, sigmoid
from ml.models.survival import Timing

EVEN_ROWS = 10_000
"""The line has the share `EVEN_ROWS / (EVEN_ROWS + rows)` of the log-odds: half at so many rows of history."""


@dataclass(frozen=True)
class Blend(Boosted):
    """`logit p = share * line + (1 - share) * mean of the forests`, then calibrated in whole and by field.

    Attributes:
        random: the trees cut at random places.
        random_intercept: what they add to, in log-odds.
        line: the straight line, on the same encoded columns.
        share: of the line, 0 to 1.
        fields: calibrations by field, applied in order after the one of the whole.
        timing: when bookings that cancel do so.
    """

    random: TextModel
    random_intercept: float
    line: Logistic
    share: float
    fields: tuple[FieldCalibration, ...]
    timing: Timing

    def raw(self, matrix: Floats) -> Floats:
        """Probabilities before calibration, shape (n,), of encoded rows, shape (n, k)."""
        forests = self.intercept + self.trees.margin(matrix) + self.random_intercept + self.random.margin(matrix)
        return sigmoid(self.share * logit(self.line.raw(matrix)) + (1.0 - self.share) * forests / 2.0)

    @property
    def forests(self) -> tuple[TextModel, ...]:
        """Both forests."""
        return self.trees, self.random

    def of_matrix(self, matrix: Floats) -> Floats:
        """Calibrated probabilities, shape (n,), of encoded rows, shape (n, k)."""
        p = self.calibration.apply(self.raw(matrix))
        for by_field in self.fields:
            p = by_field.apply(p, matrix[:, self.encoder.names.index(by_field.column)])
        return p

    def artefacts(self, name: str) -> dict[str, bytes]:
        """The files of `Boosted` and `random.txt`, `line.json`, `blend.json`, `timing.json`."""
        settings = {
            "share": self.share,
            "random_intercept": self.random_intercept,
            "fields": [by_field.to_json() for by_field in self.fields],
        }
        return {
            **super().artefacts(name),
            f"{name}/random.txt": self.random.text.encode(),
            f"{name}/line.json": canonical_json(self.line.to_json()),
            f"{name}/blend.json": canonical_json(settings),
            f"{name}/timing.json": canonical_json(self.timing.to_json()),
        }

    @classmethod
    def load(cls, name: str, artefacts: Mapping[str, bytes]) -> Blend:
        """Read back `artefacts`; the trees are parsed on first use only."""
        base = Boosted.load(name, artefacts)
        settings = read_object(artefacts, f"{name}/blend.json")
        try:
            share, intercept = float(settings["share"]), float(settings["random_intercept"])
            fields = tuple(FieldCalibration.from_json(by_field) for by_field in settings["fields"])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtefact(
                f"{name}/blend.json is not of the expected form", next="train the version again"
            ) from error
        if not (0 <= share <= 1 and np.isfinite(intercept)) or any(f.column not in base.encoder.names for f in fields):
            raise CorruptArtefact(f"{name}/blend.json names a share or a column that is none", next="train it again")
        line = Logistic.from_json(read_object(artefacts, f"{name}/line.json"))
        if line.encoder.names != base.encoder.names:
            raise CorruptArtefact(f"{name}/line.json reads other columns than the trees", next="train it again")
        return cls(
            base.encoder,
            base.trees,
            base.intercept,
            base.calibration,
            random=TextModel(read_text(artefacts, f"{name}/random.txt")),
            random_intercept=intercept,
            line=line,
            share=share,
            fields=fields,
            timing=Timing.from_json(read_object(artefacts, f"{name}/timing.json")),
        )

    def importance(self) -> dict[str, float]:
        """Each feature's share of the gain, mean of the two forests, 0 to 1, rounded for JSON."""
        ours, theirs = self.trees.gains(), self.random.gains()
        return {name: round((share + theirs[name]) / 2, 6) for name, share in ours.items()}


def line_share(rows: int) -> float:
    """How much of the log-odds the line has, with so many rows of history; 0 to 1.

    >>> line_share(10_000), round(line_share(90_000), 2)
    (0.5, 0.1)
    """
    return EVEN_ROWS / (EVEN_ROWS + rows)
