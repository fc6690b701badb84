"""Small auction logs for the replay tests, and the protocol written as the plainest loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
from hypothesis import strategies as st

from ml.evaluation.replay.engine import MAX_BID, MOST_SLOTS, Outcome, Plan, Rules
from ml.evaluation.replay.inputs import Auctions, CampaignStats

STATS = CampaignStats("7", clk_train=40, imp_train=10_000, cost_train=700_000)


def make_auctions(click: Any, market_price: Any, pctr: Any) -> Auctions:
    return Auctions(np.array(click, np.int64), np.array(market_price, np.int64), np.array(pctr, np.float64))


def random_auctions(count: int, seed: int) -> Auctions:
    """Log-normal prices and click probabilities; a click falls with its probability."""
    rng = np.random.default_rng(seed)
    pctr = np.minimum(STATS.ctr * np.exp(rng.normal(-0.5, 1.0, count)), 1.0)
    price = np.minimum(np.floor(STATS.cpm * np.exp(rng.normal(-0.4, 0.9, count))), 300)
    return Auctions((rng.random(count) < pctr).astype(np.int64), price.astype(np.int64), pctr)


@st.composite
def logs(draw: st.DrawFn) -> Auctions:
    count = draw(st.integers(1, 60))
    click = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    price = draw(st.lists(st.one_of(st.integers(0, 12), st.integers(0, 400)), min_size=count, max_size=count))
    pctr = draw(st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1.0)), min_size=count, max_size=count))
    return make_auctions(click, price, pctr)


def plain_replay(auctions: Auctions, plan: Plan, rules: Rules) -> Outcome:
    """One auction after the other; a plan that looks at its budget does so 1,000 times an episode at most."""
    rows: list[list[int]] = []
    every = -(-rules.episode // MOST_SLOTS)
    factor = 1.0
    for index in range(len(auctions)):
        position = index % rules.episode
        if position == 0:
            rows.append([0, 0, 0, 0])
        left = rules.budget - rows[-1][3]
        if plan.pace is not None and position % every == 0:
            factor = float(plan.pace(np.array([left]), rules.episode - position)[0])
        bid = min(int(min(plan.base[index] * factor, MAX_BID)), MAX_BID, left)
        rows[-1][0] += 1
        if bid >= auctions.market_price[index]:
            rows[-1][1] += 1
            rows[-1][2] += int(auctions.click[index])
            rows[-1][3] += int(auctions.market_price[index])
    return Outcome(*np.array(rows, np.int64).T)


def write_auctions(path: Any, auctions: Auctions, **more: Any) -> Any:
    """The log as a Parquet file, with more columns, or others in place of these."""
    columns = {"click": auctions.click, "market_price": auctions.market_price, "pctr": auctions.pctr, **more}
    parquet.write_table(pyarrow.table({name: values for name, values in columns.items() if values is not None}), path)
    return path


def write_stats(path: Any, text: str = "campaign,clk_train,imp_train,cost_train\n7,40,10000,700000\n") -> Any:
    path.write_text(text)
    return path
