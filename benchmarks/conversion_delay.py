"""What training on the clicks of the last days is biased by, while some of their bookings are still to come.

A click log whose truth is known, for each seed: conversion by partner, device and lead time after section 8.2 of the
domain notes; delays of a mixture of 3 minutes to weeks (section 2.6: 36 % known after an hour, 74 % after a day, 95 %
after a week), slower the longer the lead time and by partner. Each way learns from the clicks of the last 3, 7, 14 and
28 days; the completion factors and nothing else also see the 30 days before. Bias is the sum predicted for these
clicks over the bookings that follow them in the end, less 1, the mean over the seeds.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import Figure, run
from ml.market.buckets import LEAD_STARTS, bucket_index
from ml.models.conversion import ConversionBaseline, ConversionModel, completion_of, delay_cells, delay_offset
from ml.models.delay import HORIZON_DAYS, Completion
from ml.models.delayed_feedback import Delay, DelayedFeedback
from ml.models.history import TRAFFIC_HISTORY
from ml.models.newton import fit_logit
from ml.models.numbers import Floats, sigmoid

WINDOWS = (3, 7, 14, 28)
NAIVE = {3: 0.24, 7: 0.15, 14: 0.09, 28: 0.05}
"""Biases that the prototype of the domain notes measured without correction."""

LIMIT = 0.02
SEEDS, SLOW_SEEDS, CLICKS_PER_DAY, HISTORY_DAYS = 10, 3, 20_000, 58
AS_OF = datetime(2026, 6, 1, tzinfo=UTC)

PARTNERS = ("google", "tripadvisor", "trivago")
DEVICES = ("mobile", "desktop", "tablet")
SCALES_DAYS = np.array([0.05, 2.0, 9.0])
_PARTNER_SLOWNESS = np.array([-0.25, 0.1, 0.45])
_LEAD_SLOWNESS = np.array([-0.95, -0.15, 0.15, 0.35, 0.55, 0.70, 0.75])


def click_log(rng: np.random.Generator, *, per_day: int = CLICKS_PER_DAY, days: int = HISTORY_DAYS) -> pd.DataFrame:
    """Clicks of `days` before `AS_OF`, as known then, with `delay` and `follows` (the truth, that no model reads)."""
    rows = per_day * days
    partner = rng.choice(len(PARTNERS), rows, p=[0.6, 0.15, 0.25])
    device = rng.choice(len(DEVICES), rows, p=[0.62, 0.33, 0.05])
    lead = np.where(rng.random(rows) < 0.14, 0, 1 + rng.gamma(0.75, 32, rows).astype(np.int64))
    bucket = bucket_index(lead, LEAD_STARTS)
    gap = rng.normal(0.0, 0.05, rows)
    log_odds = -3.1 + np.array([-0.35, 0.30, 0.05])[device] - 0.007 * np.minimum(lead, 90) - 6 * np.maximum(gap, 0)
    p = sigmoid(log_odds + np.array([0.0, -0.2, 0.1])[partner])
    slow = np.exp(_PARTNER_SLOWNESS[partner] + _LEAD_SLOWNESS[bucket])
    weights = np.array([0.62, 0.285, 0.095]) * np.column_stack([np.ones(rows), slow, slow])
    kind = (rng.random((rows, 1)) > np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)[:, :2]).sum(axis=1)
    delay = np.minimum(rng.exponential(SCALES_DAYS[kind]), HORIZON_DAYS)
    follows = rng.random(rows) < p
    age = rng.random(rows) * days
    ts = pd.Series(pd.Timestamp(AS_OF) - pd.to_timedelta(age, unit="D")).dt.as_unit("us")
    booked = follows & (delay < age)
    rival = np.exp(rng.normal(4.5, 0.4, rows))
    frame = {
        "click_id": np.arange(rows),
        "ts": ts,
        "click_known_at": ts,
        "booked": booked,
        "booking_known_at": (ts + pd.to_timedelta(delay, unit="D")).where(booked),
        "partner": np.array(PARTNERS, dtype=object)[partner],
        "device": np.array(DEVICES, dtype=object)[device],
        "lead_days": lead,
        "hotel_id": "h",
        "user_country": "PT",
        "check_in": ts.dt.floor("D") + pd.to_timedelta(lead, unit="D"),
        "los_nights": 2,
        "default_date": False,
        "price_micros": np.rint(rival * np.exp(gap) * 1e6),
        "rival_price_micros": np.rint(rival * 1e6),
        "age": age,
        "delay": delay,
        "follows": follows,
    }
    return pd.DataFrame(frame | {column.name: np.nan for column in TRAFFIC_HISTORY})


def one_seed(seed: int, *, slow: bool, per_day: int = CLICKS_PER_DAY) -> dict[str, float]:
    """Bias of each way and window, by the name `way_days`; `ours_cell_days` is the root mean square over cells.

    With `slow`, also of the delayed feedback models, and of the platform's own trees and baseline on the clicks that
    are a day old, from which these learn.
    """
    log = click_log(np.random.default_rng(seed), per_day=per_day)
    found: dict[str, float] = {}
    learned = completion_of(log, as_of=AS_OF)
    for days in WINDOWS:
        rows = log[log["age"] < days].reset_index(drop=True)
        x = _design(rows)
        ways = {
            "naive": _logistic(rows, x, Completion.none()),
            "pooled": _logistic(rows, x, Completion(learned.pooled)),
            "ours": _logistic(rows, x, learned),
        }
        if slow:
            ways |= {"dfm_exponential": _dfm(rows, x, "exponential"), "dfm_weibull": _dfm(rows, x, "weibull")}
        for way, p in ways.items():
            found[f"{way}_{days}"] = _bias(rows, p)
            found[f"{way}_cell_{days}"] = _cell_error(rows, p)
        day_old = rows[rows["age"] >= 1]
        for name, kind in (("model", ConversionModel), ("baseline", ConversionBaseline)) if slow else ():
            prepared = kind.prepare(rows, as_of=AS_OF, completion=learned)
            said = kind.fit_prepared(prepared, seed=seed).predict(day_old)["p_book"]
            found[f"{name}_{days}"] = _bias(day_old, said.to_numpy())
    return found


def _design(rows: pd.DataFrame) -> Floats:
    """Ones, and a column for each partner, device and lead bucket but the first."""
    bucket = bucket_index(rows["lead_days"].to_numpy(), LEAD_STARTS)
    parts = [rows["partner"].to_numpy()[:, None] == np.array(PARTNERS[1:], dtype=object)]
    parts.append(rows["device"].to_numpy()[:, None] == np.array(DEVICES[1:], dtype=object))
    parts.append(bucket[:, None] == np.arange(1, len(LEAD_STARTS)))
    return np.hstack([np.ones((len(rows), 1)), *parts]).astype(np.float64)


def _logistic(rows: pd.DataFrame, x: Floats, completion: Completion) -> Floats:
    """A logistic regression with the conversion model's own offsets, on clicks of any age."""
    factor = completion.at(rows["age"], delay_cells(rows))
    booked = rows["booked"].to_numpy()
    return sigmoid(x @ fit_logit(x, booked.astype(float), offset=delay_offset(factor, booked), penalty=1e-3))


