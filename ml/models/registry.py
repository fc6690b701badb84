"""Which models there are. To add one: write its file, add its line to `PAIRS`."""

from __future__ import annotations

from collections.abc import Mapping

from ml.models.base import LogisticModel, TreeModel
from ml.models.click import ClickBaseline, ClickModel
from ml.models.conversion import ConversionBaseline, ConversionModel
from ml.models.protocol import BidModel
from ml.models.value import ValueBaseline, ValueModel

PAIRS: Mapping[str, tuple[type[TreeModel], type[LogisticModel]]] = {
    "value": (ValueModel, ValueBaseline),
    "conversion": (ConversionModel, ConversionBaseline),
    "click": (ClickModel, ClickBaseline),
}
"""Each model with the baseline it has to beat; all but `value` only where the source has opportunities."""

MODELS: Mapping[str, type[BidModel]] = {kind.name: kind for pair in PAIRS.values() for kind in pair}
"""Every model and every baseline by name; the folders of a bundle are named so."""


def baseline_of(name: str) -> str:
    """Name of the baseline of a model."""
    return PAIRS[name][1].name
