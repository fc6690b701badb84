"""What becomes of bookings: cancelled or stayed, later settled; and when we learn of it."""

from __future__ import annotations

from itertools import product

import numpy as np

from ml.market.simulator import conversion
from ml.market.simulator.bookings import (
    ADULT_SHARES,
    CHILD_SHARES,
    CUSTOMER_SHARES,
    DIRECT,
    FICKLE_SHARES,
    REPEAT_SHARE,
    US_PER_DAY,
    US_PER_SECOND,
)
from ml.market.simulator.conversion import cancellation_log_odds
from ml.market.simulator.demand import MAX_LEAD_DAYS, MAX_LOS_NIGHTS
from ml.market.simulator.world import TAKE_SHARE, Floats, Rows, World

_PARTIES = (1, 2)  # customer types: transient parties and groups
_CONTRACT = 3
_FAR_DAYS, _LONG_STAY = 21, 4
_FICKLE, _LOYAL, _FIRM_CONTRACT = 1.2, 0.9, 0.40
_DEAR, _DEAR_LIFT = 1.25, 0.35  # of the hotel's usual rate
_ALONE, _FAMILY = 0.8, 0.8
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
_EARLY_SHARE = 0.43  # of cancellations come in the first fifth of the time between booking and check-in
_US_PER_HOUR = 3600 * US_PER_SECOND
_SETTLING_DAYS = 7

LONGEST_FATE_DAYS = MAX_LEAD_DAYS + MAX_LOS_NIGHTS + _SETTLING_DAYS + 2
"""No event of a booking becomes known later than this after it was made."""


def decide_fates(world: World, rng: np.random.Generator, rows: Rows, cancellation: Floats | float = 0.0) -> None:
    """Fill in what becomes of each booking; `cancellation` is added to the log odds of cancelling, shape (n,).

    A cancellation falls in the first fifth of the booking window with probability .43, else evenly after it, and is
    known at once. A stay is known at check-out. The partner settles its bookings a week later, now and then for less.
    """
    n = len(rows)
    rows["cancelled"] = rng.random(n) < 1 / (1 + np.exp(-_log_odds(world, rows) - cancellation))
    arrival = rows["check_in"].astype(np.int64) * US_PER_DAY + 18 * _US_PER_HOUR
    left = np.maximum(arrival - rows["booked"], 0)
    early = rng.random(n) < _EARLY_SHARE
    share = np.where(early, 0.2 * rng.random(n), 0.2 + 0.8 * rng.random(n))
    cancelled_at = rows["booked"] + (share * left).astype(np.int64)
    departure = (rows["check_in"].astype(np.int64) + rows["los"]) * US_PER_DAY + 8 * _US_PER_HOUR
    stayed_at = departure + (rng.random(n) * 4 * _US_PER_HOUR).astype(np.int64)
    rows["event"] = np.where(rows["cancelled"], cancelled_at, stayed_at)
    rows["event_known"] = np.maximum(rows["event"], rows["known"])

    settles = ~rows["cancelled"] & (rows["segment"] != DIRECT)
    rows["settled"] = np.where(settles, departure + _SETTLING_DAYS * US_PER_DAY, 0)
    kept = np.where(rng.random(n) < 0.93, 1.0, 0.8 + 0.2 * rng.random(n))
    rows["settled_amount"] = (kept * rows["rate"] * rows["los"]).astype(np.int64)


def _log_odds(world: World, rows: Rows) -> Floats:
    log_odds: Floats = (
        cancellation_log_odds(world, rows["hotel"], rows["lead"], rows["los"], kind=_kind(rows))
        - np.where(rows["customer"] == _CONTRACT, _FIRM_CONTRACT, 0.0)
        + np.where(rows["cancellations"] > 0, _FICKLE, 0.0)
        - np.where(rows["repeat"], _LOYAL, 0.0)
        + np.where(rows["rate"] > _DEAR * 1e6 * world.rate[rows["hotel"]], _DEAR_LIFT, 0.0)
        + _firmness(rows)
    )
    return log_odds


