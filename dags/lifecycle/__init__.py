"""The words that the DAG files are written in: the assets, the common settings and the way to run a stage."""

from lifecycle.assets import CANDIDATE, CHAMPION, DRIFT_CHECKED, FEATURES, MARKET_DAY
from lifecycle.settings import (
    CALENDAR,
    HEAVY_QUEUE,
    LIFECYCLE,
    ONLINE_QUEUE,
    ONLINE_STORE_POOL,
    canary_rollouts,
    cleaning_calendar,
    deadline,
    market_calendar,
    materialize_parts,
    rehearsal_calendar,
    tending_calendar,
)
from lifecycle.signing import signing_settings
from lifecycle.stages import market_day, run_stage

__all__ = [
    "CALENDAR",
    "CANDIDATE",
    "CHAMPION",
    "DRIFT_CHECKED",
    "FEATURES",
    "HEAVY_QUEUE",
    "LIFECYCLE",
    "MARKET_DAY",
    "ONLINE_QUEUE",
    "ONLINE_STORE_POOL",
    "canary_rollouts",
    "cleaning_calendar",
    "deadline",
    "market_calendar",
    "market_day",
    "materialize_parts",
    "rehearsal_calendar",
    "run_stage",
    "signing_settings",
    "tending_calendar",
]
