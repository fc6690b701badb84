"""How the market answers to bids: clicks and cost of an auction as functions of the bid over what a click is worth.

A cell of a hotel's traffic sees a click in a month; its own landscape (`ml.models.landscape`) cannot be learned. What
rivals bid grows with what a click is worth, so that cells of the same kind have nearly one curve in bid over worth. It is
learned from all auctions, lost ones too, by isotonic regression (Barlow et al. 1972): no form is assumed, since a low bid
may win the last place at the reserve price where few rivals bid, which no smooth win curve shows. A won place counts with
its probability of a click (`p_click`), far less noisy than the click itself; what a click costs is counted as charged.

Nothing was seen beyond the bids that were tried. Below them clicks go on falling as they did; above them the curves are
pessimistic, so that no bid goes where nobody knows: clicks stay, and their cost grows with the bid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.core.errors import UsageError
from ml.models.numbers import Floats, Ints

RATIOS: Floats = np.geomspace(0.04, 4.0, 116)
"""Bids over worth at which the curves are told, 4 % apart."""

MIN_CLICKS = 60.0
"""Expected clicks of a kind of cells below which its curve is not told."""

CLICK_BINS, PRICE_BINS = 32, 12

EDGE = 10
"""The lowest and the highest tenth of the bids that were tried say too little of their ends to bid there."""

BANDWIDTH = 0.15
"""Standard deviation, in the logarithm of the bid, over which curves are smoothed."""

FALLS = (0.3, 2.0)
"""Clicks fall below the bids that were tried at least with the 0.3th power of the bid, and at most with its square."""

_COLUMNS = ("kind", "price_kind", "bid_micros", "worth_micros", "p_click", "clicked", "cpc_micros")


@dataclass(frozen=True)
class Response:
    """The curves of each kind of cells.

    Attributes:
        kinds: their names, sorted.
        clicks: expected clicks of one auction at each of `RATIOS`, non-decreasing; shape (kinds, ratios).
        cost: expected cost of one auction, in units of the worth of a click, non-decreasing; the same shape.
        seen: expected clicks that each curve was learned from; shape (kinds,).
        reach: lowest and highest bid over worth between which something was seen; shape (kinds, 2).
    """

    kinds: tuple[str, ...]
    clicks: Floats
    cost: Floats
    seen: Floats
    reach: Floats

    @classmethod
    def fit(cls, auctions: pd.DataFrame) -> Response:
        """Learn the curves; kinds with less than `MIN_CLICKS` are left out.

        Args:
            auctions: one row per auction that we could have won: `kind` of cell and the coarser `price_kind`, `bid_micros`,
                `worth_micros` (of a click, of the cell), `p_click` (expected of the place we had; 0 where we were not
                shown), `clicked` and `cpc_micros` (what the click cost; anything where there was none). Rows without
                bid or worth say nothing.

        Raises:
            UsageError: a column is missing, or a number is not finite.
        """
        rows = _usable(auctions)
        prices = {str(kind): _price(own) for kind, own in rows[rows["clicked"]].groupby("price_kind", sort=True)}
        told = [
            (str(kind), str(own["price_kind"].iloc[0]), own)
            for kind, own in rows.groupby("kind", sort=True)
            if own["clicks"].sum() >= MIN_CLICKS and str(own["price_kind"].iloc[0]) in prices
        ]
        curves = [_curves(own, prices[price_kind]) for _, price_kind, own in told]
        wide = (0, len(RATIOS))
        return cls(
            tuple(kind for kind, _, _ in told),
            np.array([curve[0] for curve in curves]).reshape(-1, wide[1]),
            np.array([curve[1] for curve in curves]).reshape(-1, wide[1]),
            np.array([own["clicks"].sum() for _, _, own in told], dtype=np.float64),
            np.array([curve[2] for curve in curves], dtype=np.float64).reshape(-1, 2),
        )

    def codes(self, kinds: pd.Series[str]) -> Ints:
        """The number of each row's kind, -1 where there is no curve; shape (n,)."""
        return pd.Index(self.kinds).get_indexer(pd.Index(kinds.astype(str))).astype(np.int64)

    def at(self, codes: Ints, ratio: Floats) -> tuple[Floats, Floats]:
        """Clicks and cost (in units of worth) of one auction at bids over worth, each of the shape of `ratio`, (n, levels).

        Between `RATIOS` linear in the logarithm of the bid; beyond them as pessimistic as beyond what was seen.
        """
        place = np.interp(np.log(np.maximum(ratio, 1e-12)), np.log(RATIOS), np.arange(len(RATIOS)))
        low = np.minimum(place.astype(np.int64), len(RATIOS) - 2)
        share = place - low
        found = []
        for table in (self.clicks, self.cost):
            left, right = table[codes[:, None], low], table[codes[:, None], low + 1]
            found.append(left + share * (right - left))
        under, over = np.minimum(ratio / RATIOS[0], 1.0) ** 2, np.maximum(ratio / RATIOS[-1], 1.0)
        return found[0] * under, found[1] * under * over

    def best(self) -> Floats:
        """The bid over worth that earns most in each kind, were every click worth what is thought; shape (kinds,)."""
        return np.asarray(RATIOS[(self.clicks - self.cost).argmax(axis=1)], dtype=np.float64)


