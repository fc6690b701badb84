"""Whether the features that were served are those of the training set; `monitoring.parity` says which are not."""

from __future__ import annotations

from datetime import date

import numpy as np

from ml.core.verdict import Verdict
from monitoring.findings import COLD_START
from monitoring.parity import MIN_SHARE
from monitoring.watchers.level import hold
from monitoring.watchers.limits import WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

CHECK, MEASURE = "skew", "served_as_trained"


def watch_skew(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """The share of served features that are exactly the training set's. The incident is that of the part `parity`."""
    compared, equal = series.whole.get("skew_compared"), series.whole.get("skew_equal")
    if compared is None or equal is None or not np.isfinite(compared[-1]) or compared[-1] <= 0:
        reason = "served features were not compared with the training set's on this day"
        return [hold(CHECK, MEASURE, reason, why=COLD_START)]
    share = float(equal[-1] / compared[-1])
    moved = share < MIN_SHARE
    reason = f"{share:.2%} of {compared[-1]:.0f} served features are exactly those of the training set"
    return [
        Watched(
            CHECK, "the market", MEASURE, Verdict.PASS, share, MIN_SHARE, reason, effect=float(np.log(max(share, 0.01))),
            evidence=(1 - share) / (1 - MIN_SHARE), now=share, before=1.0, since=series.day if moved else None, moved=moved,
        )
    ]  # fmt: skip
