"""Trees on top of a straight line: the line carries what adds up in log-odds, the trees what does not.

With a thousand events trees alone spend most of their cuts on drawing slopes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact
from ml.models.artefacts import read_object
from ml.models.boosted import Boosted, Examples
from ml.models.lightgbm_text import Recipe
from ml.models.logistic import Logistic
from ml.models.numbers import Floats, logit, sigmoid


@dataclass(frozen=True)
class OverLine(Boosted):
    """`logit p = line + intercept + trees`, then calibrated; the line reads the same encoded columns."""

    line: Logistic

    @classmethod
    def over(cls, line: Logistic, examples: Examples, *, recipe: Recipe, seed: int) -> OverLine:
        """Grow the trees on what the line leaves; not calibrated yet."""
        carried = logit(line.raw_together(examples.matrix))
        offset = carried if examples.offset is None else carried + examples.offset
        grown = Boosted.fit(line.encoder, replace(examples, offset=offset), recipe=recipe, seed=seed)
        return cls(grown.encoder, grown.trees, grown.intercept, grown.calibration, line=line)

    def raw(self, matrix: Floats) -> Floats:
        """Probabilities before calibration, shape (n,), of encoded rows, shape (n, k)."""
        return sigmoid(logit(self.line.raw(matrix)) + self.intercept + self.trees.margin(matrix))

    def artefacts(self, name: str) -> dict[str, bytes]:
        """The files of `Boosted` and `line.json`."""
        return {**super().artefacts(name), f"{name}/line.json": canonical_json(self.line.to_json())}

    @classmethod
    def load(cls, name: str, artefacts: Mapping[str, bytes]) -> OverLine:
        """Read back `artefacts`; the trees are parsed on first use only."""
        base = Boosted.load(name, artefacts)
        line = Logistic.from_json(read_object(artefacts, f"{name}/line.json"))
        if line.encoder.names != base.encoder.names:
            raise CorruptArtefact(f"{name}/line.json reads other columns than the trees", next="train it again")
        return cls(base.encoder, base.trees, base.intercept, base.calibration, line=line)
