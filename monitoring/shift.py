"""How far each column of a subject, and each prediction, has moved against its own past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from monitoring.discovery import discoveries, weights
from monitoring.distances import shares
from monitoring.findings import finite
from monitoring.histograms import DailyHistogram, categorical_histogram, is_discrete, numeric_histogram
from monitoring.references import WHOLE, weeks_before, year_before
from monitoring.subject import Subject, day_number, day_numbers
from monitoring.windows import WINDOWS, Score, Windows, compared, decided, score, tamed, with_nulls

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE_BINS = 24
"""Bins of a column's shape: what a page draws."""


@dataclass(frozen=True)
class Shape:
    """A column's distribution now and in its reference, coarse enough to keep.

    `at` has the mean value of each bin of a number, ascending, or the names of categories; `now` and `reference`
    have shares, shape (bins,), nulls left out.
    """

    at: Sequence[float | str]
    now: Sequence[float]
    reference: Sequence[float]

    def as_json(self) -> dict[str, Any]:
        """Small JSON."""
        at = [one if isinstance(one, str) else float(f"{one:.5g}") for one in self.at]
        return {
            "at": at,
            "now": [round(share, 4) for share in self.now],
            "reference": [round(share, 4) for share in self.reference],
        }


@dataclass(frozen=True)
class ColumnShift:
    """One column: its score, whether it matters, and the change in words.

    `before` and `now` are the mean of a number, or the share of the category that changed most (`category`);
    None where there is nothing to say. `is_prediction` marks what the model answers rather than what it is asked.
    `importance` is its share of the model's gain, None where it has none of its own.
    """

    subject: str
    column: str
    is_numeric: bool
    is_prediction: bool
    important: bool
    score: Score
    before: float | None
    now: float | None
    category: str
    shape: Shape | None = None
    importance: float | None = None

    @property
    def name(self) -> str:
        """Subject and column, the name under which a report remembers it."""
        return f"{self.subject}.{self.column}"

    @property
    def matters(self) -> bool:
        """Whether a shift of this column is a reason to act."""
        return self.important or self.is_prediction

    def as_json(self) -> dict[str, Any]:
        """The numbers that a report keeps."""
        return {
            "name": self.name,
            "subject": self.subject,
            "column": self.column,
            "score": finite(self.score.number),
            "distance": finite(self.score.number),
            "limit": finite(self.score.limit),
            "ratio": finite(self.score.ratio),
            "p": finite(self.score.p, 10),
            "q": finite(self.score.q, 10),
            "reference": self.score.reference,
            "window_days": self.score.days,
            "past_windows": self.score.past,
            "exceeds": self.score.exceeds,
            "important": self.important,
            "prediction": self.is_prediction,
            "numeric": self.is_numeric,
            "category": self.category,
            "before": finite(self.before),
            "now": finite(self.now),
            "shape": self.shape.as_json() if self.shape else None,
        }


@dataclass(frozen=True)
class History:
    """The rows that a judgement looks at, with the day of each; day `n_days` - 1 is the day judged.

    `rows` holds the watched columns and the predictions, shape (rows, columns); `days` has shape (rows,).
    """

    rows: pd.DataFrame
    days: NDArray[np.int64]
    n_days: int

    def span(self, first: int, last: int) -> pd.DataFrame:
        """Rows of the days from `first` to `last` days before the judged one, `first` being the older."""
        age = self.n_days - 1 - self.days
        return self.rows[(age <= first) & (age >= last)]


def history(subject: Subject, day: date, windows: Windows = WINDOWS) -> History:
    """Today's rows and the earlier ones that still matter, with `predict` applied to them.

    The history starts at the oldest row that is of use: of this year's, or of the same weeks of last year. Whatever
    `predict` raises is raised.
    """
    age = day_number(day) - day_numbers(subject.reference, subject.time)
    keep = (age > 0) & windows.of_use(age)
    frames = [frame for frame in (subject.reference[keep], subject.current) if len(frame)]
    rows = pd.concat(frames, ignore_index=True) if frames else subject.current
    n_days = int(age[keep].max()) + 1 if keep.any() else 1
    days = np.concatenate([n_days - 1 - age[keep], np.full(len(subject.current), n_days - 1)])
    columns = [name for name in subject.columns if name in rows]
    if subject.predict is None:
        return History(rows[columns], days, n_days)
    answers = subject.predict(rows).reset_index(drop=True)
    if len(answers) != len(rows):
        raise ValueError(f"{len(answers)} predictions for {len(rows)} rows")
    answers = answers.rename(columns={name: f"predicted_{name}" for name in answers.columns if name in columns})
    return History(pd.concat([rows[columns].reset_index(drop=True), answers], axis=1), days, n_days)


