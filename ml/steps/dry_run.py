"""Every partner's files of a candidate's bids, built and checked, and sent to nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from ml.bidding.say import SaidBids
    from ml.platform import Platform
    from ml.promotion.evidence_bids import DryRun
    from ml.steps.portfolio import Wanted


def dry_run(platform: Platform, shipped: Platform, day: date, cells: pd.DataFrame, wanted: Wanted) -> list[DryRun]:
    """One answer for each partner with cells: whether its own checks take the files, and what is lost on the way.

    Args:
        platform: the platform, whose accounts read the files.
        shipped: the same under the bid settings of the candidate, which the files are made under.
        day: the market day.
        cells: of every partner.
        wanted: the bids for them.
    """
    from ml.core.errors import UsageError
    from ml.promotion.evidence_bids import DryRun
    from ml.steps.publish import bid_policy, said_bids

    policy = bid_policy(shipped)
    clipped = _clipped(cells, wanted, policy.max_bid_micros)
    runs = []
    for partner in platform.source.partners:
        own = (cells["partner"] == partner).to_numpy()
        if not own.any():
            continue
        mine = cells[own].reset_index(drop=True)
        alone = replace(
            wanted,
            bids_micros=wanted.bids_micros[own],
            landscape=None if wanted.landscape is None else wanted.landscape.rows(own),
            value_micros=wanted.value_micros[own],
            cost_weight=wanted.cost_weight[own],
        )
        try:
            said = said_bids(shipped, day, mine, alone, policy=policy, limit_change=False)[partner]
        except UsageError as error:
            runs.append(DryRun(partner, refusal=str(error), files=0, clipped_share=clipped[partner]))
            continue
        runs.append(
            DryRun(
                partner,
                refusal="; ".join(said.reasons) if said.verdict == "FAIL" else "",
                language_loss=said.language_loss,
                clipped_share=clipped[partner],
                unit_error=_unit_error(platform, partner, said),
                files=len(said.files),
            )
        )
    return runs


def _clipped(cells: pd.DataFrame, wanted: Wanted, cap: int) -> dict[str, float]:
    """Share of each partner's spend that is bid at the cap: at the portfolio's highest level, for it has none above."""
    from ml.steps.portfolio import LEVEL_STEP

    weight = cells["clicks_seen"].to_numpy(dtype=float) * wanted.bids_micros
    at_cap = (wanted.bids_micros >= cap / LEVEL_STEP).astype(float)
    found = {}
    for partner in cells["partner"].unique():
        own = (cells["partner"] == partner).to_numpy()
        total = float(weight[own].sum())
        found[str(partner)] = float(weight[own] @ at_cap[own]) / total if total > 0 else 0.0
    return found


def _unit_error(platform: Platform, partner: str, said: SaidBids) -> float | None:
    """The bids per click that the files say, against those of the table: the median over the bids of each length of stay, and
    the worst of these."""
    from ml.bidding.partners.read_back import read_back

    amounts = read_back(partner, said.files, said.table)
    if amounts is None:
        return None
    per_click = amounts * _one(platform, partner, said.table)
    bids = said.table["bid_micros"].to_numpy(dtype=float)
    there = (bids > 0) & (per_click > 0)
    off = np.abs(per_click[there] / bids[there] - 1)
    groups = said.table["los_bucket"].to_numpy(dtype=object)[there]
    return max((float(np.median(off[groups == name])) for name in np.unique(groups)), default=0.0)


def _one(platform: Platform, partner: str, table: pd.DataFrame) -> Any:
    """A click's bid in the market's currency for one unit of what the partner's files state, by the definition of its unit."""
    from ml.bidding.partners import PARTNERS
    from ml.market.buckets import LOS_BUCKETS, LOS_MIDDLES

    settings = platform.settings
    rate = 1.0
    if settings.bids_in != settings.currency:
        rate = settings.rates[(settings.currency, settings.bids_in)]
    nights = table["los_bucket"].map(dict(zip(LOS_BUCKETS, LOS_MIDDLES, strict=True))).to_numpy(dtype=float)
    unit = {"cpc_fixed_night": nights, "cpc_fixed_click": np.ones(len(table))}[PARTNERS[partner].payment_model]
    return unit / rate


def published_losses(platform: Platform, day: date) -> dict[str, float]:
    """Language loss of the champion's bids, by partner, as last published."""
    from ml.ledger import stages

    for age in range(8):
        record = stages.get(platform.db, stages.StageKey(platform.market, "publish", day - timedelta(days=age)))
        losses = record.result.get("language_loss") if record else None
        if losses:
            return {str(name): float(loss) for name, loss in losses.items() if loss is not None}
    return {}
