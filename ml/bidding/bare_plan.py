"""The plan of a market that publishes no bids, such as an auction of listings alone: a cap, what is retained, and no cell."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import msgspec
import pandas as pd

from ml.bidding.serving_plan import ANY, FORMATS, NOT_PUBLISHED, RETENTION_KEYS, PlanFile
from ml.bidding.worth import CLICK_LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml.bidding.day_budget import DayBudget


def bare_plan(
    *,
    market: str,
    day: date,
    generation: int,
    take_share: float,
    max_bid_micros: int,
    retention: pd.DataFrame | None = None,
    budgets: Mapping[str, DayBudget] | None = None,
) -> bytes:
    """The bytes of a plan without cells; equal arguments, equal bytes.

    It says of every cell: no shading, nothing published, the policy's cap; and of a value what the champion's value model keeps
    of it after cancellations.

    Args:
        market, day, generation: whose it is: of the champion, as of the end of a market day.
        take_share: what a booking earns of its net value.
        max_bid_micros: the policy's cap.
        retention: from `ml.bidding.serving_plan.retention_table`; None where the champion has no value model: all is kept.
        budgets: by partner; None: nobody's day has one.
    """
    everything = pd.DataFrame([dict.fromkeys(RETENTION_KEYS, ANY) | {"retained": 1.0}])
    kept = everything if retention is None else retention
    return msgspec.json.encode(
        PlanFile(
            format_version=FORMATS[bool(budgets)],
            market=market,
            day=day,
            generation=generation,
            take_share=take_share,
            max_bid_micros=max_bid_micros,
            labels={name: [] for name in CLICK_LEVELS},
            cells={name: [-1] for name in CLICK_LEVELS},
            shading=[0.0],
            last_bid_micros=[NOT_PUBLISHED],
            cap_micros=[max_bid_micros],
            retention={name: kept[name].tolist() for name in RETENTION_KEYS},
            retained=kept["retained"].tolist(),
            budgets=dict(budgets or {}),
        )
    )
