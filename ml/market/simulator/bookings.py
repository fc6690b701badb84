"""Bookings: through clicks, some time after the click, and directly; with the guests who made them."""

from __future__ import annotations

from datetime import date

import numpy as np

from ml.market.simulator.demand import MAX_LEAD_DAYS, draw_los, nightly_rate, to_cents
from ml.market.simulator.partners import NAMES
from ml.market.simulator.scenarios import Effects
from ml.market.simulator.world import Floats, Ints, Rows, World, number_of, season

SEGMENTS = (*NAMES, "direct")
DIRECT = len(NAMES)
CUSTOMER_TYPES = ("transient", "transient_party", "group", "contract")
MEALS = ("BB", "HB", "SC")
ROOM_TYPES = ("standard", "superior", "suite")

CUSTOMER_SHARES = (0.72, 0.18, 0.04, 0.06)
ADULT_SHARES = (0.24, 0.68, 0.08)
CHILD_SHARES = (0.88, 0.07, 0.05)
REPEAT_SHARE, DIRECT_REPEAT_SHARE = 0.03, 0.14
FICKLE_SHARES = (0.04, 0.10)
"""Guests who have cancelled before: among new ones, among those who come again."""

CROSS_SHARE = 0.08
"""Bookings through a click that are made at another hotel of its city."""

DIRECT_PER_DAY = 400.0
MAX_LAG_DAYS = 30
US_PER_SECOND = 1_000_000
US_PER_DAY = 86_400 * US_PER_SECOND

BOOKING = np.dtype([
    ("number", "i8"),  # of the search for a click's booking, else of the booking; unique within day and segment
    ("origin", "i4"),  # day of the click, or of the direct booking, since 1970
    ("segment", "i1"),
    ("credited", "?"),  # whether a click is credited with it
    ("hotel", "i2"),
    ("booked", "i8"),  # microseconds since 1970
    ("known", "i8"),
    ("check_in", "i4"),
    ("lead", "i2"),
    ("los", "i2"),
    ("customer", "i1"),
    ("meal", "i1"),
    ("room", "i1"),
    ("adults", "i2"),
    ("children", "i2"),
    ("babies", "i2"),
    ("repeat", "?"),
    ("cancellations", "i2"),
    ("stays", "i2"),
    ("rate", "i8"),  # micros a night
    ("cancelled", "?"),
    ("event", "i8"),  # microseconds since 1970
    ("event_known", "i8"),
    ("settled", "i8"),  # 0: never
    ("settled_amount", "i8"),
])  # fmt: skip


def click_bookings(
    world: World, rng: np.random.Generator, day: date, converted: Rows, clicked_at: Ints, effects: Effects
) -> Rows:
    """Bookings of the searches that convert; `clicked_at` in microseconds since 1970, shape (n,).

    Lag after the click: .62 Exp(.05 d) + .285 Exp(2 d) + .095 Exp(9 d), at most 30 days and before the day of
    check-in is over. The partner reports a conversion about an hour and a half later, so that some bookings of an
    evening become known on the next day. Some guests book another hotel of the city than the one they clicked.
    """
    n = len(converted)
    rows = np.zeros(n, dtype=BOOKING)
    scale = rng.choice([0.05, 2.0, 9.0], n, p=[0.62, 0.285, 0.095])
    lag = np.minimum(rng.exponential(scale) * US_PER_DAY, MAX_LAG_DAYS * US_PER_DAY)
    time_left = (converted["check_in"].astype(np.int64) + 1) * US_PER_DAY - clicked_at
    rows["booked"] = clicked_at + np.minimum(lag, 0.95 * time_left).astype(np.int64)
    reported = rng.exponential(1.5 / 24, n) + np.asarray(effects.report_hours) / 24
    rows["known"] = rows["booked"] + (reported * US_PER_DAY).astype(np.int64)
    for name in ("number", "check_in", "los"):
        rows[name] = converted[name]
    rows["origin"], rows["segment"] = number_of(day), converted["partner"]
    rows["credited"] = rng.random(n) >= effects.lost
    rows["lead"] = rows["check_in"] - rows["booked"] // US_PER_DAY
    rows["hotel"], rate = _elsewhere(world, rng, converted)
    rows["rate"] = _micros(rate)
    _draw_guests(rng, rows)
    return rows


