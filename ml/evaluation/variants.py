"""What an old model costs, and what a column is worth: the walk of `ml.evaluation.backtest`, with models that are otherwise.

A variant of the value model is older, or has to do without some of its columns. It scores the bookings that the model of their week
scores, and its losses are compared with that model's row by row; weeks are resampled whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml.core.errors import NoData, UsageError
from ml.core.units import day_start, known_by
from ml.evaluation.backtest import Week, bookings_known, in_processes, weeks_between, with_final_outcome
from ml.evaluation.interval import Interval
from ml.evaluation.metrics import log_losses, net_value_ratio
from ml.evaluation.paired import paired_bootstrap
from ml.models.numbers import Floats
from ml.models.value import ValueModel

if TYPE_CHECKING:
    from ml.core.settings import Settings
    from ml.market.source import MarketSource

CALIBRATED_BY = frozenset({"lead_days", "segment", "value"})
"""Columns that the value model's calibration stands on: it cannot do without them."""


@dataclass(frozen=True)
class Variant:
    """The value model otherwise.

    Attributes:
        age_days: trained on what was known so many days before the week that it scores; 0 is the walk's own model.
        without: the columns that it never sees, neither in training nor in scoring.
    """

    age_days: int = 0
    without: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people and as the key of its answer.

        >>> Variant(28).name, Variant(without=("meal", "rate")).name
        ('28 days older', 'without meal, rate')
        """
        parts = [f"{self.age_days} days older"] if self.age_days else []
        parts += ["without " + ", ".join(self.without)] if self.without else []
        return ", ".join(parts) or "as it is"


AS_IT_IS = Variant()


def without(*patterns: str) -> Variant:
    """A variant that does without every column of the value model that one of the patterns names.

    Args:
        patterns: names, or as a shell writes them: `agent_*`.

    Raises:
        UsageError: a pattern names no column, or one that the calibration stands on.

    >>> without("company_bookings_*").without
    ('company_bookings_28d', 'company_bookings_90d', 'company_bookings_365d')
    """
    names = [column.name for column in ValueModel.columns]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(f"the value model has no column {pattern!r}", next=f"choose of {', '.join(names)}")
    gone = tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
    needed = sorted(CALIBRATED_BY.intersection(gone))
    if needed:
        raise UsageError(f"the value model is calibrated by {', '.join(needed)}", next="leave it in")
    return Variant(without=gone)


def each_column() -> list[Variant]:
    """One variant for each column that the value model can do without."""
    return [Variant(without=(c.name,)) for c in ValueModel.columns if c.name not in CALIBRATED_BY]


def compare(
    source: MarketSource,
    settings: Settings,
    *,
    first: date,
    last: date,
    every_days: int,
    variants: Sequence[Variant],
    progress: Callable[[date], None] | None = None,
) -> dict[str, Any]:
    """Losses of variants of the value model on the bookings of each week, against the model of that week.

    Args:
        source: a market source with bookings.
        settings: the lake and the platform database below their `home` are filled; give an empty folder.
        first: first day whose bookings are scored.
        last: end of the days scored, not included.
        every_days: a model is trained on the first day and every so many days after it. A variant's age comes on top: with 7 and an age of
            28 its bookings are scored by a model of 28 to 34 days.
        variants: what to compare with it.
        progress: called with the day of training of each model that is done.

    Returns:
        `rows`; `model`: `log_loss` (nats) and `net_value_ratio` (predicted / realised) of the model of the week; `variants`: for each its `name`,
        `age_days`, `without`, the same two figures, and `loss`: its mean log loss less the model's, as `low`, `mid`, `high` (90 %, so
        that each bound is one-sided at 5 %; null with fewer than two weeks) and `share` (`mid` over the model's loss).

    Raises:
        UsageError: the days are out of order or not within the source.
        NoData: there is nothing to train on at the oldest age, or nothing to score.
    """
    weeks = weeks_between(first, last, every_days)
    oldest = max((variant.age_days for variant in variants), default=0)
    rows, events = bookings_known(source, settings, first=first - timedelta(days=oldest), last=weeks[-1].last)
    everything = list(dict.fromkeys((AS_IT_IS, *variants)))
    jobs = _jobs(weeks, everything)
    scores: dict[tuple[date, tuple[str, ...]], pd.Series[float]] = {}
    asked = [(trained, gone, asks, settings.seed) for (trained, gone), asks in jobs.items()]
    for (trained, gone), part in zip(jobs, in_processes(_score, asked, rows, events), strict=True):
        scores[trained, gone] = part.set_index("booking_id")["p_cancel"]
        if progress is not None:
            progress(trained)
    final = _final(rows, events, weeks)
    if final.empty:
        raise NoData(f"no booking from {first} to {last} has an outcome", next="choose earlier days")
    said = {variant: _said(final, scores, weeks, variant) for variant in everything}
    return {
        "rows": len(final),
        "model": _figures(final, said[AS_IT_IS]),
        "variants": [_row(final, variant, said, seed=settings.seed) for variant in everything[1:]],
    }


def _jobs(weeks: Sequence[Week], variants: Sequence[Variant]) -> dict[tuple[date, tuple[str, ...]], list[Week]]:
    """The models to train, by day of training and columns left out, each with the weeks that it scores: none is trained twice."""
    found: dict[tuple[date, tuple[str, ...]], list[Week]] = {}
    for week in weeks:
        for variant in variants:
            key = week.first - timedelta(days=variant.age_days), variant.without
            asks = found.setdefault(key, [])
            if week not in asks:
                asks.append(week)
    return found


def _score(
    rows: pd.DataFrame, events: pd.DataFrame, trained: date, gone: tuple[str, ...], weeks: list[Week], seed: int
) -> pd.DataFrame:
    """Train on what was known before a day and score the bookings of some weeks: booking_id and p_cancel."""
    from ml.features.training_set import with_outcomes

    as_of = day_start(trained)
    kept = tuple(column for column in ValueModel.columns if column.name not in gone)
    task: type[ValueModel] = type("Without", (ValueModel,), {"columns": kept}) if gone else ValueModel
    model = task.fit(with_outcomes(rows, events, as_of=as_of), as_of=as_of, seed=seed)
    asked = pd.concat([_made_in(rows, week) for week in weeks], ignore_index=True)
    p = model.predict(asked)["p_cancel"].to_numpy(dtype=float)
    return pd.DataFrame({"booking_id": asked["booking_id"].to_numpy(), "p_cancel": p})


def _made_in(rows: pd.DataFrame, week: Week) -> pd.DataFrame:
    return rows[(rows["decision_at"] >= day_start(week.first)) & (rows["decision_at"] < known_by(week.last))]


def _final(rows: pd.DataFrame, events: pd.DataFrame, weeks: Sequence[Week]) -> pd.DataFrame:
    made = [_made_in(rows, week)[["booking_id"]].assign(week=week.first) for week in weeks]
    return with_final_outcome(rows, events, pd.concat(made, ignore_index=True))


def _said(
    final: pd.DataFrame,
    scores: Mapping[tuple[date, tuple[str, ...]], pd.Series[float]],
    weeks: Sequence[Week],
    variant: Variant,
) -> Floats:
    """What a variant said of each row, shape (rows,)."""
    said = np.full(len(final), np.nan)
    for week in weeks:
        made = (final["week"] == week.first).to_numpy()
        found = scores[week.first - timedelta(days=variant.age_days), variant.without]
        said[made] = found.reindex(final["booking_id"][made]).to_numpy()
    return said


def _figures(final: pd.DataFrame, p: Floats) -> dict[str, float]:
    realised = final["net_value_micros"].to_numpy(dtype=float, na_value=np.nan)
    predicted = (1 - p) * final["value_micros"].to_numpy(dtype=float)
    losses = log_losses(final["label"], p)
    return {
        "log_loss": round(float(losses.mean()), 6),
        "net_value_ratio": round(net_value_ratio(predicted, realised), 6),
    }


def _row(final: pd.DataFrame, variant: Variant, said: Mapping[Variant, Floats], *, seed: int) -> dict[str, Any]:
    theirs, ours = (log_losses(final["label"], said[who]) for who in (variant, AS_IT_IS))
    loss = paired_bootstrap(theirs, ours, final["week"].to_numpy(), seed=seed)
    return {
        "name": variant.name,
        "age_days": variant.age_days,
        "without": list(variant.without),
        **_figures(final, said[variant]),
        "loss": _bounds(loss) | {"share": round(loss.mid / float(ours.mean()), 6)},
    }


def _bounds(found: Interval) -> dict[str, float | None]:
    return {
        name: round(value, 6) if np.isfinite(value) else None
        for name, value in (("low", found.low), ("mid", found.mid), ("high", found.high))
    }
