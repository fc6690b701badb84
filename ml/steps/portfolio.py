"""The bids that are wanted: the whole of all partners' cells, optimised on how the market answers to bids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.core.units import known_by
from ml.steps.rows import TRAFFIC_DAYS, held_days

if TYPE_CHECKING:
    import pandas as pd

    from ml.bidding.landscape import Floats, Landscape
    from ml.bidding.limits import Limits
    from ml.bidding.policy import BidPolicy
    from ml.core.settings import Settings
    from ml.models.response import Response
    from ml.platform import Platform

LOWEST_MICROS, LEVEL_STEP = 10_000, 1.12
"""Lowest bid level that is weighed, and the ratio from one level to the next, up to the policy's cap."""

BANDS = 5
"""Cells of a partner and device are told apart by the worth of a click, in at most so many equal parts of the traffic: a
reserve price is high for cheap clicks and nothing for dear ones."""

CLICKS_OF_A_CURVE, CLICKS_OF_A_PRICE = 60.0, 60.0
"""A band has at least so many clicks to learn its curve, or what a click costs in it, from. Few will do: places count with
their probability of a click, which has little noise, and of a pooled curve the reserve price is blurred."""


@dataclass(frozen=True)
class Wanted:
    """Bids before any limit on their change, and what they rest on.

    Attributes:
        bids_micros: per click; shape (n,).
        landscape: expected clicks and cost a day of each cell at each level; None where the market's response is not
            known well enough, so that a share of the worth is bid.
        value_micros, cost_weight: worth of a click and weight of its cost once the limits have their prices; (n,) each.
        said: what a person should know of it, as plain values.
        searched: whether the words too are searched for the landscape's profit, and not fitted to the bids alone.
    """

    bids_micros: Floats
    landscape: Landscape | None
    value_micros: Floats
    cost_weight: Floats
    said: dict[str, Any]
    searched: bool = True


SHARE_OF_WORTH = "share_of_worth"


def portfolio_limits(settings: Settings) -> Limits:
    """The budget and the floor of all partners together."""
    from ml.bidding.limits import Limits

    return Limits(daily_budget_micros=settings.daily_budget_micros, poas_floor=settings.poas_floor)


def no_limits(settings: Settings) -> Limits:  # noqa: ARG001  (the signature of a strategy)
    """Every cell at its own best bid: right only where neither a budget nor a floor is set."""
    from ml.bidding.limits import Limits

    return Limits()


STRATEGIES: Mapping[str, Callable[[Settings], Limits]] = {
    "portfolio": portfolio_limits,
    "each_cell": no_limits,
    SHARE_OF_WORTH: portfolio_limits,
}
"""What the bids that are wanted keep to, by the setting `bid_strategy`. With `share_of_worth` the same share of every
click's worth is bid, whatever is known of how the market answers, and no limit is looked at."""


def wanted_bids(
    platform: Platform, day: date, cells: pd.DataFrame, traffic: pd.DataFrame, *, policy: BidPolicy
) -> Wanted:
    """The bid per click that each cell should have from what was known by the end of `day`.

    Args:
        platform: the platform.
        day: the market day.
        cells: from `ml.bidding.worth.click_cells`, of every partner.
        traffic: the scored traffic that they were made of, with `opportunity_id` and `p_click`.
        policy: cap, and the share of the worth that is bid where nothing better is known.

    Raises:
        UsageError: a budget or floor cannot hold; it is named, with the nearest that can, and nothing is published.
    """
    worth = worth_of(platform, cells)
    return wanted_on(
        platform, day, cells, auctions_of(platform, day, cells.assign(worth_micros=worth), traffic), policy=policy
    )


def worth_of(platform: Platform, cells: pd.DataFrame) -> Floats:
    """What a click of each cell earns before its cost, in micros; shape (n,)."""
    p_book, net_value = (cells[name].to_numpy(dtype=float) for name in ("p_book", "net_value_micros"))
    return np.asarray(p_book * net_value * platform.settings.take_share, dtype=np.float64)


