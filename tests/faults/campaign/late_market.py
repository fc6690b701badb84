"""A small market drawn with rows that are known late, days that are delivered late, and what must be known of it when.

Rows: a booking or its outcome is known an hour to 30 days after it happened; some say that they were known on another day than the one they are
delivered under. Days: up to three come 1 to 40 days after their turn.

The oracle knows no Ibis, no lake and no Feast: it goes through the deliveries in the order in which they came.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import pandas as pd

from ml.core.errors import NoData
from ml.core.units import day_start, days_between
from ml.features.definitions import FeatureView
from ml.features.measures import RATE_WEIGHT, VALUE_WEIGHT
from ml.market.buckets import lead_bucket
from ml.market.tables import TABLES

FIRST = date(2024, 2, 1)
DAYS = 44
"""Market days, a leap day among them."""
NAMES = ("hotels", "bookings", "booking_events")
MISPLACED = "known_on_another_day"
_LONGEST_DELAY_HOURS, _LONGEST_WAIT_DAYS = 30 * 24, 40
_BOOKINGS = 60
_MISPLACED_SHARE, _MOST = 0.15, 5
_ENDS = ("cancelled", "stayed")

Row = dict[str, Any]


@dataclass(frozen=True)
class Market:
    """What is delivered under each day, and after which day each late one comes.

    Attributes:
        rows: by day, the rows of each table.
        misplaced: by day, how many rows of it were known on another.
        waits: the late days, with the day after which each comes.
    """

    rows: Mapping[date, Mapping[str, Sequence[Row]]]
    misplaced: Mapping[date, int]
    waits: Mapping[date, date]
    name: str = "late"
    tables: tuple[str, ...] = NAMES
    partners: tuple[str, ...] = ()
    has_opportunities: bool = False

    @classmethod
    def drawn(cls, rng: random.Random) -> Market:
        """One of them."""
        last = FIRST + timedelta(days=DAYS - 1)
        rows: dict[date, dict[str, list[Row]]] = {
            day: {"hotels": _hotels(day), "bookings": [], "booking_events": []} for day in days_between(FIRST, last)
        }
        misplaced = dict.fromkeys(rows, 0)
        for table, row in _drawn_rows(rng):
            known, happened = row["known_at"].date(), row[TABLES[table].event_time].date()
            if (
                happened < known
                and happened <= last
                and rng.random() < _MISPLACED_SHARE
                and misplaced[happened] < _MOST
            ):
                rows[happened][table].append(row)
                misplaced[happened] += 1
            elif known <= last:
                rows[known][table].append(row)
        late = rng.sample(days_between(FIRST + timedelta(days=1), last - timedelta(days=2)), rng.randint(1, 3))
        latest = last - timedelta(days=1)
        waits = {day: min(latest, day + timedelta(days=rng.randint(1, _LONGEST_WAIT_DAYS))) for day in late}
        return cls(rows, misplaced, waits)

    @cached_property
    def arrivals(self) -> list[list[date]]:
        """The days in the order in which they come; those of a list, which follow one another, come at once."""
        found: list[list[date]] = [[]]
        for day in self.rows:
            if day not in self.waits:
                found[-1].append(day)
            else:
                found.append([])
            for late in [late for late, after in sorted(self.waits.items()) if after == day]:
                found += [[late], []]
        return [days for days in found if days]

    @property
    def late_rows(self) -> int:
        """Rows that were known an hour or more after they happened."""
        times = [
            row["known_at"] - row[TABLES[table].event_time]
            for tables in self.rows.values()
            for table, rows in tables.items()
            for row in rows
        ]
        return sum(late >= timedelta(hours=1) for late in times)

    def first_day(self) -> date:
        """The first market day."""
        return FIRST

    def last_day(self) -> date | None:
        """The last."""
        return max(self.rows)

    def fetch(self, day: date) -> Mapping[str, pd.DataFrame]:
        """The tables of a day."""
        if day not in self.rows:
            raise NoData(f"there is no {day}", next="ask for another day")
        return {table: _frame(table, rows) for table, rows in self.rows[day].items()}


def _hotels(day: date) -> list[Row]:
    return [{"hotel_id": f"h{number}", "kind": "city", "known_at": day_start(day)} for number in range(2)]


def _drawn_rows(rng: random.Random) -> Iterable[tuple[str, Row]]:
    """Bookings, corrections of them, and what became of them; in no order."""
    for number in range(_BOOKINGS):
        booked = day_start(FIRST) + timedelta(minutes=rng.randrange(DAYS * 24 * 60))
        lead = rng.choice([0, 1, 3, 10, 20, 45])
        booking: Row = {
            "booking_id": f"b{number}",
            "hotel_id": f"h{rng.randrange(2)}",
            "agent_id": None if rng.random() < 0.2 else f"a{rng.randrange(3)}",
            "segment": rng.choice(["online", "groups"]),
            "booked_at": booked,
            "known_at": booked + _delay(rng),
            "check_in": day_start(booked.date() + timedelta(days=lead)),
            "lead_days": lead,
            "los_nights": rng.randrange(8),
            "value_micros": rng.randrange(50, 900) * 1_000_000,
        }
        yield from _with_correction(rng, "bookings", booking, {"value_micros": 7})
        if rng.random() < 0.8:
            ended = booked + timedelta(minutes=rng.randrange(20 * 24 * 60))
            kind = rng.choice(_ENDS)
            event: Row = {
                "event_id": f"e{number}",
                "booking_id": booking["booking_id"],
                "hotel_id": booking["hotel_id"],
                "kind": kind,
                "event_at": ended,
                "known_at": ended + _delay(rng),
                "amount_micros": 0 if kind == "cancelled" else 5,
            }
            other = {"event_id": f"f{number}", "kind": _ENDS[kind == "cancelled"], "amount_micros": 3}
            yield from _with_correction(rng, "booking_events", event, other)


def _with_correction(rng: random.Random, table: str, row: Row, changes: Row) -> Iterable[tuple[str, Row]]:
    yield table, row
    if rng.random() < 0.15:
        yield table, row | changes | {"known_at": row["known_at"] + timedelta(days=rng.randint(1, 9))}


def _delay(rng: random.Random) -> timedelta:
    """An hour to 30 days, the short ones as often as the long; for one in three, none."""
    hours = 0.0 if rng.random() < 1 / 3 else math.exp(rng.uniform(0, math.log(_LONGEST_DELAY_HOURS)))
    return timedelta(minutes=round(60 * hours))


def _frame(table: str, rows: Sequence[Row]) -> pd.DataFrame:
    """Columns that are not given have a harmless value."""
    defaults = {"text": "x", "int": 1, "float": 1.0, "bool": False, "time": day_start(FIRST)}
    return pd.DataFrame(
        {
            column.name: pd.Series(
                [row.get(column.name, None if column.nullable else defaults[column.kind]) for row in rows],
                dtype=column.dtype,
            )
            for column in TABLES[table]
        }
    )


@dataclass(frozen=True)
class _Build:
    """A day's features: from which day they count, and how many rows had come when they were made."""

    day: date
    learned: date
    rows: int


