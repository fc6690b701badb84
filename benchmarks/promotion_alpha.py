"""How often a year of weekly candidates that are no better promotes one by chance, and how soon a better one gets in.

Rows of a market like the real bookings (150 outcomes a day at 40 hotels, judged over 14 days, every week) with effects of hotels and heavy-tailed
effects of days; a champion and candidates that know the truth up to an error of their own, partly by hotel. Each look goes through the functions that
judge: `ml.evaluation.two_way.cell_errors` and `p_below`, `ml.evaluation.alpha.alpha_of_look`, and for the rule of 5 % a look beside it.
An A/A candidate has an error as large as the champion's, drawn anew each week; a better one has a smaller error, so that its log loss is lower by 1, 2 or 5 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common import Figure, run

Floats = npt.NDArray[np.float32]

WEEKS, DAYS, EVERY = 52, 14, 7
HOTELS = 40
ERROR = 0.20
"""Error of a model's logit, one standard deviation; a fifth of its variance is shared by the rows of a hotel."""


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:
    """Simulate years of looks; the share of them with a promotion."""
    rng = np.random.default_rng(given.seed)
    p = np.concatenate([_year(rng, given.rows, better=0.0, weeks=WEEKS) for _ in range(given.years)])
    figures = {
        "A/A: years with a promotion": Figure(
            _promoted(p, WEEKS), "share", peer=_promoted(p, WEEKS, each=0.05), limit=0.05, runs=(float(given.years),)
        )
    }
    for rows in (given.rows, 4 * given.rows):
        for better in (0.01, 0.02, 0.05):
            looks = np.concatenate([_year(rng, rows, better=better, weeks=4) for _ in range(given.powers)])
            figures[f"{better:.0%} better, {rows} a day: in within 4 weeks"] = Figure(
                _promoted(looks, 4), "share", peer=_promoted(looks, 4, each=0.05), runs=(float(given.powers),)
            )
    return figures


def _promoted(p_values: npt.NDArray[np.float64], weeks: int, *, each: float | None = None) -> float:
    """The share of years with a p-value below the alpha of its look, or below a fixed one."""
    from ml.evaluation.alpha import alpha_of_look

    alpha = alpha_of_look(EVERY) if each is None else each
    return float((p_values.reshape(-1, weeks) < alpha).any(1).mean())


def _year(rng: np.random.Generator, rows: int, *, better: float, weeks: int) -> npt.NDArray[np.float64]:
    """One-sided p-values of a gain, one per weekly look of a year; shape (weeks,)."""
    from ml.evaluation.two_way import cell_errors, p_below

    days = EVERY * (weeks - 1) + DAYS
    count = days * rows
    day = np.repeat(np.arange(days), rows)
    hotel = rng.choice(HOTELS, count, p=_SIZES)
    hotel_effect = rng.normal(0, 0.4, HOTELS).astype(np.float32)
    mood = (0.1 * rng.standard_t(4, days)).astype(np.float32)
    margin = _normal(rng, count) - np.float32(0.5) + hotel_effect[hotel] + mood[day]
    label = rng.random(count, dtype=np.float32) < 1 / (1 + np.exp(-margin))
    sign = np.where(label, np.float32(-1), np.float32(1))
    worse = _error_of(better, margin)
    champion = _losses(sign, margin + _error(rng, hotel, worse))
    tops, bottoms = np.empty((weeks, HOTELS, DAYS)), np.empty((weeks, HOTELS, DAYS))
    for week in range(weeks):
        window = slice(week * EVERY * rows, (week * EVERY + DAYS) * rows)
        own = hotel[window]
        ours = _losses(sign[window], margin[window] + _error(rng, own, ERROR))
        place = own * DAYS + (day[window] - week * EVERY)
        tops[week] = np.bincount(place, ours - champion[window], HOTELS * DAYS).reshape(HOTELS, DAYS)
        bottoms[week] = np.bincount(place, minlength=HOTELS * DAYS).reshape(HOTELS, DAYS)
    mid, error = cell_errors(tops, bottoms)
    return p_below(mid, error, min(HOTELS, DAYS) - 1)


def _error_of(better: float, margin: Floats) -> float:
    """The error of a champion whose log loss is higher than a candidate's by a share: each variance costs p (1 - p) / 2 of loss."""
    if not better:
        return ERROR
    p = 1 / (1 + np.exp(-margin.astype(np.float64)))
    spread = float((p * (1 - p)).mean())
    loss = float(-(p * np.log(p) + (1 - p) * np.log1p(-p)).mean()) + ERROR**2 * spread / 2
    return float(np.sqrt(ERROR**2 + 2 * better * loss / spread))


def _error(rng: np.random.Generator, hotel: npt.NDArray[Any], size: float) -> Floats:
    shared = rng.normal(0, size * 0.2**0.5, HOTELS).astype(np.float32)
    found: Floats = shared[hotel] + np.float32(size * 0.8**0.5) * _normal(rng, len(hotel))
    return found


def _normal(rng: np.random.Generator, count: int) -> Floats:
    return rng.standard_normal(count, dtype=np.float32)


def _losses(sign: Floats, margin: Floats) -> Floats:
    found: Floats = np.logaddexp(np.float32(0), sign * margin)
    return found


_SIZES = (1 / np.arange(1, HOTELS + 1)) / (1 / np.arange(1, HOTELS + 1)).sum()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--years", type=int, default=2000, help="simulated years of A/A candidates")
    parser.add_argument("--powers", type=int, default=400, help="simulated months of better candidates")
    parser.add_argument("--rows", type=int, default=150, help="outcomes a day")
    parser.add_argument("--seed", type=int, default=7, help="seed")


if __name__ == "__main__":
    sys.exit(run("promotion_alpha", measure, arguments=_arguments))