def _usable(auctions: pd.DataFrame) -> pd.DataFrame:
    """Rows that say something: kinds, logarithm of bid over worth, clicks, and the price of a click over worth."""
    missing = [name for name in _COLUMNS if name not in auctions.columns]
    if missing:
        raise UsageError(f"the market's response needs the column {missing[0]!r}", next="give auctions with it")
    bid, worth, p_click = (auctions[name].to_numpy(dtype=float) for name in ("bid_micros", "worth_micros", "p_click"))
    if not (np.isfinite(bid).all() and np.isfinite(worth).all() and np.isfinite(p_click).all()):
        raise UsageError("a bid, a worth or a probability of an auction is not finite", next="drop such rows")
    clicked = auctions["clicked"].to_numpy(dtype=bool)
    cpc = np.where(clicked, auctions["cpc_micros"].to_numpy(dtype=float, na_value=0.0), 0.0)
    use = (bid > 0) & (worth > 0)
    return pd.DataFrame(
        {
            "kind": auctions["kind"].to_numpy()[use],
            "price_kind": auctions["price_kind"].to_numpy()[use],
            "log_ratio": np.log(bid[use] / worth[use]),
            "clicks": p_click[use],
            "clicked": clicked[use],
            "price": cpc[use] / worth[use],
        }
    )


def _price(clicks: pd.DataFrame) -> tuple[Floats, Floats]:
    """Logarithm of bid over worth, rising, and what a click costs there over worth, non-decreasing."""
    return _isotonic(clicks["log_ratio"].to_numpy(), clicks["price"].to_numpy(), bins=PRICE_BINS)


def _curves(own: pd.DataFrame, price: tuple[Floats, Floats]) -> tuple[Floats, Floats, tuple[float, float]]:
    """Clicks and cost of an auction at `RATIOS`, and the reach of what was seen."""
    centres, clicks = _isotonic(own["log_ratio"].to_numpy(), own["clicks"].to_numpy(), bins=CLICK_BINS)
    edge = len(centres) // EDGE
    centres, clicks = centres[edge : len(centres) - edge], clicks[edge : len(clicks) - edge]
    x = np.log(RATIOS)
    low, high = float(centres[0]), float(centres[-1])
    seen = _smooth(np.interp(x, centres, clicks))
    expected = seen * np.exp(_fall(centres, clicks) * np.minimum(x - low, 0.0))
    over = np.exp(np.maximum(x - high, 0.0))
    paid = _smooth(np.interp(np.clip(x, low, high), *price))
    cost = np.maximum.accumulate(expected * np.minimum(paid * over, RATIOS))
    return expected, cost, (float(np.exp(low)), float(np.exp(high)))


def _fall(centres: Floats, clicks: Floats) -> float:
    """The power of the bid with which clicks fall below what was seen: that of the lowest third, within `FALLS`."""
    last = max(len(centres) // 3, 1)
    if len(centres) < 2 or clicks[0] <= 0:
        return FALLS[1]
    slope = np.log(clicks[last] / clicks[0]) / (centres[last] - centres[0])
    return float(np.clip(slope, *FALLS))


def _smooth(curve: Floats) -> Floats:
    """A non-decreasing curve at `RATIOS` without the steps of an isotonic fit: means under a Gaussian; still rising."""
    step = float(np.log(RATIOS[1] / RATIOS[0]))
    reach = int(3 * BANDWIDTH / step)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / BANDWIDTH) ** 2)
    return np.convolve(np.pad(curve, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def _isotonic(x: Floats, y: Floats, *, bins: int) -> tuple[Floats, Floats]:
    """Centres of bins of equally many rows and the non-decreasing means there nearest to those seen."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(x, kind="stable")
    parts = np.array_split(order, max(min(bins, len(order) // 10), 1))
    centres = np.array([x[part].mean() for part in parts])
    means = np.array([y[part].mean() for part in parts])
    rising = isotonic_regression(means, weights=[len(part) for part in parts]).x
    return centres, np.asarray(rising, dtype=np.float64)