def wanted_on(
    platform: Platform, day: date, cells: pd.DataFrame, auctions: pd.DataFrame | None, *, policy: BidPolicy
) -> Wanted:
    """`wanted_bids` on auctions that were read already: those of `auctions_of` for these cells.

    Raises:
        UsageError: a budget or floor cannot hold; it is named, with the nearest that can, and nothing is published.
    """
    from ml.bidding.limits import at_prices
    from ml.bidding.portfolio import optimise
    from ml.models.response import Response

    settings = platform.settings
    p_book, net_value = (cells[name].to_numpy(dtype=float) for name in ("p_book", "net_value_micros"))
    worth = worth_of(platform, cells)
    priced = cells.assign(worth_micros=worth)

    def share_of_worth(because: str) -> Wanted:
        return Wanted(policy.share_of_worth(net_value, p_book), None, worth, np.ones(len(cells)), {"response": because})

    if auctions is None:
        return share_of_worth("no auctions with a click model yet")
    kinds, auctions = kinds_of(priced, auctions)
    response = Response.fit(auctions)
    codes = codes_of(response, kinds)
    if (codes < 0).all():
        return share_of_worth("too few clicks to know it yet")
    eligible = _eligible(cells, auctions, days_seen(platform, day))
    # What the other auctions of the partner come to: their cells take the bids of the nearest coarser ones.
    eligible = eligible / cells["partner"].map(auctions.groupby("partner")["in_cells"].first()).fillna(1.0).to_numpy()
    landscape = landscape_of(response, codes, worth, eligible, policy=policy)
    if settings.bid_strategy == SHARE_OF_WORTH:
        plain = share_of_worth("learned, and not asked: a share of the worth is bid")
        return replace(plain, landscape=landscape, searched=False)
    limits = STRATEGIES[settings.bid_strategy](settings)
    allocation = optimise(landscape, limits)
    value, weight = at_prices(limits, landscape, allocation.prices)
    profit, cost = float(allocation.profit_micros.sum()), float(allocation.cost_micros.sum())
    return Wanted(
        allocation.bids_micros,
        landscape,
        value,
        weight,
        {
            "response": "learned",
            "best_shares": {
                kind: round(float(best), 3) for kind, best in zip(response.kinds, response.best(), strict=True)
            },
            "expected_clicks": round(float(allocation.clicks.sum()), 1),
            "expected_cost_micros": round(cost),
            "expected_profit_micros": round(profit),
            "prices": {name: round(price, 6) for name, price in allocation.prices.items()},
        },
    )


def auctions_of(platform: Platform, day: date, cells: pd.DataFrame, traffic: pd.DataFrame) -> pd.DataFrame | None:
    """Every auction of the recent days with its cell's `worth_micros` and the click probability of the place we had.

    None where the scored traffic has no click probabilities. Auctions whose cell was never shown are left out: nobody
    knows what a click would be worth there. `in_cells` is the share of the partner's auctions that stayed.
    """
    from ml.bidding.worth import CLICK_LEVELS
    from ml.features.traffic_rows import auction_rows

    if "p_click" not in traffic:
        return None
    rows = auction_rows(
        platform.lake,
        first=day - timedelta(days=TRAFFIC_DAYS - 1),
        last=day,
        as_of=known_by(day),
        exclude_days=held_days(platform, day),
    )
    every = rows.groupby("partner").size()
    rows = rows.merge(cells[[*CLICK_LEVELS, "worth_micros"]], on=list(CLICK_LEVELS), how="inner", validate="m:1")
    rows = rows.assign(in_cells=rows["partner"].map(rows.groupby("partner").size() / every).astype(float))
    p_click = traffic.set_index("opportunity_id")["p_click"].reindex(rows["opportunity_id"]).fillna(0.0)
    return rows.assign(p_click=np.where(rows["shown"], p_click.to_numpy(dtype=float), 0.0))


def kinds_of(cells: pd.DataFrame, auctions: pd.DataFrame) -> tuple[pd.Series[str], pd.DataFrame]:
    """The kind of each cell and of each auction (partner, device, and band of the worth of a click) and, of the auctions,
    the coarser kind whose prices are learned together (partner and band of its own)."""
    curves = _edges(auctions, ["partner", "device"], auctions["p_click"], least=CLICKS_OF_A_CURVE)
    prices = _edges(auctions, ["partner"], auctions["clicked"], least=CLICKS_OF_A_PRICE)
    return _bands(cells, ["partner", "device"], curves), auctions.assign(
        kind=_bands(auctions, ["partner", "device"], curves), price_kind=_bands(auctions, ["partner"], prices)
    )