def _firmness(rows: Rows) -> Floats:
    """How plans firm up: what makes a booking at short notice safe makes one far ahead unsafe; shape (n,).

    One traveller, or a weekend, is settled near the day and open months before it; families and long stays are the
    other way round. Effects that change sign with lead time are what a regression without interactions cannot learn.
    """
    people = np.where(rows["adults"] == 1, _ALONE, 0.0) - np.where(rows["children"] > 0, _FAMILY, 0.0)
    firmness: Floats = _far(rows["lead"]) * (people + _dates_firmness(rows))
    return firmness


def _far(lead: np.ndarray) -> Floats:
    return np.where(lead >= _FAR_DAYS, 1.0, -1.0)


def _dates_firmness(rows: Rows) -> Floats:
    weekend = np.isin((rows["check_in"] + _EPOCH_WEEKDAY) % 7, (4, 5))
    return np.where(weekend, 0.7, -0.3) - np.where(rows["los"] >= _LONG_STAY, 0.7, 0.0)


def kept_share(world: World, searches: Rows, cancellation: Floats | float = 0.0) -> Floats:
    """Probability that a booking of each search is not cancelled, over all guests who may make it; shape (n,).

    The exact mean of `decide_fates` over guests, for a booking on the day of the search; bookings that come days
    later have shorter lead times and are cancelled a little less.
    """
    hotel, lead, los = searches["hotel"], searches["lead"], searches["los"]
    far = _far(lead)
    dear = np.where(searches["landing_price"] > _DEAR * world.rate[hotel], _DEAR_LIFT, 0.0)
    common = dear + far * _dates_firmness(searches) + cancellation
    cancelled = np.zeros(len(searches))
    for kind in (conversion.AGENCY, conversion.PARTY):
        log_odds = cancellation_log_odds(world, hotel, lead, los, kind=kind) + common
        for sign in (-1.0, 1.0):
            mine = far == sign
            cancelled[mine] += np.interp(log_odds[mine], _GRID, _MEANS[kind, sign])
    kept: Floats = 1 - cancelled
    return kept


def booking_value(world: World, searches: Rows, cancellation: Floats | float = 0.0) -> Floats:
    """What a booking of each search is expected to earn, in currency units: its value, kept, times the share we take."""
    gross = searches["landing_price"] * searches["los"]
    earned: Floats = gross * TAKE_SHARE * kept_share(world, searches, cancellation)
    return earned


def _guest_kinds() -> dict[int, list[tuple[float, float, float]]]:
    """By kind: share of all guests, addition to the log odds, and addition that changes sign with lead time."""
    found: dict[int, list[tuple[float, float, float]]] = {conversion.AGENCY: [], conversion.PARTY: []}
    alone, family = ADULT_SHARES[0], 1 - CHILD_SHARES[0]
    people = ((alone, _ALONE), ((1 - alone) * family, -_FAMILY), ((1 - alone) * (1 - family), 0.0))
    for (customer, share), (of_people, swing), repeat in product(enumerate(CUSTOMER_SHARES), people, (False, True)):
        for fickle in (False, True):
            often = FICKLE_SHARES[repeat] if fickle else 1 - FICKLE_SHARES[repeat]
            weight = share * of_people * (REPEAT_SHARE if repeat else 1 - REPEAT_SHARE) * often
            lift = fickle * _FICKLE - repeat * _LOYAL - (customer == _CONTRACT) * _FIRM_CONTRACT
            kind = conversion.PARTY if customer in _PARTIES else conversion.AGENCY
            found[kind].append((weight, lift, swing))
    return found


def _mean_over(guests: list[tuple[float, float, float]], sign: float) -> Floats:
    """Probability of a cancellation, times the share of these guests, at each log odds of the grid."""
    weight, lift, swing = np.array(guests).T[:, :, None]
    mean: Floats = (weight / (1 + np.exp(-(_GRID + lift + sign * swing)))).sum(axis=0)
    return mean


def _kind(rows: Rows) -> np.ndarray:
    own = np.where(rows["segment"] == DIRECT, conversion.DIRECT, conversion.AGENCY)
    return np.where(np.isin(rows["customer"], _PARTIES), conversion.PARTY, own)


_GRID = np.linspace(-10.0, 8.0, 721)
_MEANS = {(kind, sign): _mean_over(guests, sign) for kind, guests in _guest_kinds().items() for sign in (-1.0, 1.0)}
