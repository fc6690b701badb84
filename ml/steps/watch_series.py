"""Daily series of the market for its watchers: what was known by the end of a day, by partner and point of sale."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.core.units import days_between
from ml.steps.rows import held_days
from monitoring.watchers.series import NO_CLICK, MarketSeries, Scope

if TYPE_CHECKING:
    import pandas as pd

    from ml.features.watch_facts import Facts
    from ml.lake.lake import Lake
    from ml.platform import Platform

Floats = npt.NDArray[np.float64]

SERIES_DAYS = 63
"""Nine whole weeks: the reference days, those that their prices are held against, and the judged ones."""

_COUNTS = {
    "auctions": (
        "eligible",
        "impressions",
        "places",
        "bids",
        "priced",
        "lower",
        "higher",
        "far_lower",
        "gap",
        "gap_squares",
    ),
    "clicks": ("clicks", "spend", "clicked_bids"),
    "bookings": ("bookings", "day0", "late", "booking_value", "checked", "inaccurate"),
    "prices": ("matched", "own_price_change", "matched_rivals", "rival_price_change"),
}
_HOURS = ("clicks", "spend", "day0")
_WHY = {
    "auctions": "the source delivers no auctions",
    "prices": "the source delivers no auctions",
    "clicks": "the source delivers no clicks",
    "bookings": "the source delivers no clicks that bookings could be credited to",
    "hours": "the source delivers no clicks",
    "cancelled": "the source delivers no cancellations of bookings with clicks",
}


@dataclass(frozen=True)
class Extras:
    """What is not in the canonical tables: sums by partner and point of sale, and values of the market as a whole, by day.

    Attributes:
        sums: by name, then by day and leaf.
        whole: by name, then by day.
        missing: why a name is not there.
        held: days that nothing may be learned from.
        masked: days that are no reference, and are looked at all the same.
        take_share: what a booking earns, as a share of its value.
    """

    sums: Mapping[str, Mapping[tuple[date, Scope], float]] = field(default_factory=dict)
    whole: Mapping[str, Mapping[date, float]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    held: frozenset[date] = frozenset()
    masked: frozenset[date] = frozenset()
    take_share: float | None = None


NO_EXTRAS = Extras()


def merged(*parts: Extras) -> Extras:
    """Several extras as one; names do not collide, and the first part that knows the share of a booking says it."""
    found = NO_EXTRAS
    for part in parts:
        found = Extras(
            sums={**found.sums, **part.sums},
            whole={**found.whole, **part.whole},
            missing={**found.missing, **part.missing},
            held=found.held | part.held,
            masked=found.masked | part.masked,
            take_share=found.take_share if found.take_share is not None else part.take_share,
        )
    return found


def read_series(platform: Platform, day: date, extras: Extras = NO_EXTRAS) -> MarketSeries:
    """The series of the last nine weeks, up to a market day."""
    held = frozenset(held_days(platform, day)) - {day} - extras.masked
    odd = held | extras.held | extras.masked
    facts = read_facts(platform.lake, day - timedelta(days=SERIES_DAYS - 1), day, odd)
    return series_of(facts, day, extras=merged(extras, Extras(held=held)))


def read_facts(lake: Lake, first: date, last: date, odd: Collection[date] = ()) -> Facts:
    """The facts of these days in one pass; `series_of` makes the series of any of them, from the tenth week on in full."""
    from ml.features.watch_facts import watch_facts

    return watch_facts(lake, first=first, last=last, odd=odd)


def series_of(facts: Facts, day: date, *, extras: Extras = NO_EXTRAS) -> MarketSeries:
    """The series that end with `day`, from facts of these days or more; nothing later is looked at.

    Args:
        facts: from `read_facts`.
        day: the judged day.
        extras: what is not in the canonical tables.
    """
    first = max(facts.first, day - timedelta(days=SERIES_DAYS - 1))
    days = days_between(first, day)
    book = _Book(facts, days)
    odd = extras.held | extras.masked
    sums: dict[str, Floats] = {}
    for frame, names in _COUNTS.items():
        sums |= book.sums(frame, names)
    sums |= _expected_places(book, odd) | _expected_clicks(book, odd) | _early(book, odd)
    sums |= {"new_hotels": book.new_hotels()} if "fresh" in facts.frames else {}
    sums |= {name: book.by_leaf(found) for name, found in extras.sums.items()}
    whole = {name: book.by_day(frame, name) for frame, name in _WHOLE if frame in facts.frames}
    whole |= {name: np.array([found.get(d, np.nan) for d in days]) for name, found in extras.whole.items()}
    missing = {name: _WHY[frame] for frame, names in _COUNTS.items() if frame not in facts.frames for name in names}
    return MarketSeries(
        days=tuple(days),
        leaves=book.leaves,
        sums=sums,
        hourly=book.hours() if "hours" in facts.frames else {},
        whole=whole,
        missing={**missing, **extras.missing},
        held=extras.held,
        masked=extras.masked,
        take_share=extras.take_share,
    )


_WHOLE = (("direct", "direct"), ("seen", "last_seen_hour"), ("seen", "covered"), ("listed", "listed"))


class _Book:
    """Facts as arrays over the leaves and the days of a series."""

    def __init__(self, facts: Facts, days: Sequence[date]) -> None:
        self.facts, self.days = facts, list(days)
        self.start = (days[0] - date(1970, 1, 1)).days
        frame = facts.frames.get("auctions")
        pairs = [] if frame is None else sorted(set(zip(frame["partner"], frame["point"], strict=True)))
        self.leaves = (*(Scope(partner, point) for partner, point in pairs), Scope(NO_CLICK))
        self._code = {(leaf.partner, leaf.point_of_sale): n for n, leaf in enumerate(self.leaves)}
        self.landed = np.array([day in facts.days for day in days])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.leaves), len(self.days)

    def rows(self, name: str) -> tuple[pd.DataFrame, npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """The rows of a frame within the days, with the number of the leaf and of the day of each."""
        frame = self.facts.frames.get(name)
        if frame is None:
            return None
        day = frame["day"].to_numpy(dtype=np.int64) - self.start
        frame, day = frame[inside] if not (inside := (day >= 0) & (day < len(self.days))).all() else frame, day[inside]
        partners, points = frame["partner"].to_numpy(dtype=object), frame["point"].to_numpy(dtype=object)
        none = len(self.leaves) - 1
        leaf = np.array([self._code.get((a, b), none) for a, b in zip(partners, points, strict=True)], dtype=np.int64)
        return frame, leaf, day

    def need(self, name: str) -> tuple[pd.DataFrame, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """`rows` of a frame that is there."""
        found = self.rows(name)
        if found is None:
            raise KeyError(name)
        return found

    def sums(self, name: str, columns: Sequence[str]) -> dict[str, Floats]:
        """Columns of a frame by leaf and day; NaN on days that did not land."""
        found = self.rows(name)
        if found is None:
            return {}
        frame, leaf, day = found
        return {column: self.table(leaf, day, frame[column].to_numpy(dtype=np.float64)) for column in columns}

    def table(self, leaf: Any, day: Any, values: Floats) -> Floats:
        flat = np.bincount(leaf * len(self.days) + day, values, minlength=self.shape[0] * self.shape[1])
        return np.where(self.landed, flat.reshape(self.shape), np.nan)

    def by_leaf(self, found: Mapping[tuple[date, Scope], float]) -> Floats:
        known = {day for day, _ in found}
        at = [[found.get((day, leaf), 0.0) if day in known else np.nan for day in self.days] for leaf in self.leaves]
        return np.array(at, dtype=np.float64)

    def by_day(self, name: str, column: str) -> Floats:
        frame = self.facts.frames[name]
        known = dict(zip(frame["day"].tolist(), frame[column].tolist(), strict=True))
        empty = 0.0 if column == "direct" else np.nan
        values = np.array([float(known.get(self.start + n, empty)) for n in range(len(self.days))])
        return np.where(self.landed, values, np.nan)

    def hours(self) -> dict[str, Floats]:
        """By leaf, day and hour."""
        frame, leaf, day = self.need("hours")
        place = (leaf * len(self.days) + day) * 24 + frame["hour"].to_numpy(dtype=np.int64)
        size = self.shape[0] * self.shape[1] * 24
        return {
            name: np.asarray(
                np.bincount(place, frame[name].to_numpy(dtype=np.float64), minlength=size), np.float64
            ).reshape(*self.shape, 24)
            for name in _HOURS
        }

    def new_hotels(self) -> Floats:
        """Auctions of hotels that began at most so many days ago, and that were not there when the facts began."""
        from ml.features.watch_facts import GAP_DAYS, REFERENCE_DAYS

        frame, leaf, day = self.need("fresh")
        began = frame["seen"].to_numpy(dtype=np.int64) - (self.facts.first - date(1970, 1, 1)).days
        count = np.where(began >= REFERENCE_DAYS + GAP_DAYS, frame["n"].to_numpy(dtype=np.float64), 0.0)
        return self.table(leaf, day, count)

    def reference(self, held: frozenset[date]) -> npt.NDArray[np.bool_]:
        """The days that the judged one is held against."""
        from ml.features.watch_facts import GAP_DAYS, REFERENCE_DAYS

        age = np.arange(len(self.days))[::-1]
        usable = np.array([day not in held for day in self.days]) & self.landed
        return np.asarray((age > GAP_DAYS) & (age <= GAP_DAYS + REFERENCE_DAYS) & usable)


def _expected_places(book: _Book, held: frozenset[date]) -> dict[str, Floats]:
    """Places that bids and prices like the day's reached in the reference days: the market's answer, with our own bids held
    fixed, so that a change of our bids is no change of the market."""
    from ml.features.watch_facts import BID_BINS, GAP_BINS

    found = book.rows("cells")
    if found is None:
        return {}
    frame, leaf, day = found
    n, places, cell = (frame[name].to_numpy(dtype=np.float64) for name in ("n", "places", "cell"))
    partner = _partner_codes(book)[leaf]
    code = partner * BID_BINS * GAP_BINS + cell.astype(np.int64)
    coarse = partner * BID_BINS + cell.astype(np.int64) // GAP_BINS
    use = book.reference(held)[day]
    rate = _shrunk_rate(code, coarse, n, places, use)
    return {"places_expected": book.table(leaf, day, n * rate)}


def _expected_clicks(book: _Book, held: frozenset[date]) -> dict[str, Floats]:
    """Clicks that such places and prices had in the reference days."""
    from ml.features.watch_facts import GAP_BINS, PLACES

    shown, clicked = book.rows("shown"), book.rows("shown_clicks")
    if shown is None or clicked is None:
        return {}
    width = (PLACES + 1) * GAP_BINS
    use = book.reference(held)
    codes, counts = [], []
    for frame, leaf, day in (shown, clicked):
        code = _partner_codes(book)[leaf] * width + frame["cell"].to_numpy(dtype=np.int64)
        codes.append(code)
        counts.append(
            np.bincount(code[use[day]], frame["n"].to_numpy(dtype=np.float64)[use[day]], minlength=width * 64)
        )
    pooled = counts[1].sum() / max(counts[0].sum(), 1.0)
    rate = (counts[1] + 20 * pooled) / (counts[0] + 20)
    frame, leaf, day = shown
    return {"clicks_expected": book.table(leaf, day, frame["n"].to_numpy(dtype=np.float64) * rate[codes[0]])}


def _partner_codes(book: _Book) -> npt.NDArray[np.int64]:
    """The number of each leaf's partner."""
    names = sorted({leaf.partner for leaf in book.leaves})
    return np.array([names.index(leaf.partner) for leaf in book.leaves], dtype=np.int64)


