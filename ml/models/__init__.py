"""The models of a bid's value, a file each; `ml.models.registry` lists them.

Its names can be imported from here. They are looked up on first use, so that a task that only asks whether a
retrain is due does not pay for numpy and pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.models.registry import MODELS, PAIRS, baseline_of

__all__ = ["MODELS", "PAIRS", "baseline_of"]


def __getattr__(name: str) -> Any:
    """`MODELS`, `PAIRS` and `baseline_of` of the registry."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ml.models import registry

    return getattr(registry, name)