def _elsewhere(world: World, rng: np.random.Generator, converted: Rows) -> tuple[Ints, Floats]:
    """The hotel that each of n guests books, and its rate a night: mostly the one clicked at the price found there."""
    n = len(converted)
    moves, place, spread = rng.random(n) < CROSS_SHARE, rng.random(n), np.exp(rng.normal(0.0, 0.035, n))
    hotel = converted["hotel"].astype(np.int64)
    for city in np.unique(world.city[hotel[moves]]):
        there = np.flatnonzero(world.city == city)
        share = np.cumsum(world.popularity[there])
        mine = moves & (world.city[hotel] == city)
        hotel[mine] = there[np.searchsorted(share / share[-1], place[mine])]
    other = to_cents(nightly_rate(world, hotel, converted["check_in"]) * spread)
    return hotel, np.where(moves, other, converted["landing_price"])


def direct_bookings(world: World, rng: np.random.Generator, day: date) -> Rows:
    """Bookings that need no click: further ahead, fewer cancelled, known at once; about 310 a day."""
    today = number_of(day)
    expected = DIRECT_PER_DAY * np.where(world.new, 0.0, world.popularity) * season(today, world.resort)
    hotel = np.repeat(np.arange(world.hotels), rng.poisson(expected))
    n = len(hotel)
    rows = np.zeros(n, dtype=BOOKING)
    rows["number"], rows["origin"], rows["segment"], rows["hotel"] = np.arange(n), today, DIRECT, hotel
    rows["booked"] = today * US_PER_DAY + (rng.beta(3.0, 2.0, n) * (US_PER_DAY - 1)).astype(np.int64)
    rows["known"] = rows["booked"]
    lead = 1 + np.floor(rng.gamma(0.8, 55.0, n)).astype(np.int64)
    rows["lead"] = np.where(rng.random(n) < 0.12, 0, np.minimum(lead, MAX_LEAD_DAYS))
    rows["check_in"] = today + rows["lead"].astype(np.int64)
    rows["los"] = draw_los(rng, world.resort[hotel])
    rate = nightly_rate(world, hotel, rows["check_in"]) * np.exp(rng.normal(0.0, 0.08, n))
    rows["rate"] = _micros(to_cents(rate))
    _draw_guests(rng, rows)
    return rows


def _draw_guests(rng: np.random.Generator, rows: Rows) -> None:
    n = len(rows)
    direct = rows["segment"] == DIRECT
    rows["customer"] = _pick(rng, n, CUSTOMER_SHARES)
    rows["meal"] = _pick(rng, n, (0.78, 0.12, 0.10))
    rows["room"] = _pick(rng, n, (0.74, 0.20, 0.06))
    rows["adults"] = 1 + _pick(rng, n, ADULT_SHARES)
    rows["children"] = np.where(rows["adults"] > 1, _pick(rng, n, CHILD_SHARES), 0)
    rows["babies"] = _pick(rng, n, (0.99, 0.01))
    repeat = rng.random(n) < np.where(direct, DIRECT_REPEAT_SHARE, REPEAT_SHARE)
    rows["repeat"] = repeat
    rows["stays"] = np.where(repeat, rng.geometric(0.4, n), 0)
    rows["cancellations"] = np.where(
        rng.random(n) < np.where(repeat, FICKLE_SHARES[1], FICKLE_SHARES[0]), rng.geometric(0.7, n), 0
    )


def _pick(rng: np.random.Generator, n: int, shares: tuple[float, ...]) -> Ints:
    chosen: Ints = np.searchsorted(np.cumsum(shares)[:-1], rng.random(n), side="right")
    return chosen


def _micros(amount: Floats) -> Ints:
    """Currency units, in whole cents, as micros."""
    micros: Ints = np.round(amount * 100).astype(np.int64) * 10_000
    return micros