Values = Mapping[str, float]
_NOTHING: Values = {}


@dataclass
class Oracle:
    """What must be known: told of each arrival and of each materialisation, in their order."""

    _rows: list[tuple[str, Row]] = field(default_factory=list)
    _builds: list[_Build] = field(default_factory=list)
    _made: dict[tuple[str, date, int], dict[tuple[str, ...], Values]] = field(default_factory=dict)

    def come(self, market: Market, days: Sequence[date]) -> None:
        """These days were delivered and materialised."""
        reached = max((build.learned for build in self._builds), default=days[0])
        for day in days:
            for table, rows in market.rows[day].items():
                self._rows += [(table, row) for row in rows if row["known_at"].date() == day]
        self._builds += [_Build(day, max(day, reached), len(self._rows)) for day in days]

    def at(self, view: FeatureView, entity: tuple[str | None, ...], decision: date) -> Values:
        """The features of an entity for a decision at the start of this day; empty where nothing was known."""
        oldest = decision - timedelta(days=view.ttl_days + 1)
        known = [build for build in self._builds if oldest <= build.day < decision and build.learned < decision]
        for build in sorted(known, key=lambda build: (build.day, build.learned), reverse=True):
            if values := self._features(view, build).get(entity):
                return values
        return _NOTHING

    def outcome(self, booking_id: str, as_of: datetime) -> tuple[str, datetime | None]:
        """How the booking ended, as known before this instant, and from when that was known."""
        ends = [row for row in self._of("booking_events", len(self._rows)) if row["booking_id"] == booking_id]
        known = [row for row in ends if row["known_at"] < as_of]
        if not known:
            return "open", None
        last = max(known, key=lambda row: (row["known_at"], row["event_at"], row["event_id"]))
        return str(last["kind"]), last["known_at"]

    def _of(self, table: str, count: int) -> list[Row]:
        return [row for name, row in self._rows[:count] if name == table]

    def _features(self, view: FeatureView, build: _Build) -> dict[tuple[str | None, ...], Values]:
        """Counts, mean values and rates of every entity of a view; the ratio of cancellations is left to the house."""
        key = (view.name, build.day, build.rows)
        if key not in self._made:
            self._made[key] = _counted(view, build.day, self._histories(build.rows))
        return self._made[key]

    def _histories(self, count: int) -> list[tuple[Row, date, tuple[date, bool] | None]]:
        """Each booking as first known, its day, and the day and kind of its outcome as first known."""
        ends = _first(self._of("booking_events", count))
        found = []
        for name, booking in _first(self._of("bookings", count)).items():
            booked, end = booking["known_at"].date(), ends.get(name)
            ended = None if end is None else (max(end["known_at"].date(), booked), end["kind"] == "cancelled")
            found.append((booking, booked, ended))
        return found


