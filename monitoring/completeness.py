"""Is a market day whole? Guards that run before any drift measure, because drift measures drop what is missing.

Every limit follows the variation of the rows' own recent days, so that a quiet Sunday or a burst of group
bookings is no alarm, and a feature that is often empty may stay so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas.api import types

from ml.core.verdict import Verdict
from monitoring.findings import COLD_START, SMALL_MARKET, Finding, held
from monitoring.references import WHOLE, YEAR_DAYS
from monitoring.subject import Subject, day_number, day_numbers, is_number, numbers
from monitoring.swapped import swapped

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class CompletenessLimits:
    """How far a day may be from its recent days.

    Attributes:
        minimum_rows: fewer rows than this cannot be judged.
        recent_days: how many earlier days say what is usual.
        minimum_days: fewer earlier days than this say nothing about what is usual.
        row_sigmas: how many robust standard deviations (of the logarithm) the row count may fall short.
        row_sigma_floor: smallest standard deviation assumed, so that a very steady market may breathe.
        row_surplus: how many times the largest recent day a day may have.
        null_slack: how much the null share may exceed its largest recent value.
        nonfinite_slack: the same for infinities.
        late_hours: how many hours before midnight the last row may come beyond what is usual.
        constant_chance: a number that is the same in every row is an alarm where chance would do that less often than this.
        cluster_rows: so many rows count as one there, for the rows of a hotel or a search resemble each other.
        season_most: by what factor last year's season may raise or lower the rows expected, at most.
    """

    minimum_rows: int = 20
    recent_days: int = 56
    minimum_days: int = 7
    row_sigmas: float = 3.5
    row_sigma_floor: float = 0.15
    row_surplus: float = 3.0
    null_slack: float = 0.1
    nonfinite_slack: float = 0.01
    late_hours: float = 3.0
    constant_chance: float = 1e-6
    cluster_rows: float = 10.0
    season_most: float = 3.0


LIMITS = CompletenessLimits()
_SAME_WEEKDAY_MINIMUM = 3
_KINDS = {
    "string": "text", "integer": "number", "floating": "number", "mixed-integer-float": "number", "decimal": "number",
    "boolean": "truth", "datetime64": "time", "datetime": "time", "date": "time", "empty": "",
}  # fmt: skip


def guards(subject: Subject, day: date, limits: CompletenessLimits = LIMITS) -> list[Finding]:
    """Every guard on the rows that became known on `day`; one finding per guard and column.

    FAIL: a column is missing or has another type, far more of it than usual is null or infinite, a number that always varied is the
    same in every row, or two columns changed places. Nothing downstream may learn from such a day. HOLD: too few rows (or far too many) to judge, or a column that
    the earlier days do not have.
    """
    recent = _recent(subject, day, limits.recent_days)
    findings = [*_rows(subject, day, recent, limits), *_freshness(subject, day, recent, limits), *_schema(subject)]
    days = day_numbers(recent, subject.time)
    for name in subject.columns:
        if name not in subject.current or name not in recent:
            continue
        if name in subject.tallies:
            findings += _of_tally(subject, name, limits)
            continue
        findings.append(_nulls(subject, name, recent[name], days, limits))
        if is_number(subject.current[name]):
            findings.append(_infinities(subject, name, recent[name], days, limits))
            findings += _constant(subject, name, recent[name], days, limits)
    return findings + swapped(subject, recent, days)


def _recent(subject: Subject, day: date, days: int) -> pd.DataFrame:
    age = day_number(day) - day_numbers(subject.reference, subject.time)
    return subject.reference[(age > 0) & (age <= days)]


def _rows(subject: Subject, day: date, recent: pd.DataFrame, limits: CompletenessLimits) -> list[Finding]:
    count, present, per_day = _volumes(subject, day, recent, limits)
    if len(present) < limits.minimum_days:
        reason = f"{subject.name}: only {len(present)} earlier days, too few to know how many rows are usual"
        return [_minimum(subject, limits, "minimum_rows"), held(COLD_START, subject.name, reason)]
    usual, sigma = _usual_rows(present, per_day.astype(np.float64), day_number(day), limits)
    minimum = _minimum(subject, limits, SMALL_MARKET if usual < limits.minimum_rows else "minimum_rows")
    season = _season(subject, day, limits)
    # Never above the leanest recent day: what happened before is no alarm. Nor is what last year's season does again.
    low = min(usual * float(np.exp(-limits.row_sigmas * sigma)) * min(season, 1.0), float(per_day.min()))
    high = limits.row_surplus * max(float(per_day.max()), usual) * max(season, 1.0)
    usual *= season
    verdict, limit, word = Verdict.PASS, low, "as"
    if count < low:
        verdict, word = Verdict.HOLD, "fewer than"
    elif count > high:
        verdict, limit, word = Verdict.HOLD, high, "more than"
    reason = f"{subject.name}: {count} rows, {word} usual (about {usual:.0f} on such a weekday)"
    return [minimum, Finding("rows", subject.name, "", verdict, count, limit, reason)]


def _season(subject: Subject, day: date, limits: CompletenessLimits) -> float:
    """Last year's rows in the weeks around this day over those of the eight weeks before them; 1 where they are not known.

    A week either side, so that one odd day says nothing; both at least two thirds there.
    """
    if subject.volume is not None:
        rows = {day_number(one): count for one, count in subject.volume.items()}
    else:
        days, counts = np.unique(day_numbers(subject.reference, subject.time), return_counts=True)
        rows = dict(zip(days.tolist(), counts.tolist(), strict=True))
    then = day_number(day) - YEAR_DAYS
    around = [rows[one] for one in range(then - 7, then + 8) if rows.get(one)]
    before = [rows[one] for one in range(then - limits.recent_days, then - 7) if rows.get(one)]
    if len(around) < 10 or len(before) < (limits.recent_days - 7) * WHOLE:
        return 1.0
    factor = float(np.mean(around) / np.mean(before))
    return float(np.clip(factor, 1.0 / limits.season_most, limits.season_most))


def _freshness(subject: Subject, day: date, recent: pd.DataFrame, limits: CompletenessLimits) -> list[Finding]:
    """Whether the day's last row came about as late as on recent days: a delivery that was cut off is no whole day."""
    if subject.current.empty or recent.empty:
        return []
    until = pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1)
    gap = float((until - subject.current[subject.time].max()) / pd.Timedelta(hours=1))
    last = recent.groupby(day_numbers(recent, subject.time))[subject.time].max()
    gaps = (pd.to_datetime((last.index.to_numpy() + 1), unit="D", utc=True) - pd.DatetimeIndex(last)).total_seconds()
    if len(gaps) < limits.minimum_days:
        return []
    most = float(gaps.max()) / 3600.0 + limits.late_hours
    verdict = Verdict.PASS if gap <= most else Verdict.HOLD
    reason = f"{subject.name}: the last row came {gap:.1f} hours before the day's end (usual: at most {most - limits.late_hours:.1f})"
    return [Finding("freshness", subject.name, "", verdict, gap, most, reason)]