def _dfm(rows: pd.DataFrame, x: Floats, law: Delay) -> Floats:
    z = np.delete(x, [3, 4], axis=1)  # the delay depends on partner and lead time, not on the device
    fitted = DelayedFeedback.fit(
        x,
        z,
        age=rows["age"].to_numpy(),
        delay=rows["delay"].to_numpy(),
        booked=rows["booked"].to_numpy(),
        horizon=float(HORIZON_DAYS),
        law=law,
    )
    return fitted.probability(x, z)


def _bias(rows: pd.DataFrame, p: Floats) -> float:
    return float(p.sum() / rows["follows"].sum() - 1)


def _cell_error(rows: pd.DataFrame, p: Floats) -> float:
    """Root mean square bias of the cells of partner and lead bucket, weighted by their bookings."""
    cell = rows["partner"] + bucket_index(rows["lead_days"].to_numpy(), LEAD_STARTS).astype(str)
    sums = pd.DataFrame({"p": p, "follows": rows["follows"]}).groupby(cell.to_numpy()).sum()
    sums = sums[sums["follows"] > 0]
    return float(np.sqrt(np.average((sums["p"] / sums["follows"] - 1) ** 2, weights=sums["follows"])))


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """All seeds; what takes longer on the first three only."""
    runs: list[dict[str, Any]] = [one_seed(seed, slow=seed < SLOW_SEEDS) for seed in range(given.seeds)]
    figures = {}
    for days in WINDOWS:
        naive = _mean(runs, f"naive_{days}")
        for way in ("ours", "pooled", "dfm_weibull", "dfm_exponential", "model", "baseline"):
            every = tuple(round(found[f"{way}_{days}"], 5) for found in runs if f"{way}_{days}" in found)
            limit = LIMIT if way in ("ours", "model") else None
            figures[f"{way}_{days}d"] = Figure(
                _mean(runs, f"{way}_{days}"), "bias", peer=naive, limit=limit, runs=every
            )
        key = f"cell_{days}"
        figures[f"by_cell_{days}d"] = Figure(_mean(runs, f"ours_{key}"), "rms bias", peer=_mean(runs, f"pooled_{key}"))
    return figures


def _mean(runs: list[dict[str, Any]], name: str) -> float:
    return round(float(np.mean([found[name] for found in runs if name in found])), 5)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=SEEDS, help="click logs to draw")


if __name__ == "__main__":
    sys.exit(run("conversion_delay", measure, arguments=_arguments))
