"""What becomes of bookings: cancelled or stayed, later settled; and when we learn of it."""

from __future__ import annotations

import numpy as np

from ml.market.simulator.bookings import DIRECT, GOOGLE, US_PER_DAY, US_PER_SECOND
from ml.market.simulator.conversion import cancellation_log_odds
from ml.market.simulator.demand import MAX_LEAD_DAYS, MAX_LOS_NIGHTS
from ml.market.simulator.world import Floats, Rows, World

_CUSTOMER = np.array([0.0, -0.20, 0.45, -0.40])
_EARLY_SHARE = 0.43  # of cancellations come in the first fifth of the time between booking and check-in
_US_PER_HOUR = 3600 * US_PER_SECOND
_SETTLING_DAYS = 7

LONGEST_FATE_DAYS = MAX_LEAD_DAYS + MAX_LOS_NIGHTS + _SETTLING_DAYS + 2
"""No event of a booking becomes known later than this after it was made."""


def decide_fates(world: World, rng: np.random.Generator, rows: Rows) -> None:
    """Fill in what becomes of each booking.

    A cancellation falls in the first fifth of the booking window with probability .43, else evenly after it, and is
    known at once. A stay is known at check-out. The partner settles its bookings a week later, now and then for less.
    """
    n = len(rows)
    rows["cancelled"] = rng.random(n) < 1 / (1 + np.exp(-_log_odds(world, rows)))
    arrival = rows["check_in"].astype(np.int64) * US_PER_DAY + 18 * _US_PER_HOUR
    left = np.maximum(arrival - rows["booked"], 0)
    early = rng.random(n) < _EARLY_SHARE
    share = np.where(early, 0.2 * rng.random(n), 0.2 + 0.8 * rng.random(n))
    cancelled_at = rows["booked"] + (share * left).astype(np.int64)
    departure = (rows["check_in"].astype(np.int64) + rows["los"]) * US_PER_DAY + 8 * _US_PER_HOUR
    stayed_at = departure + (rng.random(n) * 4 * _US_PER_HOUR).astype(np.int64)
    rows["event"] = np.where(rows["cancelled"], cancelled_at, stayed_at)
    rows["event_known"] = np.maximum(rows["event"], rows["known"])

    settles = ~rows["cancelled"] & (rows["segment"] == GOOGLE)
    rows["settled"] = np.where(settles, departure + _SETTLING_DAYS * US_PER_DAY, 0)
    kept = np.where(rng.random(n) < 0.93, 1.0, 0.8 + 0.2 * rng.random(n))
    rows["settled_amount"] = (kept * rows["rate"] * rows["los"]).astype(np.int64)


def _log_odds(world: World, rows: Rows) -> Floats:
    log_odds: Floats = (
        cancellation_log_odds(world, rows["hotel"], rows["lead"], rows["los"])
        - np.where(rows["segment"] == DIRECT, 0.75, 0.0)
        + _CUSTOMER[rows["customer"]]
        + np.where(rows["cancellations"] > 0, 1.2, 0.0)
        - np.where(rows["repeat"], 0.9, 0.0)
        - np.where(rows["adults"] == 1, 0.25, 0.0)
        + np.where(rows["rate"] > 1.25e6 * world.rate[rows["hotel"]], 0.35, 0.0)
    )
    return log_odds
