"""The models of a bid's value, a file each. To add one: write its file, add its classes to the lists here."""

from __future__ import annotations

from collections.abc import Mapping

from ml.models.click import ClickBaseline, ClickModel
from ml.models.conversion import ConversionBaseline, ConversionModel
from ml.models.protocol import BidModel
from ml.models.value import ValueBaseline, ValueModel

TASKS = ("value", "conversion", "click")
"""What is predicted; `conversion` and `click` only where the source has opportunities."""

MODELS: Mapping[str, type[BidModel]] = {
    model.name: model
    for model in (ValueModel, ConversionModel, ClickModel, ValueBaseline, ConversionBaseline, ClickBaseline)
}
"""Every model and every baseline by name; a bundle's folders are named so."""


def baseline_of(name: str) -> str:
    """Name of the baseline of a model."""
    return f"{name}_baseline"
