"""Rows that are read once for many days of judging, and predicted once; a part of `benchmarks.detection`.

The product reads a day's rows, and those of the months before it, for that day alone. A campaign judges the days one after
another: here each table is read once up to the last of them, and every day is handed what was known by its end. What a
champion says of a row it says once, since a row's prediction does not depend on which others are there. What is judged, and
how, is the product's own; a test holds that the answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.core.units import day_start, known_by
from ml.features.decisions import last_day_before
from ml.features.tally import Tally
from ml.features.watch_facts import Facts, read_prices
from ml.models.delay import Completion

_FACTS_DAYS = 63
_NUMBER = "number_in_campaign"
"""A column that numbers the rows of all kept tables, each another number."""


@dataclass
class Before:
    """What markets have in common: the days before `day`, on which their ways part. What was read of those days is kept.

    Attributes:
        day: the first day that may differ.
        read: what was read of the days before it, by what was asked for.
    """

    day: date
    read: dict[Any, Any] = field(default_factory=dict)


@contextmanager
def read_once(first: date, last: date, before: Before | None = None) -> Iterator[None]:
    """Read rows once while the days from `first` to `last` are judged, of one market whose days have all landed.

    Args:
        first: the first day to be judged.
        last: the last one.
        before: what this market has in common with those judged before it and after it; None where it stands alone.
    """
    kept = _Kept(first, last, before)
    names = ("decision_rows", "outcome_events", "opportunity_rows", "click_rows", "traffic_tally")
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(patch(f"ml.features.training_set.{name}", getattr(kept, name)))
        stack.enter_context(patch("ml.evaluation.rows.traffic_share", kept.traffic_share))
        stack.enter_context(patch("ml.features.tally.ranges", kept.ranges))
        stack.enter_context(patch("ml.steps.watch_series.read_facts", kept.read_facts))
        said = _Said()
        stack.enter_context(patch("ml.promotion.bundle.load_models", said.load_models))
        stack.enter_context(patch("ml.models.base.Task.predict", _as_method(said.predict)))
        stack.enter_context(patch("ml.models.conversion.completion_of", kept.completion_of))
        yield


class _Kept:
    """What was read, by what was asked for; each method has the signature of the function that it stands in for."""

    def __init__(self, first: date, last: date, before: Before | None = None) -> None:
        import ml.evaluation.rows
        import ml.features.tally
        import ml.features.training_set
        import ml.models.conversion
        import ml.steps.watch_series

        rows, series = ml.features.training_set, ml.steps.watch_series
        self.first, self.last, self._read, self._rows = first, last, dict[Any, Any](), 0
        self._before = before
        self._decision_rows, self._outcome_events = rows.decision_rows, rows.outcome_events
        self._opportunity_rows, self._click_rows = rows.opportunity_rows, rows.click_rows
        self._traffic_tally, self._read_facts = rows.traffic_tally, series.read_facts
        self._completion_of = ml.models.conversion.completion_of
        self._traffic_share, self._ranges = ml.evaluation.rows.traffic_share, ml.features.tally.ranges

    def _once(self, key: Any, read: Callable[[], Any]) -> Any:
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]

    def _numbered(self, key: Any, read: Callable[[], pd.DataFrame], first: date | None = None) -> pd.DataFrame:
        """As `_once`, each row with a number that no other row of any table has; anew where `first` is earlier than it was."""

        def numbered() -> pd.DataFrame:
            rows = read()
            begin, self._rows = self._rows, self._rows + len(rows)
            return rows.assign(**{_NUMBER: np.arange(begin, self._rows)})

        if first is not None and first < self._once((key, "first"), lambda: first):
            del self._read[key]
            self._read[key, "first"] = first
        found: pd.DataFrame = self._once(key, numbered)
        return found

    def _until(self, last: date, as_of: datetime) -> date:
        """The last day that will be asked for while the judged days go by, where one of them asks for those up to `last`.

        What is known by the end of a judged day moves with it, also where it is asked about a year before. What was known
        earlier, such as when the champion was trained, stays.
        """
        judged = last_day_before(as_of)
        return last if judged < self.first else self.last - (judged - last)

    def decision_rows(
        self,
        lake: Any,
        *,
        market: str,
        first: date | None = None,
        last: date | None = None,
        due: tuple[date, date] | None = None,
        exclude_days: Sequence[date] = (),
        views: Collection[str] | None = None,
    ) -> pd.DataFrame:
        key = ("decisions", None if views is None else tuple(views))
        read = partial(self._decision_rows, lake, market=market, views=views)
        rows = self._numbered(key, lambda: self._decided(read, key))
        if due is not None:
            ends = self._once((key, "ends"), lambda: rows["check_in"] + pd.to_timedelta(rows["los_nights"], unit="D"))
            rows = rows[((ends >= day_start(due[0])) & (ends < day_start(due[1] + timedelta(days=1)))).to_numpy()]
        return _known_between(rows, first, last, exclude_days)

    def _decided(self, read: Callable[..., pd.DataFrame], key: Any) -> pd.DataFrame:
        """All bookings; those of the days that markets have in common are read once for all of them."""
        if self._before is None or not self._before.day <= self.last:
            return read(last=self.last)
        part, kept = self._before.day, self._before.read
        if key not in kept:
            kept[key] = read(last=part - timedelta(days=1))
        rows: pd.DataFrame = pd.concat([kept[key], read(first=part, last=self.last)], ignore_index=True)
        return rows.sort_values(["booked_at", "booking_id"], ignore_index=True)

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
        until = self._until(_before(last, as_of), as_of)
        rows = self._numbered(
            ("opportunities", None if views is None else tuple(views), share, eligible, until, first is None),
            lambda: self._opportunity_rows(lake, as_of=known_by(self.last), first=first, last=until, **given),
            first,
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
        until = self._until(_before(last, as_of), as_of)
        rows = self._numbered(
            ("clicks", None if views is None else tuple(views), until, first is None),
            lambda: self._click_rows(lake, as_of=known_by(self.last), first=first, last=until, views=views),
            first,
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
        tally = partial(self._traffic_tally, lake, numbers=numbers, labels=labels)
        oldest, whole = self._once(key, lambda: (first, self._tally(tally, key, first, landed)))
        start, n = (first - oldest).days, (day - first).days + 1
        asked = {(one - first).days for one in days}
        absent = [number for number in range(n) if number not in asked]
        return {name: _cut(one, start, n, absent) for name, one in whole.items()}

    def _tally(
        self, tally: Callable[..., dict[str, Tally]], key: Any, first: date, days: list[date]
    ) -> dict[str, Tally]:
        """The tally of these days; those that markets have in common are counted once for all of them."""
        if self._before is None or not first < self._before.day <= self.last:
            return tally(day=self.last, days=days, first=first)
        part, kept = self._before.day, self._before.read
        if (key, first) not in kept:
            last = part - timedelta(days=1)
            kept[key, first] = tally(day=last, days=[day for day in days if day < part], first=first)
        after = tally(day=self.last, days=[day for day in days if day >= part], first=part)
        return {name: _joined(one, after[name]) for name, one in kept[key, first].items()}

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

    def completion_of(self, clicks: pd.DataFrame, *, as_of: datetime) -> Completion:
        """What these clicks told of delays by `as_of`: the same however often it is asked."""
        if _NUMBER not in clicks:
            return self._completion_of(clicks, as_of=as_of)
        key = ("completion", as_of, len(clicks), int(clicks[_NUMBER].sum()))
        found: Completion = self._once(key, lambda: self._completion_of(clicks, as_of=as_of))
        return found

    def read_facts(self, lake: Any, first: date, last: date, odd: Collection[date] = ()) -> Facts:  # noqa: ARG002
        """The facts; of those only the prices depend on the days that are odd, and those are read anew when another one is."""
        oldest = min(first, self.first - timedelta(days=_FACTS_DAYS))
        whole: Facts = self._once(("facts", oldest), lambda: self._read_facts(lake, oldest, self.last, ()))
        if not odd or "prices" not in whole.frames:
            return whole
        prices = self._once(
            ("prices", oldest, frozenset(odd)), lambda: read_prices(lake, first=oldest, last=self.last, odd=odd)
        )
        return replace(whole, frames={**whole.frames, "prices": prices})


def _as_method(function: Callable[[Any, pd.DataFrame], pd.DataFrame]) -> Any:
    """A function that a class hands its instance to; a bound method would not be."""

    def method(self: Any, rows: pd.DataFrame) -> pd.DataFrame:
        return function(self, rows)

    return method


class _Said:
    """What champions said of rows, by the numbers of the rows."""

    def __init__(self) -> None:
        import ml.models.base
        import ml.promotion.bundle

        self._predict, self._load = ml.models.base.Task.predict, ml.promotion.bundle.load_models
        self._loaded = dict[Any, Any]()
        self._said = dict[Any, dict[str, Any]]()

    def load_models(self, bundle: Any) -> Any:
        """The models of a bundle, the same objects each time."""
        if bundle.digest not in self._loaded:
            self._loaded[bundle.digest] = self._load(bundle)
        return self._loaded[bundle.digest]

    def predict(self, task: Any, rows: pd.DataFrame) -> pd.DataFrame:
        """The outputs for each row; those of rows without a number, and of a model that is not kept, are computed."""
        if (
            _NUMBER not in rows
            or rows.empty
            or not any(task is one for ms in self._loaded.values() for one in ms.values())
        ):
            return self._predict(task, rows)
        at = rows[_NUMBER].to_numpy()
        on_top = "position" in rows and bool((rows["position"] == 1).all())  # auctions are asked about as if won
        said = self._said.setdefault(
            (id(task), on_top), {name: np.empty(0) for name in task.outputs} | {"": np.empty(0)}
        )
        if (short := int(at.max()) + 1 - len(said[""])) > 0:
            said |= {name: np.concatenate([one, np.zeros(short)]) for name, one in said.items()}
        new = said[""][at] == 0
        if new.any():
            answers = self._predict(task, rows[new])
            for name in task.outputs:
                said[name][at[new]] = answers[name].to_numpy(dtype=np.float64)
            said[""][at[new]] = 1
        return pd.DataFrame({name: said[name][at] for name in task.outputs}, index=rows.index)


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
    return min(last or date.max, last_day_before(as_of))


def _joined(one: Tally, then: Tally) -> Tally:
    """A tally of days, and that of the days after them."""
    labels = tuple(sorted({*one.labels, *then.labels}))
    return Tally(
        np.concatenate([part.counts if part.values is not None else _under(labels, part) for part in (one, then)]),
        np.concatenate([one.missing, then.missing]),
        np.concatenate([one.nonfinite, then.nonfinite]),
        one.values,
        labels,
    )


def _under(labels: Sequence[str], one: Tally) -> npt.NDArray[np.int64]:
    """The counts of a tally, in columns of these labels."""
    counts = np.zeros((len(one.counts), len(labels)), dtype=np.int64)
    counts[:, [labels.index(label) for label in one.labels]] = one.counts
    return counts


def _cut(one: Any, start: int, n: int, absent: Sequence[int]) -> Any:
    """Some days of a tally; those that are absent have no rows."""
    parts = {name: getattr(one, name)[start : start + n].copy() for name in ("counts", "missing", "nonfinite")}
    for part in parts.values():
        part[absent] = 0
    return replace(one, **parts)
