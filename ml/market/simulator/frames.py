"""From arrays to the canonical tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.core.units import MICROS_PER_UNIT
from ml.market.simulator.bookings import (
    CUSTOMER_TYPES,
    DIRECT,
    MEALS,
    ROOM_TYPES,
    SEGMENTS,
    US_PER_DAY,
)
from ml.market.simulator.day import Resolved, click_times, search_times
from ml.market.simulator.partners import NAMES
from ml.market.simulator.world import CITIES, COUNTRIES, Bools, Ints, Rows, World, number_of
from ml.market.tables import DEVICES

Objects = npt.NDArray[np.object_]

_SCRAMBLE, _PRIME = 48_271, 2_147_483_647
_EPOCH = date(1970, 1, 1).toordinal()


def hotel_ids(hotels: int) -> Objects:
    """The ids of the first `hotels` hotels."""
    return np.array([f"h{number:03d}" for number in range(1, hotels + 1)], dtype=object)


_HOTEL_IDS = hotel_ids(np.iinfo(np.int16).max)


def hotels_frame(world: World, market: str, day: date, listed: Bools) -> pd.DataFrame:
    """The list of hotels, as known at the start of a day; `listed` says which of them are in it."""
    n = int(listed.sum())
    start = np.full(n, number_of(day) * US_PER_DAY)
    return pd.DataFrame(
        {
            "hotel_id": _HOTEL_IDS[: world.hotels][listed],
            "market": _same(market, n),
            "city": _labels(CITIES, world.city[listed]),
            "kind": _labels(("city", "resort"), world.resort[listed].astype(int)),
            "stars": world.stars[listed],
            "base_rate_micros": pd.array((world.rate[listed] * MICROS_PER_UNIT).astype(np.int64), dtype="Int64"),
            "known_at": utc_times(start),
        }
    )


def opportunities_frame(market: str, day: date, result: Resolved) -> pd.DataFrame:
    """The day's auctions in the order of time."""
    searches, outcomes = result.searches, result.outcomes
    n, ts = len(searches), search_times(day, searches)
    order = np.lexsort((searches["number"], ts))
    frame = pd.DataFrame(
        {
            "opportunity_id": ids("o", day, searches["number"]),
            "ts": utc_times(ts),
            "known_at": utc_times(ts),
            "partner": _labels(NAMES, searches["partner"]),
            "market": _same(market, n),
            "hotel_id": _HOTEL_IDS[searches["hotel"]],
            "device": _labels(DEVICES, searches["device"]),
            "user_country": _labels(COUNTRIES, searches["country"]),
            "check_in": utc_times(searches["check_in"].astype(np.int64) * US_PER_DAY),
            "lead_days": searches["lead"].astype(np.int64),
            "los_nights": searches["los"].astype(np.int64),
            "default_date": searches["default_date"],
            "price_micros": _micros(searches["price"]),
            "rival_price_micros": _nullable(outcomes["rival_price"], present=np.isfinite(outcomes["rival_price"])),
            "bid_micros": outcomes["bid"],
            "position": pd.arrays.IntegerArray(outcomes["position"].astype(np.int64), outcomes["position"] == 0),
            "shown": outcomes["position"] > 0,
        }
    )
    return frame.iloc[order].reset_index(drop=True)


def clicks_frame(market: str, day: date, result: Resolved) -> pd.DataFrame:
    """The day's clicks on our offers in the order of time."""
    clicked = result.outcomes["clicked"]
    searches, outcomes = result.searches[clicked], result.outcomes[clicked]
    n, ts = len(searches), click_times(day, searches)
    order = np.lexsort((searches["number"], ts))
    frame = pd.DataFrame(
        {
            "click_id": ids("c", day, searches["number"]),
            "opportunity_id": ids("o", day, searches["number"]),
            "ts": utc_times(ts),
            "known_at": utc_times(ts),
            "partner": _labels(NAMES, searches["partner"]),
            "market": _same(market, n),
            "hotel_id": _HOTEL_IDS[searches["hotel"]],
            "position": pd.array(outcomes["position"].astype(np.int64), dtype="Int64"),
            "cpc_micros": outcomes["cpc"],
        }
    )
    return frame.iloc[order].reset_index(drop=True)


