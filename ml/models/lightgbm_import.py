"""Importing LightGBM without scikit-learn.

LightGBM imports scikit-learn, if it is there, for estimators that nobody here uses: four fifths of the second that its import
takes, paid by every task that predicts. For the time of the import it is not there; LightGBM itself is as published.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def light_import() -> Iterator[None]:
    """Import LightGBM inside this context; where scikit-learn has been imported already, nothing is to be saved."""
    if "sklearn" in sys.modules or "lightgbm" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # what makes its import fail
    try:
        yield
    finally:
        del sys.modules["sklearn"]
