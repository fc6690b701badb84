"""What saying bids as base x multipliers costs: the share of expected profit lost, per partner's language.

The market is synthetic and close to log-additive, as the research notes found the real one to be (1 - loss of 0.88 / 0.88
against the per-query rule): the value of a click and the price of traffic are each a product of hotel, device, lead
time and length of stay, times log-normal noise of their own in every cell that no language can say. Volumes follow a
Pareto over hotels. Nothing is tuned on it. The peers of each language are the same language without the search on
profit, and a base bid alone.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from benchmarks.common import Figure, median, run, stopwatch
from ml.bidding.landscape import Floats, Landscape
from ml.bidding.partners import PARTNERS
from ml.bidding.project import Worth, project
from ml.bidding.shading import second_price_bids
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS, LOS_BUCKETS, LOS_STARTS
from ml.market.tables import DEVICES

SEEDS = (11, 12, 13, 14, 15)
LEVELS = 60


def market(hotels: int, *, noise: float, seed: int) -> tuple[pd.DataFrame, Landscape, Floats]:
    """Cells, their landscape in bids per click, and the nights of a stay per cell."""
    rng = np.random.default_rng(seed)
    names = [f"h{number:05d}" for number in range(hotels)]
    cells = pd.DataFrame(
        product(names, DEVICES, LEAD_BUCKETS, LOS_BUCKETS), columns=["hotel_id", "device", "lead_bucket", "los_bucket"]
    )
    cells["market"] = np.repeat(rng.choice(["DE", "FR", "US"], hotels), len(cells) // hotels)
    nights = cells["los_bucket"].map(dict(zip(LOS_BUCKETS, LOS_STARTS, strict=True))).to_numpy(dtype=float)
    days = cells["lead_bucket"].map(dict(zip(LEAD_BUCKETS, LEAD_STARTS, strict=True))).to_numpy(dtype=float)
    hotel = cells["hotel_id"].map(dict(zip(names, rng.normal(0, 0.45, hotels), strict=True))).to_numpy()
    device = cells["device"].map({"mobile": -0.35, "desktop": 0.30, "tablet": 0.05}).to_numpy()
    # The formulas of 8.2: conversion falls with lead time and nights, value grows with nights.
    logs = hotel + device - 0.007 * np.minimum(days, 90) - 0.10 * (nights - 1) + np.log(nights)
    value = np.exp(13.0 + logs + rng.normal(0, noise, len(cells)))
    half = np.exp(12.6 + 0.8 * (logs - hotel) + rng.normal(0, noise, len(cells)))[:, None]
    volume = np.repeat(rng.pareto(1.1, hotels) + 0.05, len(cells) // hotels) * rng.lognormal(0, 0.6, len(cells))
    bids = np.geomspace(5_000, 60_000_000, LEVELS)
    clicks = volume[:, None] * bids / (bids + half)
    cost = volume[:, None] * half * (np.log1p(bids / half) - bids / (bids + half))
    return cells, Landscape(bids, clicks, cost, value), np.asarray(nights, dtype=np.float64)


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Loss per language and seed, and the seconds of one projection."""
    figures = {}
    for name in ("google", "microsoft", "trivago", "tripadvisor"):
        losses, matched, bases, seconds = [], [], [], []
        for seed in SEEDS:
            cells, landscape, nights = market(given.hotels, noise=given.noise, seed=seed)
            per_click = nights if PARTNERS[name].payment_model == "cpc_fixed_night" else np.ones(len(cells))
            wanted = second_price_bids(landscape)
            asked, weights = wanted / per_click, landscape.at(wanted)[0]
            worth, language = Worth(landscape, per_click), PARTNERS[name].language(cells)
            with stopwatch() as taken:
                found = project(language, cells, asked, weights=weights, worth=worth)
            losses.append(found.language_loss)
            seconds.append(taken[0])
            whole = float(worth.of(asked).sum())
            plain = project(language, cells, asked, weights=weights)
            matched.append(1 - float(worth.of(plain.amount_micros).sum()) / whole)
            only_base = replace(language, dimensions=())
            bases.append(project(only_base, cells, asked, weights=weights, worth=worth).language_loss)
        figures[f"{name}_loss"] = Figure(
            median(losses), "share of profit", peer=median(matched), limit=0.03, runs=tuple(losses)
        )
        figures[f"{name}_loss_base_only"] = Figure(median(bases), "share of profit", runs=tuple(bases))
        figures[f"{name}_seconds"] = Figure(median(seconds), "s", runs=tuple(round(x, 2) for x in seconds))
    return figures


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hotels", type=int, default=300, help="hotels, of 105 cells each")
    parser.add_argument("--noise", type=float, default=0.15, help="log sd that a cell has of its own, twice")


if __name__ == "__main__":
    sys.exit(run("bid_language", measure, arguments=_arguments))
