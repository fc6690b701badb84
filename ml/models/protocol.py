"""What every model and every baseline can do, so that gates, bundles and bids need not know which it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    import pandas as pd

    from ml.models.encoding import Columns
    from ml.models.lightgbm_text import TextModel
    from ml.models.numbers import Floats


@runtime_checkable
class BidModel(Protocol):
    """A fitted model of one part of a bid's value, kept as text artefacts.

    Attributes:
        name: its key in `MODELS` or `BASELINES`, and the folder of its artefacts.
        outputs: the columns that `predict` returns.
    """

    name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns of a row that it reads."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns of its design matrix, in order."""
        ...

    @classmethod
    def fit(cls, rows: pd.DataFrame, *, as_of: datetime, seed: int) -> Self:
        """Fit on what was known before `as_of`; the same rows and seed give the same artefacts, byte for byte.

        Raises:
            NoData: the rows hold too little to fit on.
        """
        ...

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """`outputs` for each row, under the index of `rows`; on one thread."""
        ...

    def predict_columns(self, columns: Columns) -> dict[str, Floats]:
        """`outputs`, each of shape (n,), of `inputs` as arrays (`ml.models.encoding.Values`): what `predict` says of them, to the last
        bit, and the same for a row whichever rows are with it."""
        ...

    def forests(self) -> tuple[TextModel, ...]:
        """The trees that it is made of, so that they can be walked faster; none where it has none."""
        ...

    def artefacts(self) -> dict[str, bytes]:
        """Its files, named `<name>/...`: LightGBM text and JSON, nothing that runs on loading."""
        ...

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Self:
        """Read back what `artefacts` gave.

        Raises:
            CorruptArtefact: a file is missing or is not of the expected form. LightGBM text must have been
                checked against its digest before: LightGBM kills the process on a damaged one.
        """
        ...

    def reference(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Distributions of its features and predictions over `rows`, as JSON, to compare later days with."""
        ...
