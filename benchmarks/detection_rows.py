"""Rows that are read once for many days of judging; a part of `benchmarks.detection`.

The product reads a day's rows, and those of the months before it, for that day alone. A campaign judges the days one after
another: here each table is read once up to the last of them, and every day is handed what was known by its end. What is
judged, and how, is the product's own; a test holds that the answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pandas as pd

from ml.core.units import day_start, known_by

_FACTS_DAYS = 63


@contextmanager
def read_once(first: date, last: date) -> Iterator[None]:
    """Read rows once while the days from `first` to `last` are judged, of one market whose days have all landed."""
    kept = _Kept(first, last)
    names = ("decision_rows", "outcome_events", "opportunity_rows", "click_rows", "traffic_tally")
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(patch(f"ml.features.training_set.{name}", getattr(kept, name)))
        stack.enter_context(patch("ml.evaluation.rows.traffic_share", kept.traffic_share))
        stack.enter_context(patch("ml.features.tally.ranges", kept.ranges))
        stack.enter_context(patch("ml.steps.watch_series.read_facts", kept.read_facts))
        yield


class _Kept:
    """What was read, by what was asked for; each method has the signature of the function that it stands in for."""

    def __init__(self, first: date, last: date) -> None:
        import ml.evaluation.rows
        import ml.features.tally
        import ml.features.training_set
        import ml.steps.watch_series

        rows, series = ml.features.training_set, ml.steps.watch_series
        self.first, self.last, self._read = first, last, dict[Any, Any]()
        self._decision_rows, self._outcome_events = rows.decision_rows, rows.outcome_events
        self._opportunity_rows, self._click_rows = rows.opportunity_rows, rows.click_rows
        self._traffic_tally, self._read_facts = rows.traffic_tally, series.read_facts
        self._traffic_share, self._ranges = ml.evaluation.rows.traffic_share, ml.features.tally.ranges

    def _once(self, key: Any, read: Callable[[], Any]) -> Any:
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]

    def _span(self, last: date) -> date:
        """The last day that is asked for while the judged days go by, where `last` is what the first of them asks for."""
        return self.last if last >= self.first else self._once("past", lambda: last + (self.last - self.first))

    def decision_rows(
        self,
        lake: Any,
        *,
        market: str,
        first: date | None = None,
        last: date | None = None,
        exclude_days: Sequence[date] = (),
        views: Collection[str] | None = None,
    ) -> pd.DataFrame:
        key = ("decisions", None if views is None else tuple(views))
        rows = self._once(key, lambda: self._decision_rows(lake, market=market, last=self.last, views=views))
        return _known_between(rows, first, last, exclude_days)

    def outcome_events(
        self, lake: Any, *, market: str, last: date | None = None, exclude_days: Sequence[date] = ()
    ) -> pd.DataFrame:
        rows = self._once("events", lambda: self._outcome_events(lake, market=market, last=self.last))
        return _known_between(rows, None, last, exclude_days)

    def opportunity_rows(
        self,
        lake: Any,
        *,
        as_of: datetime,
        first: date | None = None,
        last: date | None = None,
        exclude_days: Sequence[date] = (),
        views: Collection[str] | None = None,
        share: float = 1.0,
        eligible: bool = False,
    ) -> pd.DataFrame:
        given: dict[str, Any] = {"views": views, "share": share, "eligible": eligible}
        until = self._span(_before(last, as_of))
        rows = self._once(
            ("opportunities", None if views is None else tuple(views), share, eligible, until, first is None),
            lambda: self._opportunity_rows(lake, as_of=known_by(self.last), first=first, last=until, **given),
        )
        rows = _known_between(rows, first, _before(last, as_of), exclude_days)
        unknown = ~(rows["clicked_known_at"] < as_of)
        return rows.assign(clicked=rows["clicked"] & ~unknown, clicked_known_at=rows["clicked_known_at"].mask(unknown))

    def click_rows(
        self,
        lake: Any,
        *,
        as_of: datetime,
        first: date | None = None,
        last: date | None = None,
        exclude_days: Sequence[date] = (),
        views: Collection[str] | None = None,
    ) -> pd.DataFrame:
        until = self._span(_before(last, as_of))
        rows = self._once(
            ("clicks", None if views is None else tuple(views), until, first is None),
            lambda: self._click_rows(lake, as_of=known_by(self.last), first=first, last=until, views=views),
        )
        rows = _known_between(rows, first, _before(last, as_of), exclude_days)
        unknown = ~(rows["booking_known_at"] < as_of)
        return rows.assign(
            booked=rows["booked"] & ~unknown,
            booking_known_at=rows["booking_known_at"].mask(unknown),
            booking_value_micros=rows["booking_value_micros"].mask(unknown),
        )

    def traffic_tally(
        self,
        lake: Any,
        *,
        day: date,
        days: Sequence[date],
        first: date,
        numbers: Mapping[str, tuple[float, float]],
        labels: Sequence[str],
    ) -> dict[str, Any]:
        key = ("tally", tuple(numbers.items()), tuple(labels))
        if key in self._read and first < self._read[key][0]:
            del self._read[key]  # the weeks of last year begin to be known while the days go by
        landed = [one for one in lake.days("opportunities") if first <= one <= self.last]
        oldest, whole = self._once(
            key,
            lambda: (
                first,
                self._traffic_tally(lake, day=self.last, days=landed, first=first, numbers=numbers, labels=labels),
            ),
        )
        start, n = (first - oldest).days, (day - first).days + 1
        asked = {(one - first).days for one in days}
        absent = [number for number in range(n) if number not in asked]
        return {name: _cut(one, start, n, absent) for name, one in whole.items()}

    def traffic_share(self, platform: Any, day: date, *, days: int, rows: int) -> float:
        share: float = self._once(
            ("share", days, rows), lambda: self._traffic_share(platform, day, days=days, rows=rows)
        )
        return share

    def ranges(self, sample: Mapping[str, Any], tail: float = 0.001) -> dict[str, tuple[float, float]]:
        found: dict[str, tuple[float, float]] = self._once(
            ("ranges", tuple(sample)), lambda: self._ranges(sample, tail)
        )
        return found

    def read_facts(self, lake: Any, first: date, last: date, odd: Collection[date] = ()) -> Any:  # noqa: ARG002
        oldest = min(first, self.first - timedelta(days=_FACTS_DAYS))
        return self._once(("facts", oldest, frozenset(odd)), lambda: self._read_facts(lake, oldest, self.last, odd))


def _known_between(
    rows: pd.DataFrame, first: date | None, last: date | None, exclude_days: Sequence[date]
) -> pd.DataFrame:
    """The rows that became known from `first` to `last`, but for some days."""
    known = rows["known_at"]
    chosen = pd.Series(True, index=rows.index)
    if first is not None:
        chosen &= known >= day_start(first)
    if last is not None:
        chosen &= known < day_start(last + timedelta(days=1))
    for day in exclude_days:
        chosen &= ~((known >= day_start(day)) & (known < day_start(day + timedelta(days=1))))
    return rows[chosen].reset_index(drop=True)


def _before(last: date | None, as_of: datetime) -> date:
    from ml.features.decisions import last_day_before

    return min(last or date.max, last_day_before(as_of))


def _cut(one: Any, start: int, n: int, absent: Sequence[int]) -> Any:
    """Some days of a tally; those that are absent have no rows."""
    parts = {name: getattr(one, name)[start : start + n].copy() for name in ("counts", "missing", "nonfinite")}
    for part in parts.values():
        part[absent] = 0
    return replace(one, **parts)