def _of_tally(subject: Subject, name: str, limits: CompletenessLimits) -> list[Finding]:
    """Nulls and infinities of a column that was counted over all rows."""
    found = subject.tallies[name]
    rows = found.counts.sum(axis=1)
    infinite = found.nonfinite if found.nonfinite is not None else np.zeros(len(rows))
    nulls = found.counts[:, -1] - infinite
    kinds = [("null_share", nulls, limits.null_slack, "null")]
    if name in subject.numeric:
        kinds.append(("nonfinite_share", infinite, limits.nonfinite_slack, "infinite"))
    past = slice(max(0, len(rows) - 1 - limits.recent_days), len(rows) - 1)
    before = rows[past] > 0
    findings = []
    for check, hits, slack, word in kinds:
        most = float(np.max((hits[past][before] / rows[past][before]), initial=0.0))
        findings.append(_held_against(check, subject, name, hits[-1] / max(rows[-1], 1.0), most, rows[-1], slack, word))
    if name in subject.numeric:
        present = found.counts[:, :-1]
        filled, largest = present.sum(axis=1), present.max(axis=1, initial=0.0)
        known = filled[past] > 0
        shares = largest[past][known] / filled[past][known]
        same = bool(filled[-1] > 0 and largest[-1] == filled[-1])
        findings.append(_one_value(subject, name, shares, filled[-1], limits, same=same))
    return findings


