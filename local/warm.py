# ruff: noqa: F401  (imported for their own sake)
"""The libraries that tasks spend seconds importing, imported once in the scheduler that they are forked from.

Only libraries, and only such as start no thread and open nothing on import, so that a fork has nothing to trip over: a
drift check comes to its work three seconds sooner, other steps one. Feast is not among them, as it opens files of metrics.
"""

from __future__ import annotations

import os
import warnings


def warm_up() -> None:
    """Import them; what is not there a task will miss itself, with its own message."""
    import duckdb
    import ibis.backends.duckdb
    import pyarrow.parquet
    import scipy.optimize
    import sqlalchemy.orm

    import ml.platform
    from ml.models.lightgbm_import import light_import
    from monitoring.drift import TELEMETRY_OFF

    with light_import():
        import lightgbm
    os.environ.update(TELEMETRY_OFF)
    with warnings.catch_warnings():
        # Evidently and its plots use names that numpy and pandas have deprecated.
        warnings.simplefilter("ignore")
        import evidently
        import evidently.presets
