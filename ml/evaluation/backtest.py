"""Walk forward through real time: retrain on what was known, score what came next, compare with what became of it.

The same ingest, features, training rows, training and scoring as the daily lifecycle, without Airflow. A model of
week T is trained on what was known before the first instant of T; a booking of that week is scored with features as
known at the start of its own day; outcomes from later days enter only the final comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml.core.errors import NoData, UsageError
from ml.core.units import day_start, days_between, known_by
from ml.models.rows import BOOKING_DAYS

if TYPE_CHECKING:
    from ml.core.settings import Settings
    from ml.lake.lake import Lake
    from ml.market.source import MarketSource

WORKERS = 2
"""Weeks trained at once, each in a process of its own."""

HISTORY_DAYS = BOOKING_DAYS
"""Days before the first one scored that are brought in: as far back as training looks."""

SCORED = ("model", "logistic", "constant")


@dataclass(frozen=True)
class Week:
    """Days scored with one model: from `first` to `last`, both included; trained on what was known before `first`."""

    first: date
    last: date


def backtest(
    source: MarketSource,
    settings: Settings,
    *,
    first: date,
    last: date,
    every_days: int,
    progress: Callable[[date], None] | None = None,
) -> dict[str, Any]:
    """Quality of the value model per quarter, retrained every so many days.

    Args:
        source: a market source with bookings.
        settings: the lake and the platform database below their `home` are filled; give an empty folder.
        first: first day whose bookings are scored.
        last: end of the days scored, not included.
        every_days: a model is trained on the first day and every so many days after it.
        progress: called with the first day of each week that is done, in order.

    Returns:
        `quarters`: by quarter of booking, `rows`, and for `model`, `logistic` and `constant` (the share of
        cancellations known by then, corrected for open bookings) `auc`, `log_loss` and `net_value_ratio`
        (predicted / realised; each null where it is not defined), and `money`, the model's calibration by lead bucket
        and segment with intervals over weeks and its cost (`ml.evaluation.money`); `weeks`: the same by week, without
        `money`; `asymmetry`: what an error of calibration costs upwards and downwards.

    Raises:
        UsageError: the days are out of order or not within the source.
        NoData: there is nothing to train on before `first`, or nothing to score.
    """
    weeks = weeks_between(first, last, every_days)
    rows, events = bookings_known(source, settings, first=first, last=weeks[-1].last)
    parts = []
    jobs = [(week, settings.seed) for week in weeks]
    for week, part in zip(weeks, in_processes(_score_one, jobs, rows, events), strict=True):
        parts.append(part)
        if progress is not None:
            progress(week.first)
    final = with_final_outcome(rows, events, pd.concat(parts, ignore_index=True))
    if final.empty:
        raise NoData(f"no booking from {first} to {last} has an outcome", next="choose earlier days")
    from ml.evaluation.money import asymmetry

    quarter = pd.PeriodIndex(final["decision_at"].dt.tz_localize(None), freq="Q").astype(str)
    return {
        "quarters": [
            {"quarter": str(name), **_quality(part), "money": _money(part, seed=settings.seed)}
            for name, part in final.groupby(quarter, sort=True)
        ],
        "weeks": [{"first": str(name), **_quality(part)} for name, part in final.groupby("week", sort=True)],
        "asymmetry": asymmetry(),
    }


def score_week(rows: pd.DataFrame, events: pd.DataFrame, week: Week, *, seed: int) -> pd.DataFrame:
    """Train on what was known before the week and score its bookings.

    Args:
        rows: decision rows, among them every booking known before the week and those made in it.
        events: booking events; those not known before the week are not looked at.
        week: the days to score.
        seed: of the training.

    Returns:
        One row per booking made in the week: booking_id, week (ISO text), and `p_<who>` for each of `SCORED`.
    """
    from ml.features.training_set import with_outcomes
    from ml.models.training import train

    as_of = day_start(week.first)
    trained = train({"value": with_outcomes(rows, events, as_of=as_of)}, as_of=as_of, seed=seed)
    asked = rows[(rows["decision_at"] >= as_of) & (rows["decision_at"] < known_by(week.last))]
    return pd.DataFrame(
        {
            "booking_id": asked["booking_id"].to_numpy(),
            "week": week.first.isoformat(),
            "p_model": trained.models["value"].predict(asked)["p_cancel"].to_numpy(),
            "p_logistic": trained.baselines["value"].predict(asked)["p_cancel"].to_numpy(),
            "p_constant": trained.shares["value"],
        }
    )


def weeks_between(first: date, last: date, every_days: int) -> list[Week]:
    """Weeks of `every_days` days, the last one shorter where it must be; UsageError where there are no days."""
    if last <= first or every_days < 1:
        raise UsageError(f"there are no days from {first} to {last}", next="give an end after the start")
    starts = days_between(first, last - timedelta(days=1))[::every_days]
    ends = [*starts[1:], last]
    return [Week(start, end - timedelta(days=1)) for start, end in zip(starts, ends, strict=True)]


def _fill(source: MarketSource, settings: Settings, *, first: date, last: date) -> Lake:
    """Land everything from `first` to the end of the source, and build the features up to the last day scored."""
    from ml.features.build import build_days, market_views
    from ml.lake.blobs import open_blobs
    from ml.lake.compute import Compute
    from ml.lake.lake import Lake
    from ml.ledger.database import Database
    from ml.market.ingest import ingest_range

    begin, end = max(source.first_day(), first), source.last_day() or last
    if not begin < last <= end:
        raise UsageError(f"{source.name} has the days from {begin} to {end}", next="choose --from and --to within them")
    db = Database.open(settings.database)
    db.migrate()
    lake = Lake(
        open_blobs(settings.lake, cache=settings.home / "cache" / "lake", endpoint=settings.s3_endpoint),
        settings.market_name,
        Compute.from_settings(settings),
    )
    # The log is of a scratch database: its instants mean nothing, but must not depend on the wall clock.
    ingest_range(
        source, lake, db, market=settings.market_name, days=days_between(begin, end), at=known_by(end), progress=None
    )
    build_days(lake, market_views(lake).values(), days_between(begin, last))
    return lake


def bookings_known(
    source: MarketSource, settings: Settings, *, first: date, last: date
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every booking made up to `last` with features as known at its decision, and every event ever known.

    Args:
        source: a market source with bookings.
        settings: of an empty folder, which is filled.
        first: the first day on which a model is trained; what training looks back on is brought in before it.
        last: the last day whose bookings are wanted.

    Raises:
        UsageError: the days are not within the source.
    """
    from ml.features.training_set import decision_rows, outcome_events

    begin = first - timedelta(days=HISTORY_DAYS)
    lake, market = _fill(source, settings, first=begin, last=last), settings.market_name
    return decision_rows(lake, market=market, first=begin, last=last), outcome_events(lake, market=market)


