"""The libraries that tasks spend seconds importing, imported once in the scheduler that they are forked from.

Only such as open nothing on import and start no thread that a fork would miss (a test forks, trains and predicts). A drift
check comes to its work three seconds sooner, other steps one. Feast is not among them, as it opens files of metrics.
"""

from __future__ import annotations

import gc


def warm_up() -> None:
    """Import them, through the modules that own them."""
    import ibis.backends.duckdb  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import scipy.optimize  # noqa: F401

    import ml.features.engine  # noqa: F401
    import ml.ledger.database  # noqa: F401
    import ml.platform  # noqa: F401
    from ml.models import lightgbm_text
    from monitoring import drift

    lightgbm_text.library()
    drift.warm_up()
    gc.freeze()  # what is imported stays: a fork that searched it for garbage would copy its pages, too