def bookings_frame(market: str, rows: Rows) -> pd.DataFrame:
    """Bookings in the order in which they became known."""
    rows = rows[np.lexsort((rows["number"], rows["known"]))]
    # A booking that no click is credited with looks like one of our own site.
    segments = _labels(SEGMENTS, np.where(rows["credited"], rows["segment"], DIRECT))
    frame = {
        "booking_id": _booking_ids(rows),
        "click_id": _click_ids(rows),
        "market": _same(market, len(rows)),
        "hotel_id": _HOTEL_IDS[rows["hotel"]],
        "booked_at": utc_times(rows["booked"]),
        "known_at": utc_times(rows["known"]),
        "check_in": utc_times(rows["check_in"].astype(np.int64) * US_PER_DAY),
        "lead_days": rows["lead"].astype(np.int64),
        "los_nights": rows["los"].astype(np.int64),
        "segment": segments,
        "channel": segments,
        "customer_type": _labels(CUSTOMER_TYPES, rows["customer"]),
        "agent_id": _same(None, len(rows)),
        "company_id": _same(None, len(rows)),
        "meal": _labels(MEALS, rows["meal"]),
        "room_type": _labels(ROOM_TYPES, rows["room"]),
        "adults": rows["adults"].astype(np.int64),
        "children": rows["children"].astype(np.int64),
        "babies": rows["babies"].astype(np.int64),
        "is_repeat_guest": rows["repeat"],
        "previous_cancellations": rows["cancellations"].astype(np.int64),
        "previous_stays": rows["stays"].astype(np.int64),
        "rate_micros": rows["rate"],
        "value_micros": rows["rate"] * rows["los"],
    }
    return pd.DataFrame(frame)


def events_frame(ended: Rows, settled: Rows) -> pd.DataFrame:
    """Cancellations and stays of `ended`, settlements of `settled`, in the order in which they became known."""
    value = np.where(ended["cancelled"], 0, ended["rate"] * ended["los"])
    kinds = _labels(("stayed", "cancelled"), ended["cancelled"].astype(int))
    parts = [
        _events(ended, "e", kinds, ended["event"], ended["event_known"], value),
        _events(
            settled,
            "r",
            _same("reconciled", len(settled)),
            settled["settled"],
            settled["settled"],
            settled["settled_amount"],
        ),
    ]
    return pd.concat(parts).sort_values(["known_at", "event_id"], ignore_index=True)


def ids(prefix: str, day: date, numbers: Ints) -> Objects:
    """Ids from numbers, scrambled (a multiplication modulo a prime) so that their order tells nothing."""
    scrambled = ((numbers + 1) * _SCRAMBLE % _PRIME).tolist()
    start = f"{prefix}{day:%Y%m%d}-"
    return np.array([f"{start}{number:08x}" for number in scrambled], dtype=object)


def _events(rows: Rows, prefix: str, kinds: Objects, at: Ints, known: Ints, amount: Ints) -> pd.DataFrame:
    booking_ids = _booking_ids(rows)
    return pd.DataFrame(
        {
            "event_id": np.array([prefix + booking_id for booking_id in booking_ids], dtype=object),
            "booking_id": booking_ids,
            "hotel_id": _HOTEL_IDS[rows["hotel"]],
            "kind": kinds,
            "event_at": utc_times(at),
            "known_at": utc_times(known),
            "amount_micros": amount,
        }
    )


def _booking_ids(rows: Rows) -> Objects:
    direct = rows["segment"] == DIRECT
    return np.where(direct, _origin_ids("d", rows, direct), _origin_ids("b", rows, ~direct))


def _click_ids(rows: Rows) -> Objects:
    return _origin_ids("c", rows, rows["credited"])


def _origin_ids(prefix: str, rows: Rows, wanted: Bools) -> Objects:
    """Ids that carry the day of origin; None for the rows that are not wanted."""
    found = _same(None, len(rows))
    for origin in np.unique(rows["origin"][wanted]):
        mine = wanted & (rows["origin"] == origin)
        found[mine] = ids(prefix, date.fromordinal(int(origin) + _EPOCH), rows["number"][mine])
    return found


def utc_times(microseconds: Ints) -> pd.DatetimeIndex:
    """Instants from microseconds since 1970."""
    return pd.DatetimeIndex(microseconds.astype("datetime64[us]")).tz_localize("UTC")


def _labels(labels: Sequence[str], codes: Ints) -> Objects:
    return np.array(labels, dtype=object)[codes]


def _same(value: str | None, n: int) -> Objects:
    return np.full(n, value, dtype=object)


def _micros(amount: npt.NDArray[np.float64]) -> Ints:
    micros: Ints = np.round(amount * MICROS_PER_UNIT).astype(np.int64)
    return micros


def _nullable(amount: npt.NDArray[np.float64], *, present: npt.NDArray[np.bool_]) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(_micros(np.where(present, amount, 0.0)), ~present)
