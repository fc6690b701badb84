"""How far each column of a subject, and each prediction, has moved against its own past."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from monitoring.findings import finite
from monitoring.histograms import DailyHistogram, categorical_histogram, is_discrete, numeric_histogram
from monitoring.subject import Subject, day_number, day_numbers, labels, numbers
from monitoring.windows import WINDOWS, Score, Windows, score

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ColumnShift:
    """One column: its score, whether it matters, and the change in words.

    `before` and `now` are the mean of a number, or the share of the category that changed most (`category`);
    None where there is nothing to say. `is_prediction` marks what the model answers rather than what it is asked.
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
            "limit": finite(self.score.limit),
            "ratio": finite(self.score.ratio),
            "window_days": self.score.days,
            "past_windows": self.score.past,
            "exceeds": self.score.exceeds,
            "important": self.important,
            "prediction": self.is_prediction,
            "numeric": self.is_numeric,
            "category": self.category,
            "before": finite(self.before),
            "now": finite(self.now),
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

    The history starts at the oldest row, and no earlier than is of use. Whatever `predict` raises is raised.
    """
    age = day_number(day) - day_numbers(subject.reference, subject.time)
    keep = (age > 0) & (age < windows.days_of_use)
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


def shifts(subject: Subject, past: History, windows: Windows = WINDOWS) -> list[ColumnShift]:
    """The shift of every watched column and prediction, the furthest beyond its limit first."""
    found = [_shift(subject, past, name, windows) for name in past.rows.columns]
    return sorted(found, key=lambda s: (-(s.score.ratio or 0.0), s.column))


def _shift(subject: Subject, past: History, name: str, windows: Windows) -> ColumnShift:
    column = past.rows[name]
    is_prediction = name not in subject.columns
    is_numeric = is_prediction or name in subject.numeric
    judged = score(_histogram(column, past, is_numeric=is_numeric), windows)
    now = past.span(judged.days - 1, 0)[name]
    before = past.span(judged.days + windows.reference_days - 1, judged.days)[name]
    if is_numeric:
        category, was, has = "", _mean(before), _mean(now)
    else:
        category, was, has = _most_changed(before, now)
    important = name in subject.important
    return ColumnShift(subject.name, name, is_numeric, is_prediction, important, judged, was, has, category)


def _histogram(column: pd.Series, past: History, *, is_numeric: bool) -> DailyHistogram:
    if is_numeric and not is_discrete(column):
        return numeric_histogram(column, past.days, past.n_days)
    return categorical_histogram(column, past.days, past.n_days)


def _mean(column: pd.Series) -> float | None:
    values = numbers(column)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def _most_changed(before: pd.Series, now: pd.Series) -> tuple[str, float | None, float | None]:
    was = labels(before).fillna("(none)").value_counts(normalize=True)
    has = labels(now).fillna("(none)").value_counts(normalize=True)
    if was.empty or has.empty:
        return "", None, None
    change = has.sub(was, fill_value=0.0).abs().sort_index()
    category = str(change.index[int(np.argmax(change.to_numpy()))])
    return category, float(was.get(category, 0.0)), float(has.get(category, 0.0))
