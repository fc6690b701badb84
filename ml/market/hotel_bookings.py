"""The hotel booking demand data set: two hotels in Portugal, 119,390 real bookings with arrivals from July 2015
to August 2017 (Antonio, de Almeida, Nunes, Data in Brief 2019; CC BY 4.0).

The market day is the day of booking, that is arrival minus lead time. The data know dates, not hours:
a booking happened at the start of its day and is known at the end of it; a cancellation or a no-show is known
on its `reservation_status_date`, a stay on the day of check-out.

Columns that the data set fills in after the booking are dropped at the door; `LEAKY_COLUMNS` says why.

No status date lies before its booked day. Day uses (no nights) and rates of zero are real and stay. Of the 119,390
bookings and their 119,390 outcomes the contract quarantines these (a test counts them again):

    bookings        4  null:children          the number of children was not entered
                    2  range:rate_micros      -6.38 and 5,400 a night
                    1  range:lead_days        737 days, a free day use
                    1  range:los_nights       69 nights
    booking_events  1  range:amount_micros    the stay at the negative rate
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.core.errors import CorruptArtefact, NoData, UsageError
from ml.core.settings import Settings
from ml.core.units import MICROS_PER_UNIT, day_start

if TYPE_CHECKING:
    import pandas as pd

FILE = "hotel_bookings.parquet"

LEAKY_COLUMNS: Mapping[str, str] = {
    "country": "corrected at check-in; before that it defaults to the hotel's own country, most often for cancellations",
    "assigned_room_type": "the room given at check-in; a cancelled booking keeps the one it reserved",
    "booking_changes": "counts changes until the day of arrival or cancellation",
    "required_car_parking_spaces": "final state; a cancelled booking always shows none",
    "total_of_special_requests": "final state; requests arrive until the stay",
    "deposit_type": "final state; deposits are registered after the booking, mostly for the ones that cancel",
    "reservation_status": "is the outcome",
    "days_in_waiting_list": "known only when the booking has left the waiting list",
}
"""Columns that are filled in after the booking, with the reason; none may reach a feature."""

_HOTELS = (
    ("city_hotel", "City Hotel", "Lisbon", "city"),
    ("resort_hotel", "Resort Hotel", "Algarve", "resort"),
)
_HOTEL_IDS = {name: hotel_id for hotel_id, name, _, _ in _HOTELS}
_RENAMED = {
    "lead_time": "lead_days",
    "market_segment": "segment",
    "distribution_channel": "channel",
    "customer_type": "customer_type",
    "meal": "meal",
    "reserved_room_type": "room_type",
    "adults": "adults",
    "children": "children",
    "babies": "babies",
    "previous_cancellations": "previous_cancellations",
    "previous_bookings_not_canceled": "previous_stays",
}
_NEEDED = (
    *_RENAMED,
    "hotel",
    "arrival",
    "stays_in_weekend_nights",
    "stays_in_week_nights",
    "agent",
    "company",
    "is_repeated_guest",
    "adr",
    "reservation_status",
    "reservation_status_date",
)
_STAYED = "Check-Out"
_SCRAMBLE, _PRIME = 48_271, 999_983


class HotelBookings:
    """The folder with `hotel_bookings.parquet`, delivered day by day; read once, then each day is a slice."""

    name = "hotel_bookings"
    tables = ("hotels", "bookings", "booking_events")
    partners: tuple[str, ...] = ()
    has_opportunities = False

    def __init__(self, folder: Path, *, market: str) -> None:
        self.folder, self.market = folder, market

    @classmethod
    def from_settings(cls, settings: Settings) -> HotelBookings:
        """The source over `settings.data`; UsageError when no folder is given."""
        if not settings.data:
            raise UsageError(
                "the source hotel_bookings needs its folder",
                next=f"give the folder that holds {FILE}, for example --data ../shared/data/hotel_booking_demand",
            )
        return cls(Path(settings.data), market=settings.market_name)

    def first_day(self) -> date:
        """The day of the earliest booking."""
        return self._span[0]

    def last_day(self) -> date:
        """The last day on which something became known."""
        return self._span[1]

    def fetch(self, day: date) -> dict[str, pd.DataFrame]:
        """The two hotels, the bookings made on `day` and the outcomes that became known on it."""
        first, last = self._span
        if not first <= day <= last:
            raise NoData(f"{self.name} has no market day {day}", next=f"choose a day from {first} to {last}")
        return {
            "hotels": self._hotels(day),
            "bookings": _slice(*self._bookings, day),
            "booking_events": _slice(*self._events, day),
        }

    def _hotels(self, day: date) -> pd.DataFrame:
        import pandas as pd

        return self._hotel_list.assign(known_at=pd.Timestamp(day_start(day)).as_unit("us"))

    @cached_property
    def _hotel_list(self) -> pd.DataFrame:
        import pandas as pd

        rows = [(hotel_id, self.market, city, kind, None, None) for hotel_id, _, city, kind in _HOTELS]
        names = ["hotel_id", "market", "city", "kind", "stars", "base_rate_micros"]
        return pd.DataFrame(rows, columns=names).astype({"stars": "float64", "base_rate_micros": "Int64"})

    @cached_property
    def _raw(self) -> pd.DataFrame:
        return _read(self.folder / FILE)

    @cached_property
    def _bookings(self) -> tuple[pd.DataFrame, dict[date, slice]]:
        return _by_day(_booking_rows(self._raw, self.market))

    @cached_property
    def _events(self) -> tuple[pd.DataFrame, dict[date, slice]]:
        return _by_day(_event_rows(self._raw))

    @cached_property
    def _span(self) -> tuple[date, date]:
        days = [*self._bookings[1], *self._events[1]]
        return min(days), max(days)


def _read(path: Path) -> pd.DataFrame:
    """The data set in file order, without the leaky columns but for the outcome, from which the events are made."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise NoData(
            f"there is no {path.name} in {path.parent}",
            next="give the folder of the hotel booking demand data with --data",
        )
    try:
        file = pq.ParquetFile(path)
        missing = [name for name in _NEEDED if name not in file.schema_arrow.names]
        if missing:
            raise CorruptArtefact(f"{path} lacks the column {missing[0]}", next="fetch the data set again")
        frame: pd.DataFrame = file.read(columns=list(_NEEDED)).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise CorruptArtefact(
            f"{path} is not a readable Parquet file: {error}", next="fetch the data set again"
        ) from error
    return frame