def in_processes(
    job: Callable[..., pd.DataFrame], jobs: Sequence[tuple[Any, ...]], rows: pd.DataFrame, events: pd.DataFrame
) -> Iterator[pd.DataFrame]:
    """What `job(rows, events, *arguments)` gives for each of the jobs, in order; some at once.

    The processes are spawned, not forked, because LightGBM hangs in a fork; each reads the two frames once.
    """
    with TemporaryDirectory(prefix="bidwright-backtest-") as folder:
        files = Path(folder) / "rows.parquet", Path(folder) / "events.parquet"
        for frame, file in zip((rows, events), files, strict=True):
            frame.to_parquet(file, index=False)
        with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"), initializer=_open, initargs=files) as pool:
            yield from pool.map(_do, repeat(job), jobs)


_OPENED: dict[str, pd.DataFrame] = {}


def _open(rows: Path, events: Path) -> None:
    """Read the rows once per worker."""
    _OPENED["rows"], _OPENED["events"] = pd.read_parquet(rows), pd.read_parquet(events)


def _do(job: Callable[..., pd.DataFrame], arguments: tuple[Any, ...]) -> pd.DataFrame:
    return job(_OPENED["rows"], _OPENED["events"], *arguments)


def _score_one(rows: pd.DataFrame, events: pd.DataFrame, week: Week, seed: int) -> pd.DataFrame:
    return score_week(rows, events, week, seed=seed)


def with_final_outcome(rows: pd.DataFrame, events: pd.DataFrame, scored: pd.DataFrame) -> pd.DataFrame:
    """The scored bookings whose end is known by now, with `label` (1 cancelled) and realised `net_value_micros`."""
    from ml.features.training_set import with_outcomes

    end: datetime = max(events["known_at"].max(), rows["known_at"].max()).to_pydatetime() + timedelta(seconds=1)
    joined = with_outcomes(rows, events, as_of=end).merge(scored, on="booking_id", how="inner", validate="1:1")
    ended = joined[joined["outcome"] != "open"].reset_index(drop=True)
    return ended.assign(label=(ended["outcome"] == "cancelled").astype(float))


def _quality(part: pd.DataFrame) -> dict[str, Any]:
    """Rows and, for each of `SCORED`, discrimination, loss and calibration in money."""
    from ml.evaluation.metrics import auc, log_loss, net_value_ratio

    label, gross = part["label"].to_numpy(), part["value_micros"].to_numpy(dtype=float)
    realised = part["net_value_micros"].to_numpy(dtype=float, na_value=np.nan)
    found: dict[str, Any] = {"rows": len(part)}
    for who in SCORED:
        p = part[f"p_{who}"].to_numpy(dtype=float)
        found[who] = {
            "auc": _number(auc(label, p)),
            "log_loss": _number(log_loss(label, p)),
            "net_value_ratio": _number(net_value_ratio((1 - p) * gross, realised)),
        }
    return found


def _money(part: pd.DataFrame, *, seed: int) -> dict[str, Any]:
    """Calibration of the model in money; weeks are resampled whole."""
    from ml.evaluation.money import money_report

    return money_report(part, part["p_model"].to_numpy(dtype=float), blocks=part["week"].to_numpy(), seed=seed)


def _number(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None
