"""From bids per cell to what one partner is sent: guards, payment model, currency, bid language, exploration, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ml.bidding.exploration import ExplorationPolicy, Explored, explore, rounded, thompson_hotels
from ml.bidding.guards import BID, Guard, ceilings, guard
from ml.bidding.instruction import BidInstruction, instruct, payment_model
from ml.bidding.landscape import Floats, Landscape
from ml.bidding.language import Projection, convert
from ml.bidding.partners.base import Account, Partner
from ml.bidding.project import Worth, project
from ml.bidding.table import CLICK_LEVELS
from ml.bidding.value import ClickEconomics
from ml.core.units import MICROS_PER_UNIT
from ml.core.verdict import Verdict, worst

MAX_LANGUAGE_LOSS = 0.03
"""Share of expected profit that a bid language may lose before a person is told (gate 16)."""


@dataclass(frozen=True)
class Exploration:
    """What is tried with a partner's base bids.

    Attributes:
        policy: how much.
        period: what changes the choice, such as the week.
        observed, expected: bookings seen and expected of each row's hotel, for Thompson sampling; shape (n,), or None
            for jitter alone.
    """

    policy: ExplorationPolicy
    period: str
    observed: Floats | None = None
    expected: Floats | None = None


_MONEY = {"cpc_fixed_night", "cpc_fixed_click"}
"""Payment models whose amounts are money, and so have a currency."""


@dataclass(frozen=True)
class PartnerBids:
    """What a partner is sent, and everything that led to it.

    Attributes:
        table: one row per cell: the cells given, with `bid_micros` (per click, as the language says it; int),
            `wanted_micros` (per click, after guards), `amount_micros` (in the unit of the payment model), and of
            exploration `explore_factor` (bid over what it would have been), `explore_jitter` (the jitter drawn) and
            `explore_density` (its density).
        instruction: the bids in the payment model's unit, before the language.
        projection: base and multipliers, with the language loss; None where nothing may be sent.
        explored: what was tried, and its expected cost; None where nothing was.
        files: the partner's files by name; empty where nothing may be sent.
        verdict: FAIL where nothing may be sent, HOLD where a person should be told.
        reasons: one sentence each.
    """

    table: pd.DataFrame
    instruction: BidInstruction | None
    projection: Projection | None
    explored: Explored | None
    files: dict[str, bytes]
    verdict: Verdict
    reasons: tuple[str, ...]


def with_bids(
    cells: pd.DataFrame,
    bids_micros: Floats,
    *,
    upper_value_micros: Floats,
    weight: Floats,
    previous: pd.DataFrame | None,
) -> pd.DataFrame:
    """The table that guards and `partner_bids` read.

    Args:
        cells: one row per cell, with the columns of `CLICK_LEVELS`.
        bids_micros: bid per click of each cell, such as `Allocation.bids_micros`; shape (n,), finite, at least 0.
        upper_value_micros: upper bound of a click's value; shape (n,).
        weight: expected clicks a day; shape (n,).
        previous: the bids last published (`CLICK_LEVELS` and `bid_micros`), if any.
    """
    if not np.isfinite(bids_micros).all():
        raise ValueError("a cell's bid is not finite")
    table = cells.assign(upper_value_micros=upper_value_micros, weight=weight, previous_micros=np.nan)
    if previous is not None:
        keys = list(CLICK_LEVELS)
        last = cells[keys].merge(previous[[*keys, BID]], on=keys, how="left", validate="1:1")
        table["previous_micros"] = last[BID].to_numpy(dtype=float)
    return table.assign(**{BID: np.rint(bids_micros).astype(np.int64)})


def partner_bids(
    partner: Partner,
    cells: pd.DataFrame,
    economics: ClickEconomics,
    landscape: Landscape | None,
    *,
    guards: Sequence[Guard],
    account: Account,
    currency: str,
    rates: Mapping[tuple[str, str], float],
    cost_weight: Floats | float = 1.0,
    value_micros: Floats | None = None,
    exploration: Exploration | None = None,
) -> PartnerBids:
    """Guards, then the payment model, then the partner's currency and language, then exploration, then the files.

    What is tried is tried on base bids, after the language: a product cannot say the jitter of one cell.

    Args:
        partner: from `ml.bidding.partners.PARTNERS`.
        cells: one row per cell of this partner: the columns of `CLICK_LEVELS`, `bid_micros` (per click, int),
            `previous_micros`, `upper_value_micros`, `weight` (expected clicks a day).
        economics: what is expected of a click, row by row.
        landscape: row by row; None: the language is fitted to the logs of the bids.
        guards: see `ml.bidding.guards.standard`.
        account: names and currency of the partner's account.
        currency: of the cells' money.
        rates: see `ml.bidding.language.convert`.
        cost_weight, value_micros: weight of cost and value of a click once the portfolio's limits have their prices
            (`ml.bidding.limits.at_prices`), so that the language's search keeps to them.
        exploration: how much is tried; needs a landscape, and a payment model other than a target.

    Raises:
        UsageError: the language cannot express a bid, a rate is missing, or the partner would refuse the file.
    """
    guarded = guard(cells, guards)
    if guarded.verdict is Verdict.FAIL:
        return PartnerBids(guarded.table, None, None, None, {}, Verdict.FAIL, guarded.reasons)
    model = payment_model(partner.payment_model)
    wanted = guarded.table[BID].to_numpy(dtype=float)
    instruction = instruct(model.name, wanted, economics)
    amount, rate = instruction.amount_micros.astype(float), 1.0
    ceiling_per_click = ceilings(guarded.table, guards)
    ceiling = instruct(model.name, ceiling_per_click, economics).amount_micros.astype(float)
    if model.name in _MONEY:
        rate = float(convert(np.ones(1), currency=currency, to=account.currency, rates=rates)[0])
        amount, ceiling = amount * rate, ceiling * rate
    one = model.per_click(np.full(len(cells), 1 / MICROS_PER_UNIT), economics) / rate
    # A target is a ratio, not an amount: what it buys is not in proportion to it, so that no search runs on it.
    linear = model.name != "troas"
    said = project(
        partner.language(cells),
        cells,
        amount,
        weights=cells["weight"].to_numpy(dtype=float),
        unit=model.unit,
        worth=Worth(landscape, one, value_micros, cost_weight) if landscape is not None and linear else None,
        ceiling_micros=ceiling if linear else None,
    )
    explored = None
    if exploration is not None and landscape is not None and linear:
        said, explored = _explore(said, cells, one, landscape, ceiling, exploration)
    per_click = said.amount_micros * one if linear else model.per_click(said.amount_micros / MICROS_PER_UNIT, economics)
    verdicts, reasons = [guarded.verdict], list(guarded.reasons)
    if said.language_loss > MAX_LANGUAGE_LOSS:
        verdicts.append(Verdict.HOLD)
        reasons.append(
            f"the bid language of {partner.name} loses {said.language_loss:.1%} of {said.loss_basis}, "
            f"more than {MAX_LANGUAGE_LOSS:.0%}"
        )
    unsaid = (wanted == 0) & (per_click > 0)
    if unsaid.any():
        reasons.append(f"{int(unsaid.sum())} of {len(cells)} cells are to have no bid, which a product cannot say")
    table = guarded.table.assign(
        wanted_micros=guarded.table[BID],
        bid_micros=np.floor(per_click + 1e-6).astype(np.int64),
        amount_micros=np.rint(said.amount_micros).astype(np.int64),
        explore_factor=1.0 if explored is None else explored.factor,
        explore_jitter=1.0 if explored is None else explored.jitter,
        explore_density=1.0 if explored is None else explored.density,
    )
    files = partner.files(said, cells, account)
    return PartnerBids(table, instruction, said, explored, files, worst(verdicts), tuple(reasons))


def _explore(
    said: Projection, cells: pd.DataFrame, one: Floats, landscape: Landscape, ceiling: Floats, how: Exploration
) -> tuple[Projection, Explored]:
    """Base bids moved by what is tried, on the partner's steps; a base whose cells would pass a ceiling stays."""
    language = said.language
    names = cells[language.base_column].astype(str)
    draws = None
    if how.observed is not None and how.expected is not None:
        draws = thompson_hotels(names.tolist(), how.observed, how.expected, how.period, how.policy)
    per_click = said.amount_micros * one
    found = explore(per_click, names.tolist(), landscape, how.policy, period=how.period, draws=draws)
    codes = pd.Index(said.base[language.base_column].astype(str)).get_indexer(pd.Index(names))
    before = said.base["amount_micros"].to_numpy(dtype=float)
    asked = np.ones(len(before))
    asked[codes] = found.factor
    step = language.base_step_micros
    after = np.clip(np.rint(before * asked / step) * step, language.base_low_micros, language.base_high_micros)
    after = np.where(before > 0, after, 0.0)
    ratio = np.divide(after, before, out=np.ones(len(before)), where=before > 0)
    limit = np.minimum(np.where(ceiling > 0, ceiling, np.inf), language.max_amount_micros)
    over = np.unique(codes[(said.amount_micros * ratio[codes] > limit) & (ratio[codes] > 1)])
    ratio[over], after[over] = 1.0, before[over]
    factor = ratio[codes]
    moved = replace(
        said,
        base=said.base.assign(amount_micros=after.astype(np.int64)),
        amount_micros=said.amount_micros * factor,
    )
    return moved, rounded(found, per_click, factor, landscape)
