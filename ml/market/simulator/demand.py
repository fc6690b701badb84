"""Who searches for what: partner, hotel, device, dates, country, and the price we show.

A day's searches fall into two strata. `hot` searches are the only ones that could end in a booking: both of their
hidden dice, one for the click and one for the conversion, lie under caps that no probability exceeds. They can be
drawn without the rest, so that the outcomes of a year can be told without running a year of auctions.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from ml.market.simulator.partners import PARTNERS
from ml.market.simulator.world import COUNTRY_SHARES, Floats, Ints, Rows, World, number_of, season, weekend

CLICK_CAP = 0.30
CONVERSION_CAP = 0.30
MAX_LEAD_DAYS = 270
MAX_LOS_NIGHTS = 14

MOBILE, DESKTOP, TABLET = 0, 1, 2
_DEVICE_SHARES = (0.62, 0.33, 0.05)
_SAME_NIGHT = np.array([0.217, 0.044, 0.131])
_DEFAULT_DATE_SHARE = 0.45
_WEEKDAY_TRAFFIC = (1.06, 1.05, 1.02, 1.00, 0.95, 0.92, 1.00)
_HOUR_WEIGHTS = np.array([2, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 8, 9, 9, 8, 6, 4], dtype=float)
_HOURLY = np.concatenate([[0.0], np.cumsum(_HOUR_WEIGHTS) / _HOUR_WEIGHTS.sum()])
_TRAFFIC_SHAPE = 12.0  # of the gamma noise on each hotel's daily traffic: a spread of 29 %
_LAUNCH_TRAFFIC = 0.15  # of a launched market at full size, against the old one
_TRAFFIC_SHARES = np.array([partner.traffic_share for partner in PARTNERS.values()])

SEARCH = np.dtype([
    ("number", "i8"),  # unique within the day
    ("partner", "i1"),
    ("hotel", "i2"),
    ("second", "f8"),  # of the day
    ("device", "i1"),
    ("country", "i1"),
    ("default_date", "?"),
    ("lead", "i2"),
    ("los", "i2"),
    ("check_in", "i4"),  # days since 1970
    ("market_rate", "f8"),  # what the night usually costs
    ("price", "f8"),  # what we show
    ("landing_price", "f8"),  # what we charge; the price shown, unless the feed is wrong
    ("jitter", "f4"),  # standard normal; moves the house policy's bid
    ("click_die", "f8"),
    ("conversion_die", "f8"),
])  # fmt: skip


def traffic(
    world: World, rng: np.random.Generator, day: date, mean: float, *, demand: Floats | float, launched: float
) -> Ints:
    """How many searches each hotel gets at each partner on a day; shape (partners, hotels).

    Poisson with gamma noise, season and weekday. `demand` is the log of the factor on them, to be broadcast to that
    shape; `launched` the share of its full traffic that a new market has.
    """
    popularity = world.popularity * np.where(world.new, _LAUNCH_TRAFFIC * launched, 1.0)
    hotels = mean * popularity * season(number_of(day), world.resort) * _WEEKDAY_TRAFFIC[day.weekday()]
    noise = rng.gamma(_TRAFFIC_SHAPE, 1 / _TRAFFIC_SHAPE, world.hotels)
    counts: Ints = rng.poisson(_TRAFFIC_SHARES[:, None] * (hotels * noise) * np.exp(demand))
    return counts


def hot_counts(rng: np.random.Generator, counts: Ints) -> Ints:
    """How many of these searches are hot; the shape of `counts`."""
    hot: Ints = rng.binomial(counts, CLICK_CAP * CONVERSION_CAP)
    return hot


def hot_dice(rng: np.random.Generator, searches: Rows) -> None:
    """Give hot searches their dice: both under the caps."""
    searches["click_die"] = rng.random(len(searches)) * CLICK_CAP
    searches["conversion_die"] = rng.random(len(searches)) * CONVERSION_CAP


def cold_dice(rng: np.random.Generator, searches: Rows) -> None:
    """Give the other searches theirs: given that they are not hot, they may still click, but not book."""
    clickable = CLICK_CAP * (1 - CONVERSION_CAP) / (1 - CLICK_CAP * CONVERSION_CAP)
    die = rng.random(len(searches))
    searches["click_die"] = np.where(die < clickable, die / clickable * CLICK_CAP, 1.0)
    searches["conversion_die"] = 1.0


def draw_searches(world: World, rng: np.random.Generator, day: date, counts: Ints, *, first_number: int) -> Rows:
    """Searches of a day, `counts[p, h]` for hotel h at partner p, numbered from `first_number`; without their dice."""
    n = int(counts.sum())
    today = number_of(day)
    rows = np.zeros(n, dtype=SEARCH)
    rows["number"] = first_number + np.arange(n)
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    rows["partner"], hotel = cell // counts.shape[1], cell % counts.shape[1]
    device = np.searchsorted(np.cumsum(_DEVICE_SHARES)[:-1], rng.random(n), side="right")
    default_date = rng.random(n) < _DEFAULT_DATE_SHARE
    lead = np.where(default_date, rng.integers(1, 14, n), _lead(rng, device))
    rows["hotel"], rows["device"], rows["default_date"], rows["lead"] = hotel, device, default_date, lead
    rows["second"] = np.interp(rng.random(n), _HOURLY, np.arange(25) * 3600.0) * (1 - 1e-9)
    rows["country"] = np.searchsorted(np.cumsum(COUNTRY_SHARES)[:-1], rng.random(n), side="right")
    rows["los"] = np.where(default_date, 1, draw_los(rng, world.resort[hotel]))
    rows["check_in"] = today + lead
    rows["market_rate"] = nightly_rate(world, hotel, today + lead)
    rows["price"] = to_cents(rows["market_rate"] * np.exp(rng.normal(0.0, 0.035, n)))
    rows["landing_price"] = rows["price"]
    rows["jitter"] = rng.standard_normal(n, dtype=np.float32)
    return rows


def draw_los(rng: np.random.Generator, resort: np.ndarray) -> Ints:
    """Nights: 1 + geometric, .48 in cities, .33 at resorts, where every eighth stay is a week."""
    n = len(resort)
    nights = rng.geometric(np.where(resort, 0.33, 0.48))
    nights = np.where(resort & (rng.random(n) < 0.125), 7, nights)
    clipped: Ints = np.minimum(nights, MAX_LOS_NIGHTS)
    return clipped


def nightly_rate(world: World, hotel: np.ndarray, check_in: np.ndarray) -> Floats:
    """The usual rate for a night: the hotel's, moved by the season of the stay, 12 % more from Friday to Sunday."""
    first, last = (int(check_in.min()), int(check_in.max())) if len(check_in) else (0, 0)
    days = np.arange(first, last + 1)
    # By day and kind of hotel: the same few hundred cosines serve a million stays.
    swing = np.stack([season(days, resort) ** 0.6 * np.where(weekend(days), 1.12, 1.0) for resort in (False, True)])
    rate: Floats = world.rate[hotel] * swing[world.resort[hotel].astype(np.intp), check_in - first]
    return rate


def to_cents(amount: np.ndarray) -> Floats:
    """Whole cents, at least one unit."""
    cents: Floats = np.maximum(np.round(amount, 2), 1.0)
    return cents


def _lead(rng: np.random.Generator, device: np.ndarray) -> Ints:
    """Days to check-in: tonight with a probability by device, otherwise 1 + floor(Gamma(.75, 32))."""
    n = len(device)
    later = 1 + np.floor(rng.gamma(0.75, 32.0, n)).astype(np.int64)
    lead: Ints = np.where(rng.random(n) < _SAME_NIGHT[device], 0, np.minimum(later, MAX_LEAD_DAYS))
    return lead
