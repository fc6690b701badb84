"""The hidden truth that models try to learn: who converts and who cancels."""

from __future__ import annotations

import numpy as np

from ml.market.buckets import LEAD_STARTS, bucket_index
from ml.market.simulator.demand import CONVERSION_CAP, DESKTOP, MOBILE
from ml.market.simulator.partners import PARTNERS
from ml.market.simulator.world import Floats, Rows, World

_INTERCEPT = -2.80
_DEVICE = np.array([-0.35, 0.30, 0.05])
_PARTNER = np.array([partner.conversion for partner in PARTNERS.values()])
_PRICE_SENSITIVITY = 6.0

AGENCY, DIRECT, PARTY = 0, 1, 2
"""Kinds of guests that cancel differently: through a partner, directly, and parties and groups of either."""

_CANCEL_SHARE = np.array([
    [0.061, 0.132, 0.276, 0.370, 0.415, 0.473, 0.568],
    [0.067, 0.107, 0.157, 0.220, 0.207, 0.194, 0.263],
    [0.060, 0.036, 0.090, 0.079, 0.085, 0.124, 0.250],
])  # fmt: skip
"""Cancelled share by kind and lead bucket, of 69,083 real bookings (hotel booking demand: Online TA of transient
guests, Direct, and transient parties): the longer ahead, the more, but hardly so for direct guests and parties."""
_CANCEL_SHIFT = np.array([
    [-0.63, -0.42, -0.35, -0.38, -0.50, -0.57, -0.50],
    [-0.60, -0.53, -0.48, -0.33, -0.38, -0.36, -0.27],
    [-0.63, -0.64, -0.59, -0.56, -0.59, -0.54, -0.31],
])  # fmt: skip
"""What brings the mean over hotels, dates and guests back to these shares: `benchmarks.simulator_fit --calibrate`.

Agencies' last bucket is set by its neighbours: too few book so far ahead through a click to find it."""
_CANCEL_LOG_ODDS = np.log(_CANCEL_SHARE / (1 - _CANCEL_SHARE)) + _CANCEL_SHIFT
_FAR = 31  # days; from here on city breaks are given up more often, resort holidays less often


def conversion_log_odds(world: World, searches: Rows) -> Floats:
    """Log odds that a click books, were our price the lowest; shape (n,).

    Those that anyone knows, plus the hotel itself, the hotel on that device, and the point of sale.
    """
    hotel, device, country = searches["hotel"], searches["device"], searches["country"]
    hidden: Floats = world.conversion[hotel] + world.by_device[hotel, device] + world.by_country[country]
    return usual_log_odds(searches) + hidden


def usual_log_odds(searches: Rows) -> Floats:
    """The part of the log odds that is the same for every hotel and point of sale; shape (n,).

    Partner, device, lead time, length of stay, kind of dates, home or foreign. Lead time acts differently by device:
    on a phone tonight's room is booked, next quarter's is only looked at.
    """
    device, lead = searches["device"], searches["lead"]
    phone, desktop = device == MOBILE, device == DESKTOP
    log_odds: Floats = (
        _INTERCEPT
        + _PARTNER[searches["partner"]]
        + _DEVICE[device]
        - 0.007 * np.minimum(lead, 90)
        - 0.10 * (searches["los"] - 1)
        + np.where(searches["default_date"], -0.55, 0.25)
        + np.where(searches["country"] == 0, 0.15, -0.25)
        + np.where(phone & (lead <= 1), 1.50, 0.0)
        - np.where(phone & (lead > 7), 1.00, 0.0)
        + np.where(desktop & (lead >= 14) & (lead <= 60), 0.75, 0.0)
    )
    return log_odds


def conversion_probability(log_odds: Floats, price_ratio: Floats | float = 1.0) -> Floats:
    """Probability of a booking after a click; `price_ratio` is our price over the lowest one, at least 1."""
    probability: Floats = 1 / (1 + np.exp(_PRICE_SENSITIVITY * np.log(price_ratio) - log_odds))
    return np.minimum(probability, CONVERSION_CAP)


def usual_cancellation(lead: np.ndarray) -> Floats:
    """Cancelled share of agency bookings by lead time, whatever the hotel; shape (n,)."""
    share: Floats = _CANCEL_SHARE[AGENCY, bucket_index(lead, LEAD_STARTS)]
    return share


def cancellation_log_odds(
    world: World, hotel: np.ndarray, lead: np.ndarray, los: np.ndarray, *, kind: np.ndarray | int = AGENCY
) -> Floats:
    """Log odds that a booking is cancelled, before what is particular to the guest; shape (n,).

    Long stays at short notice are given up more than twice as often as short ones, as in the real bookings.
    """
    far = lead >= _FAR
    log_odds: Floats = (
        _CANCEL_LOG_ODDS[kind, bucket_index(lead, LEAD_STARTS)]
        + world.cancellation[hotel]
        + np.where(far, np.where(world.resort[hotel], -0.45, 0.35), 0.0)
        + np.where((los == 1) & far, 0.30, 0.0)
        + np.where((los >= 7) & ~far, 1.2, 0.0)
        - np.where((los >= 7) & far, 0.35, 0.0)
    )
    return log_odds