def season_note(subject: Subject, past: History, windows: Windows = WINDOWS) -> str:
    """What is wrong with the weeks of last year that the longest window is held against; empty where they are whole."""
    wanted = year_before(windows.longest).offsets
    there = int(np.isin(wanted, past.n_days - 1 - past.days).sum())
    if there == len(wanted):
        return ""
    if not there:
        return f"{subject.name}: last year is not known yet, this day is held against this year's weeks alone"
    known = f"{subject.name}: last year has a hole, {there} of {len(wanted)} days of these weeks are known"
    return f"{known}; they are used" if there >= WHOLE * len(wanted) else f"{known}; they are not used"


def shifts(
    subject: Subject, past: History, windows: Windows = WINDOWS, *, day: date | None = None
) -> list[ColumnShift]:
    """The shift of every watched column and prediction, the furthest beyond its limit first.

    Each is judged as if it were alone; `judged_together` accounts for their number.
    """
    names = list(past.rows.columns)
    histograms = [subject.tallies.get(name) or _histogram(subject, past, name) for name in names]
    aparts = with_nulls([compared(histogram, day, windows) for histogram in histograms])
    found = [
        _shift(subject, name, histogram, score(apart, windows), windows)
        for name, histogram, apart in zip(names, histograms, aparts, strict=True)
    ]
    return sorted(found, key=lambda s: (-(s.score.ratio or 0.0), s.column))


def judged_together(found: Sequence[ColumnShift], windows: Windows = WINDOWS) -> list[ColumnShift]:
    """The shifts of all subjects with limits for so many tests at once; columns that nobody acts on are judged apart."""
    answer = {shift.name: shift for shift in found}
    for matters in (True, False):
        tested = [s for s in found if s.matters is matters and s.score.p is not None]
        chances = [s.score.p for s in tested if s.score.p is not None]
        together = discoveries(chances, weights([s.importance for s in tested]), rate=windows.rate)
        for shift, discovery in zip(tested, together, strict=True):
            answer[shift.name] = replace(shift, score=decided(shift.score, discovery, windows))
    return list(answer.values())


def _shift(subject: Subject, name: str, histogram: DailyHistogram, judged: Score, windows: Windows) -> ColumnShift:
    is_prediction = name not in subject.columns
    counts = tamed(histogram.counts, windows)
    offsets = np.array(judged.offsets or weeks_before(judged.days).offsets)
    places = len(counts) - 1 - offsets
    now = counts[-judged.days :].sum(axis=0)
    before = counts[places[places >= 0]].sum(axis=0)
    # A number with few values is counted by value, and told by its mean all the same.
    is_numeric = is_prediction or name in subject.numeric
    was, has, category = _change(histogram, before, now, is_numeric=is_numeric)
    return ColumnShift(
        subject.name,
        name,
        is_numeric,
        is_prediction,
        name in subject.important,
        judged,
        was,
        has,
        category,
        _shape(histogram, before, now),
        subject.importance.get(name),
    )


def _histogram(subject: Subject, past: History, name: str) -> DailyHistogram:
    column = past.rows[name]
    is_numeric = name not in subject.columns or name in subject.numeric
    if is_numeric and not is_discrete(column):
        return numeric_histogram(column, past.days, past.n_days)
    return categorical_histogram(column, past.days, past.n_days)


def _change(
    histogram: DailyHistogram, before: NDArray[np.float64], now: NDArray[np.float64], *, is_numeric: bool
) -> tuple[float | None, float | None, str]:
    """Means before and now of a number; shares of the category that changed most, and its name."""
    if is_numeric:
        values = histogram.values
        if values is None:
            values = np.array([_number(label) for label in histogram.names])
        return _mean(values, before), _mean(values, now), ""
    if not before.sum() or not now.sum():
        return None, None, ""
    was, has = shares(before), shares(now)
    names = [*histogram.names, *(["(others)"] * (len(was) - 1 - len(histogram.names))), "(none)"]
    most = int(np.argmax(np.abs(has - was)))
    return float(was[most]), float(has[most]), names[most]


def _mean(values: NDArray[np.float64], counts: NDArray[np.float64]) -> float | None:
    rows = counts[: len(values)]
    return float((values * rows).sum() / rows.sum()) if rows.sum() > 0 else None


def _number(label: str) -> float:
    return {"True": 1.0, "False": 0.0}[label] if label in {"True", "False"} else float(label)


def _shape(histogram: DailyHistogram, before: NDArray[np.float64], now: NDArray[np.float64]) -> Shape | None:
    was, has = before[:-1], now[:-1]
    if not was.sum() or not has.sum():
        return None
    was, has = shares(was), shares(has)
    if histogram.values is None:
        top = slice(0, SHAPE_BINS)
        return Shape(
            histogram.names[top], has[: len(histogram.names)][top].tolist(), was[: len(histogram.names)][top].tolist()
        )
    starts = np.unique(np.linspace(0, len(was), min(SHAPE_BINS, len(was)) + 1).astype(np.int64)[:-1])
    at = np.add.reduceat(histogram.values, starts) / np.diff(np.append(starts, len(was)))
    return Shape(at.tolist(), np.add.reduceat(has, starts).tolist(), np.add.reduceat(was, starts).tolist())
