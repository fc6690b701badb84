"""Importing Feast without what it does to a process on the way.

Feast decorates its classes with typeguard's `typechecked`, which rewrites and recompiles every one of their methods
at import: two of the three seconds that importing Feast takes, paid by every task. It also makes every deprecation
warning of every library visible. Both are switched off for the time of the import; Feast itself is as published.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def light_import() -> Iterator[None]:
    """Import Feast inside this context: no telemetry, no rewriting of its classes, no changed warning filters."""
    os.environ["FEAST_USAGE"] = "False"
    import typeguard

    real = typeguard.typechecked
    typeguard.typechecked = _unchanged
    try:
        with warnings.catch_warnings():
            yield
    finally:
        typeguard.typechecked = real


def _unchanged(target: Any = None, **_options: Any) -> Any:
    """Stands in for the decorator, with and without arguments."""
    return target if target is not None else _unchanged
