"""What becomes of bookings: cancelled or stayed, later settled; and when we learn of it."""

from __future__ import annotations

import numpy as np

from ml.market.simulator import conversion
from ml.market.simulator.bookings import DIRECT, GOOGLE, US_PER_DAY, US_PER_SECOND
from ml.market.simulator.conversion import cancellation_log_odds
from ml.market.simulator.demand import MAX_LEAD_DAYS, MAX_LOS_NIGHTS
from ml.market.simulator.world import Floats, Rows, World

_PARTIES = (1, 2)  # customer types: transient parties and groups
_CONTRACT = 3
_FAR_DAYS, _LONG_STAY = 21, 4
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
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
        cancellation_log_odds(world, rows["hotel"], rows["lead"], rows["los"], kind=_kind(rows))
        - np.where(rows["customer"] == _CONTRACT, 0.40, 0.0)
        + np.where(rows["cancellations"] > 0, 1.2, 0.0)
        - np.where(rows["repeat"], 0.9, 0.0)
        + np.where(rows["rate"] > 1.25e6 * world.rate[rows["hotel"]], 0.35, 0.0)
        + _firmness(rows)
    )
    return log_odds


def _firmness(rows: Rows) -> Floats:
    """How plans firm up: what makes a booking at short notice safe makes one far ahead unsafe; shape (n,).

    One traveller, or a weekend, is settled near the day and open months before it; families and long stays are the
    other way round. Effects that change sign with lead time are what a regression without interactions cannot learn.
    """
    far = np.where(rows["lead"] >= _FAR_DAYS, 1.0, -1.0)
    weekend = np.isin((rows["check_in"] + _EPOCH_WEEKDAY) % 7, (4, 5))
    firmness: Floats = far * (
        np.where(rows["adults"] == 1, 0.8, 0.0)
        + np.where(weekend, 0.7, -0.3)
        - np.where(rows["children"] > 0, 0.8, 0.0)
        - np.where(rows["los"] >= _LONG_STAY, 0.7, 0.0)
    )
    return firmness


def _kind(rows: Rows) -> np.ndarray:
    own = np.where(rows["segment"] == DIRECT, conversion.DIRECT, conversion.AGENCY)
    return np.where(np.isin(rows["customer"], _PARTIES), conversion.PARTY, own)