def _shrunk_rate(code: Any, coarse: Any, n: Floats, hits: Floats, use: Any, strength: float = 20.0) -> Floats:
    """Hits per trial of each row's cell in the rows that are used, pulled towards its coarser cell and that to the mean."""
    size = int(max(code.max(initial=0), coarse.max(initial=0))) + 1
    mean = hits[use].sum() / max(n[use].sum(), 1.0)
    trials, wins = (np.bincount(coarse[use], x[use], minlength=size) for x in (n, hits))
    broad = (wins + strength * mean) / (trials + strength)
    trials, wins = (np.bincount(code[use], x[use], minlength=size) for x in (n, hits))
    return np.asarray((wins[code] + strength * broad[coarse]) / (trials[code] + strength))


def _early(book: _Book, held: frozenset[date]) -> dict[str, Floats]:
    """Early cancellations, and those that bookings of the same ages and lead times had in the reference days."""
    from ml.features.watch_facts import EARLY_AGES
    from ml.market.buckets import LEAD_BUCKETS

    made, cancelled = book.rows("made"), book.rows("cancelled")
    if made is None or cancelled is None:
        return {}
    leads = {name: n for n, name in enumerate(LEAD_BUCKETS)}
    leaves, days = book.shape

    def cube(found: Any, ages: int) -> Floats:
        frame, leaf, day = found
        lead = frame["lead"].map(leads).to_numpy(dtype=np.int64)
        age = frame["age"].to_numpy(dtype=np.int64) if "age" in frame else np.zeros(len(frame), dtype=np.int64)
        place = ((leaf * days + day) * len(leads) + lead) * ages + age
        flat = np.bincount(place, frame["n"].to_numpy(dtype=np.float64), minlength=leaves * days * len(leads) * ages)
        return np.asarray(flat.reshape(leaves, days, len(leads), ages), dtype=np.float64)

    bookings, ends = cube(made, 1)[..., 0], cube(cancelled, EARLY_AGES)
    exposed = np.zeros_like(ends)
    for age in range(EARLY_AGES):
        exposed[:, age:, :, age] = bookings[:, : days - age]
    use = book.reference(held)
    of_clicks = np.array([leaf.partner != NO_CLICK for leaf in book.leaves])
    rate = np.zeros((leaves, len(leads), EARLY_AGES))
    for group in (of_clicks, ~of_clicks):  # who comes by a click cancels more
        hits, trials = (x[group][:, use].sum(axis=(0, 1)) for x in (ends, exposed))
        rate[group] = hits / np.maximum(trials, 1.0)
    return {
        "early_cancelled": np.where(book.landed, ends.sum(axis=(2, 3)), np.nan),
        "early_expected": np.where(book.landed, (exposed * rate[:, None]).sum(axis=(2, 3)), np.nan),
    }