def _booking_rows(raw: pd.DataFrame, market: str) -> pd.DataFrame:
    rows = raw[list(_RENAMED)].rename(columns=_RENAMED)
    booked = _booked_day(raw)
    rate = _micros(raw["adr"])
    nights = _nights(raw)
    return rows.assign(
        booking_id=_booking_ids(raw),
        click_id=None,
        market=market,
        hotel_id=raw["hotel"].map(_HOTEL_IDS),
        booked_at=booked,
        known_at=_end_of(booked),
        check_in=_utc(raw["arrival"]),
        los_nights=nights,
        agent_id=_ids(raw["agent"]),
        company_id=_ids(raw["company"]),
        is_repeat_guest=raw["is_repeated_guest"] == 1,
        rate_micros=rate,
        value_micros=rate * nights,
    )


def _event_rows(raw: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    stayed = raw["reservation_status"] == _STAYED
    happened = _utc(pd.to_datetime(raw["reservation_status_date"], format="%Y-%m-%d"))
    booking_ids = _booking_ids(raw)
    return pd.DataFrame(
        {
            "event_id": [f"{booking_id}-outcome" for booking_id in booking_ids],
            "booking_id": booking_ids,
            "hotel_id": raw["hotel"].map(_HOTEL_IDS),
            "kind": stayed.map({True: "stayed", False: "cancelled"}),
            "event_at": happened,
            "known_at": _end_of(happened),
            "amount_micros": (_micros(raw["adr"]) * _nights(raw)).where(stayed, 0),
        }
    )


def _booking_ids(raw: pd.DataFrame) -> list[str]:
    """Ids made of the place in the file: the data set has none and repeats whole rows for group bookings.

    The file is sorted by outcome within a hotel, so the places are scrambled (a multiplication modulo a prime) lest
    the order of the ids tell the future.
    """
    return [f"b{(number + 1) * _SCRAMBLE % _PRIME:06d}" for number in range(len(raw))]


def _ids(numbers: pd.Series) -> pd.Series:
    """Agent and company numbers as text; null stays null."""

    text: pd.Series = numbers.astype("Int64").astype("string").astype(object).where(numbers.notna(), other=None)
    return text


def _micros(amount: pd.Series) -> Any:
    return (amount * MICROS_PER_UNIT).round().astype("Int64")


def _nights(raw: pd.DataFrame) -> Any:
    return raw["stays_in_weekend_nights"] + raw["stays_in_week_nights"]


def _booked_day(raw: pd.DataFrame) -> Any:
    import pandas as pd

    return _utc(raw["arrival"]) - pd.to_timedelta(raw["lead_time"], unit="D")


def _utc(days: pd.Series) -> Any:
    return days.dt.tz_localize("UTC").dt.as_unit("us")


def _end_of(days: pd.Series) -> Any:
    """The last microsecond of each day: a fact with a date but no hour is known when its day is over."""
    return days + timedelta(days=1, microseconds=-1)


def _by_day(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[date, slice]]:
    """The rows sorted by the day they became known, and which slice of them belongs to each day."""
    ordered = rows.sort_values(["known_at", rows.columns[0]], kind="stable", ignore_index=True)
    counts = ordered["known_at"].dt.date.value_counts(sort=False)
    slices, start = {}, 0
    for day, count in sorted(counts.items()):
        slices[day] = slice(start, start + count)
        start += count
    return ordered, slices


def _slice(rows: pd.DataFrame, slices: Mapping[date, slice], day: date) -> pd.DataFrame:
    return rows.iloc[slices.get(day, slice(0, 0))].reset_index(drop=True)