def _edges(auctions: pd.DataFrame, columns: list[str], clicks: pd.Series[Any], *, least: float) -> dict[Any, Floats]:
    """Where the bands of worth of each group end: at most `BANDS` of equally many auctions, each with `least` clicks."""
    found = {}
    for key, own in auctions.groupby(columns)["worth_micros"]:
        number = int(np.clip(float(clicks.loc[own.index].sum()) / least, 1, BANDS))
        found[key] = np.quantile(own.to_numpy(dtype=float), np.linspace(0, 1, number + 1)[1:-1])
    return found


def _bands(rows: pd.DataFrame, columns: list[str], edges: dict[Any, Floats]) -> pd.Series[Any]:
    """Names of each row's group and band, parted by blanks; band 0 where its group had no auction."""
    import pandas as pd

    worth = rows["worth_micros"].to_numpy(dtype=float)
    names = np.empty(len(rows), dtype=object)
    for key, place in rows.groupby(columns, observed=True).indices.items():
        parts = key if isinstance(key, tuple) else (key,)
        found = edges.get(tuple(parts))
        band = np.zeros(len(place), dtype=np.int64) if found is None else np.searchsorted(found, worth[place])
        told = np.array([" ".join([*map(str, parts), str(number)]) for number in range(BANDS + 1)], dtype=object)
        names[place] = told[band]
    return pd.Series(names, index=rows.index)


def landscape_of(response: Response, codes: Any, worth: Floats, eligible: Floats, *, policy: BidPolicy) -> Landscape:
    """The landscape of each cell: its kind's curve, at its own worth, for its own traffic.

    Args:
        response: of the market.
        codes: the kind of each cell; shape (n,).
        worth: of a click, in micros; shape (n,).
        eligible: auctions a day; shape (n,).
        policy: its cap ends the levels.
    """
    from ml.bidding.landscape import Landscape

    count = int(np.log(policy.max_bid_micros / LOWEST_MICROS) / np.log(LEVEL_STEP)) + 1
    levels = LOWEST_MICROS * LEVEL_STEP ** np.arange(count, dtype=float)
    ratio = levels[None, :] / np.maximum(worth, 1.0)[:, None]
    clicks, cost = response.at(codes, ratio)
    clicks, cost = clicks * eligible[:, None], cost * (eligible * worth)[:, None]
    return Landscape(levels, np.maximum.accumulate(clicks, axis=1), np.maximum.accumulate(cost, axis=1), worth)


def days_seen(platform: Platform, day: date) -> int:
    """How many market days the recent auctions are of: those that landed and are not held, at least 1."""
    first, held = day - timedelta(days=TRAFFIC_DAYS - 1), held_days(platform, day)
    return max(sum(first <= landed <= day and landed not in held for landed in platform.lake.days("opportunities")), 1)


def _eligible(cells: pd.DataFrame, auctions: pd.DataFrame, days: int) -> Floats:
    """Auctions a day of each cell, from those of so many days; shape (n,)."""
    from ml.bidding.worth import CLICK_LEVELS

    counts = auctions.groupby(list(CLICK_LEVELS), observed=True).size().rename("auctions").reset_index()
    found = cells[list(CLICK_LEVELS)].merge(counts, on=list(CLICK_LEVELS), how="left", validate="1:1")["auctions"]
    return found.fillna(0.0).to_numpy(dtype=float) / days


def codes_of(response: Response, kinds: pd.Series[str]) -> Any:
    """The number of each cell's curve, that of the nearest kind where its own has none; all -1 where there is no curve."""
    codes = response.codes(kinds)
    return np.where(codes < 0, _nearest(response, kinds), codes) if (codes >= 0).any() else codes


def _nearest(response: Response, kinds: pd.Series[str]) -> Any:
    """For each kind the known one that shares most with it: the partner first, then the device, then the band."""

    def alike(known: str, wanted: str) -> int:
        same = [a == b for a, b in zip(known.rsplit(" ", 2), wanted.rsplit(" ", 2), strict=True)]
        return 4 * same[0] + 2 * same[1] + same[2]

    best = {kind: int(np.argmax([alike(known, kind) for known in response.kinds])) for kind in kinds.unique().tolist()}
    return kinds.map(best).to_numpy(dtype=np.int64)