def _first(rows: Iterable[Row]) -> dict[str, Row]:
    """The first known row of each booking."""
    ordered = sorted(rows, key=lambda row: (row["known_at"], row.get("kind", "")), reverse=True)
    return {row["booking_id"]: row for row in ordered}


def _counted(
    view: FeatureView, day: date, histories: Sequence[tuple[Row, date, tuple[date, bool] | None]]
) -> dict[tuple[str | None, ...], Values]:
    made: dict[tuple[str | None, ...], dict[str, float]] = {}
    for window in view.windows:
        first = day - timedelta(days=window - 1)
        sums: dict[tuple[str | None, ...], list[int]] = {}
        whole = [0, 0, 0, 0]
        for booking, booked, ended in histories:
            entity = entity_of(view, booking)
            facts = [0, 0, 0, 0]
            if first <= booked <= day:
                facts[:2] = [1, booking["value_micros"]]
            if ended is not None and first <= ended[0] <= day:
                facts[2:] = [1, int(ended[1])]
            own = sums.setdefault(entity, [0, 0, 0, 0])
            for place, fact in enumerate(facts):
                own[place] += fact
                whole[place] += fact
            if booked <= day:
                made.setdefault(entity, {})
        for entity in made:
            bookings, value, outcomes, cancelled = sums[entity]
            mean = whole[1] / whole[0] if whole[0] else math.nan
            rate = whole[3] / whole[2] if whole[2] else math.nan
            made[entity] |= {
                f"{view.prefix}_bookings_{window}d": bookings,
                f"{view.prefix}_mean_value_micros_{window}d": (value + VALUE_WEIGHT * mean) / (bookings + VALUE_WEIGHT),
                f"{view.prefix}_cancel_rate_{window}d": (cancelled + RATE_WEIGHT * rate) / (outcomes + RATE_WEIGHT),
            }
    return {entity: values for entity, values in made.items() if None not in entity}


def entity_of(view: FeatureView, booking: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The view's key of a booking."""
    row = {**booking, "lead_bucket": lead_bucket(booking["lead_days"])}
    return tuple(None if row.get(name) is None else str(row[name]) for name in view.entity)
