"""A day's bids as a partner is told them: guarded, in its payment model and its bid language, with its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ml.bidding.guards import AbsoluteCap, Guard, ValueCap
from ml.bidding.landscape import Floats, Landscape
from ml.bidding.partners import PARTNERS
from ml.bidding.partners.base import Account
from ml.bidding.plan import Exploration, partner_bids, with_bids
from ml.bidding.policy import BidPolicy
from ml.bidding.table import CLICK_LEVELS
from ml.bidding.value import ClickEconomics
from ml.core.verdict import Verdict
from ml.market.buckets import LOS_BUCKETS, LOS_MIDDLES

KEPT = (*CLICK_LEVELS, "clicks_seen", "p_book", "net_value_micros", "wanted_micros", "bid_micros")
TRIED = ("explore_factor", "explore_jitter", "explore_density")
"""Kept where something was tried, so that what was drawn and how likely it was can be read from the publication."""


@dataclass(frozen=True)
class Objective:
    """What the words are searched for, row by row of the table; from the portfolio.

    Attributes:
        landscape: expected clicks and cost a day.
        value_micros: worth of a click once the portfolio's limits have their prices; shape (n,).
        cost_weight: weight of its cost; shape (n,).
        exploration: what is tried with the base bids, or None.
    """

    landscape: Landscape
    value_micros: Floats
    cost_weight: Floats
    exploration: Exploration | None = None


@dataclass(frozen=True)
class Expected:
    """What bids are expected to do on a day: clicks, their cost, and what they earn less that cost."""

    clicks: float
    cost_micros: int
    profit_micros: int


def daily_budgets(expected: Mapping[str, Expected], spend_cap: float) -> dict[str, int | None]:
    """What each partner may charge on a day, in micros; None where nothing is expected of it.

    All together they come to `spend_cap` times what is expected of all. What is above the expected cost is shared out by
    the standard deviation of a day's cost, `cost / sqrt(clicks)`: of fifty clicks a day strays further than of five
    hundred, and a partner whose budget is spent shows us no more, whatever the others have left.

    >>> daily_budgets({"big": Expected(400, 80_000_000, 0), "small": Expected(25, 5_000_000, 0)}, 1.2)
    {'big': 93600000, 'small': 8400000}
    """
    spread = {name: one.cost_micros / max(one.clicks, 1.0) ** 0.5 for name, one in expected.items()}
    beyond = (spend_cap - 1.0) * sum(one.cost_micros for one in expected.values()) / (sum(spread.values()) or 1.0)
    return {name: round(one.cost_micros + beyond * spread[name]) or None for name, one in expected.items()}


@dataclass(frozen=True)
class SaidBids:
    """What one partner is told.

    Attributes:
        table: one row per cell; `bid_micros` is the bid per click that the partner will apply, `wanted_micros` the one
            that was to be said. Of a value table, the table as it is.
        files: the partner's own files by name; none for a partner whose files are not known.
        language_loss: share of the expected profit that the language loses; None where all could be said.
        verdict: FAIL where nothing may be published.
        reasons: what people should know, one sentence each.
        basis: what the portfolio of all partners rests on and is expected to bring, as plain values.
        expected: what the bids as said are expected to do; None where the market's response is not known.
        retention: what of a booking's value stays, for the bid service (`ml.bidding.serving_plan.retention_table`).
    """

    table: pd.DataFrame
    files: Mapping[str, bytes] = field(default_factory=dict)
    language_loss: float | None = None
    verdict: Verdict = Verdict.PASS
    reasons: tuple[str, ...] = ()
    basis: Mapping[str, Any] = field(default_factory=dict)
    expected: Expected | None = None
    retention: pd.DataFrame | None = None


def say(
    partner: str,
    table: pd.DataFrame,
    *,
    policy: BidPolicy,
    take_share: float,
    currency: str,
    account_currency: str = "",
    payment_model: str = "",
    rates: Mapping[tuple[str, str], float] | None = None,
    objective: Objective | None = None,
    ceiling_micros: Floats | None = None,
) -> SaidBids:
    """Cap a bid table and say it in the partner's words.

    The table keeps to the daily limit of change, and below what a click earns, cell by cell. The words are fitted to
    all cells at once: such limits on each cell's product would let the one cell that fits worst pull its whole hotel
    down, by a third on the mean of the simulated market. How many cells the product lifts above what their click is
    expected to earn is among the reasons.

    Args:
        partner: its name; one that `ml.bidding.partners` does not know takes the table as it is.
        table: from `ml.bidding.table.bid_table`.
        policy: its cap is that of the guards.
        take_share: what a booking earns of its net value, 0 to 1.
        currency: of the amounts.
        account_currency: of the partner's account, in which its files are; empty: the same.
        payment_model: what the partner's account is paid by; empty: the partner's usual one.
        rates: units of the second currency for one of the first, by pair of codes.
        objective: what the words are searched for; None: the logs of the bids.
        ceiling_micros: what no cell's product may exceed, for the rare case that is worth what it costs the others of
            its hotel; shape (n,).

    Raises:
        UsageError: the language cannot say a bid, there is no rate to the account's currency, or the partner would
            refuse the file; nothing is published.
    """
    if partner not in PARTNERS:
        return SaidBids(table)
    p_book = table["p_book"].to_numpy(dtype=np.float64)
    net_value = table["net_value_micros"].to_numpy(dtype=np.float64)
    economics = _economics(table, p_book, net_value, take_share)
    cells = with_bids(
        table,
        table["bid_micros"].to_numpy(dtype=np.float64),
        upper_value_micros=economics.value_per_click_micros if ceiling_micros is None else ceiling_micros,
        weight=table["clicks_seen"].to_numpy(dtype=np.float64),
        previous=None,
    )
    guards: tuple[Guard, ...] = (AbsoluteCap(policy.max_bid_micros),)
    if ceiling_micros is not None:
        guards = (*guards, ValueCap())
    found = partner_bids(
        replace(PARTNERS[partner], payment_model=payment_model or PARTNERS[partner].payment_model),
        cells,
        economics,
        None if objective is None else objective.landscape,
        guards=guards,
        account=Account(currency=account_currency or currency),
        currency=currency,
        rates=rates or {},
        cost_weight=1.0 if objective is None else objective.cost_weight,
        value_micros=None if objective is None else objective.value_micros,
        exploration=None if objective is None else objective.exploration,
    )
    if found.projection is None:
        return SaidBids(table, verdict=found.verdict, reasons=found.reasons)
    dear = int((found.table["bid_micros"] > economics.value_per_click_micros).sum())
    reasons = (*found.reasons, *([_dear(dear, len(table), partner)] if dear else []))
    loss = round(found.projection.language_loss, 6)
    columns = [*KEPT, *(TRIED if found.explored is not None else ())]
    expected = None if objective is None else _expected(objective.landscape, found.table)
    return SaidBids(found.table[columns], found.files, loss, found.verdict, reasons, expected=expected)


def _expected(landscape: Landscape, table: pd.DataFrame) -> Expected:
    clicks, cost = landscape.at(table["bid_micros"].to_numpy(dtype=np.float64))
    profit = clicks @ landscape.value_micros - cost.sum()
    return Expected(round(float(clicks.sum()), 3), round(float(cost.sum())), round(float(profit)))


def _dear(cells: int, of: int, partner: str) -> str:
    return f"{cells} of {of} cells are bid above what their click is expected to earn: {partner} takes products only"


def _economics(table: pd.DataFrame, p_book: Floats, net_value: Floats, take_share: float) -> ClickEconomics:
    """What is expected of a click; the value is net of cancellations already."""
    middles = dict(zip(LOS_BUCKETS, LOS_MIDDLES, strict=True))
    nights = np.array([middles[bucket] for bucket in table["los_bucket"]], dtype=np.float64)
    same = np.ones(len(table))
    return ClickEconomics(
        p_book=p_book,
        gross_value_micros=net_value,
        take_share=same * take_share,
        p_cancel=same * 0.0,
        kept_share=same * 0.0,
        los_nights=nights,
        shown_value_micros=np.maximum(net_value, 1.0),
    )