def _volumes(
    subject: Subject, day: date, recent: pd.DataFrame, limits: CompletenessLimits
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the day; the recent days that had any, as day numbers, and how many each had."""
    if subject.volume is None:
        present, per_day = np.unique(day_numbers(recent, subject.time), return_counts=True)
        return len(subject.current), present, per_day
    last = day_number(day)
    before = {day_number(d): rows for d, rows in subject.volume.items() if rows and day_number(d) < last}
    chosen = sorted(d for d in before if last - d <= limits.recent_days)
    return (
        subject.volume.get(day, 0),
        np.array(chosen, dtype=np.int64),
        np.array([before[d] for d in chosen], dtype=np.int64),
    )


def _minimum(subject: Subject, limits: CompletenessLimits, check: str) -> Finding:
    count = len(subject.current)
    enough = count >= limits.minimum_rows
    reason = f"{subject.name}: {count} rows"
    reason += "" if enough else f", fewer than the {limits.minimum_rows} that can be judged"
    verdict = Verdict.PASS if enough else Verdict.HOLD
    return Finding(check, subject.name, "", verdict, count, limits.minimum_rows, reason)


def _usual_rows(
    days: NDArray[np.int64], rows: NDArray[np.float64], day: int, limits: CompletenessLimits
) -> tuple[float, float]:
    """Median of the same weekdays (of all days, where there are too few) and the spread of log counts about it."""
    expected = np.array([_weekday_median(days, rows, other) for other in days])
    log_ratio = np.log(rows / expected)
    spread = 1.4826 * float(np.median(np.abs(log_ratio - np.median(log_ratio))))
    return _weekday_median(days, rows, day), max(spread, limits.row_sigma_floor)


def _weekday_median(days: NDArray[np.int64], rows: NDArray[np.float64], day: int) -> float:
    same = rows[days % 7 == day % 7]
    return float(np.median(same if len(same) >= _SAME_WEEKDAY_MINIMUM else rows))


def _schema(subject: Subject) -> list[Finding]:
    findings = [_column(subject, name) for name in subject.columns]
    extra = [str(name) for name in subject.current.columns if name not in subject.reference.columns]
    if subject.reference.empty and not len(subject.reference.columns):
        extra = []
    findings += [
        Finding("new_column", subject.name, name, Verdict.HOLD, None, None,
                f"{subject.name}: the column {name} is new; the days before do not have it")
        for name in extra
    ]  # fmt: skip
    return findings


def _column(subject: Subject, name: str) -> Finding:
    if name not in subject.current:
        reason = f"{subject.name}: the column {name} is missing"
        return Finding("missing_column", subject.name, name, Verdict.FAIL, None, None, reason)
    if name not in subject.reference:
        reason = f"{subject.name}: the days before do not have the column {name}"
        check = "dtype" if len(subject.reference.columns) else COLD_START
        return held(check, subject.name, reason, column=name)
    now, before = kind(subject.current[name]), kind(subject.reference[name])
    same = now == before or not now or not before
    reason = f"{subject.name}: {name} holds {now or 'nothing'}" + ("" if same else f" where it held {before} before")
    return Finding("dtype", subject.name, name, Verdict.PASS if same else Verdict.FAIL, None, None, reason)


def kind(column: pd.Series) -> str:
    """What a column holds, whatever its storage: number, truth, time, text or mixed; empty when all is null.

    >>> kind(pd.Series([1, 2])), kind(pd.Series(["a", None])), kind(pd.Series(["a", 1.5])), kind(pd.Series([None]))
    ('number', 'text', 'mixed', '')
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return kind(column.cat.categories.to_series())
    if types.is_bool_dtype(column.dtype):
        return "truth"
    if types.is_numeric_dtype(column.dtype):
        return "number"
    return _KINDS.get(types.infer_dtype(column, skipna=True), "mixed")


def _nulls(
    subject: Subject, name: str, before: pd.Series, days: NDArray[np.int64], limits: CompletenessLimits
) -> Finding:
    now = subject.current[name].isna().to_numpy()
    return _share("null_share", subject, name, now, before.isna().to_numpy(), days, limits.null_slack, "null")


def _infinities(
    subject: Subject, name: str, before: pd.Series, days: NDArray[np.int64], limits: CompletenessLimits
) -> Finding:
    now = np.isinf(numbers(subject.current[name]))
    earlier = np.isinf(numbers(before)) if is_number(before) else np.zeros(len(before), dtype=bool)
    return _share("nonfinite_share", subject, name, now, earlier, days, limits.nonfinite_slack, "infinite")


def _constant(
    subject: Subject, name: str, before: pd.Series, days: NDArray[np.int64], limits: CompletenessLimits
) -> list[Finding]:
    now = subject.current[name].dropna()
    if not len(now) or not is_number(before):
        return []
    if not (now == now.iloc[0]).all():  # as on nearly every day; what was usual need not be counted
        return [_one_value(subject, name, np.empty(0, np.float64), len(now), limits, same=False)]
    earlier = pd.DataFrame({"day": days, "value": before.to_numpy()}).dropna()
    per_value = earlier.groupby(["day", "value"], observed=True).size()
    largest = np.asarray(per_value.groupby("day").max() / per_value.groupby("day").sum(), dtype=np.float64)
    return [_one_value(subject, name, largest, len(now), limits, same=True)]


def _one_value(
    subject: Subject, name: str, earlier: NDArray[np.float64], rows: float, limits: CompletenessLimits, *, same: bool
) -> Finding:
    """Whether every row has the same number, which says nothing any more, though on no earlier day nearly all had.

    Once a day like it was seen the next one passes, so that a column that may be constant from now on holds one day.
    """
    most = float(earlier.max()) if len(earlier) >= limits.minimum_days else 1.0
    stuck = same and most ** (rows / limits.cluster_rows) < limits.constant_chance
    reason = f"{subject.name}: {name} has more than one value"
    if same:
        reason = f"{subject.name}: {name} is one number in every row (recent days: in at most {most:.0%})"
    return Finding("constant", subject.name, name, Verdict.FAIL if stuck else Verdict.PASS, None, None, reason)


def _share(
    check: str,
    subject: Subject,
    name: str,
    now: NDArray[np.bool_],
    before: NDArray[np.bool_],
    days: NDArray[np.int64],
    slack: float,
    word: str,
) -> Finding:
    """Hold a share of today's rows against the largest share of an earlier day, plus slack and sampling noise."""
    share = float(now.mean()) if len(now) else 0.0
    return _held_against(check, subject, name, share, _largest_daily_share(before, days), len(now), slack, word)


def _held_against(
    check: str, subject: Subject, name: str, share: float, most: float, rows: float, slack: float, word: str
) -> Finding:
    noise = 2.0 * float(np.sqrt(most * (1.0 - most) / max(rows, 1)))
    limit = min(1.0, most + slack + noise + most * (1.0 - most))
    verdict = Verdict.FAIL if share > limit else Verdict.PASS
    reason = f"{subject.name}: {share:.0%} of {name} is {word} (recent days: at most {most:.0%})"
    return Finding(check, subject.name, name, verdict, float(share), limit, reason)


def _largest_daily_share(flags: NDArray[np.bool_], days: NDArray[np.int64]) -> float:
    if not len(flags):
        return 0.0
    first = int(days.min())
    totals = np.bincount(days - first)
    hits = np.bincount(days - first, weights=flags.astype(np.float64))
    return float(np.max(hits[totals > 0] / totals[totals > 0]))
