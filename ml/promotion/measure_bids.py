"""Evidence about two sets of bids in the auctions of the last days, all measured by one `ml.promotion.yardstick`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ml.evaluation.interval import LEVEL, Interval
from ml.promotion.evidence_bids import LandscapeCheck, OffPolicy, Replay
from ml.promotion.yardstick import Auctions, Belief, Floats, Ints, Promise, Yardstick

if TYPE_CHECKING:
    from ml.models.response import Response

DRAWS = 400
HEAVIEST = 5.0
"""No logged click weighs more: one that was all but impossible at the logged bid says that the curve is wrong there, and would
speak for hundreds."""


def measure_replay(
    auctions: Auctions,
    yardstick: Yardstick,
    belief: Belief,
    *,
    candidate: tuple[Floats, Promise],
    champion: tuple[Floats, Promise],
    take_share: float,
    budget_micros: float | None,
    cap: float,
    margin: float,
    seed: int,
) -> Replay:
    """Every auction once more, with the bids of both.

    Each day has `budget_micros`, or without one `cap` times what the dearer of the two would spend on it. The auctions of a day come in
    their order, and what comes after the budget is spent is lost.

    Args:
        auctions: of the last days.
        yardstick: how the market answers.
        belief: what a click is worth.
        candidate, champion: bids per click in micros, shape (cells,), and what each says.
        take_share: what a booking earns of its net value.
        budget_micros: of a day, the same for both.
        cap: the setting `spend_cap`.
        margin: a loss of more than this share of the champion's profit is counted in `worse_by_margin`.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    corners = _corners(candidate[1], champion[1], take_share=take_share)
    spends = [_days(auctions, yardstick.at(bids)[1]) for bids in (candidate[0], champion[0])]
    budget = np.maximum(*spends) * cap if budget_micros is None else np.full(auctions.days, budget_micros)
    earned, spent = zip(
        *(_played(auctions, yardstick, bids, corners, budget) for bids in (candidate[0], champion[0])), strict=True
    )
    books, keeps, scale = belief.draws(rng, DRAWS)
    mixed = np.stack([books * keeps, books * (1 - keeps), (1 - books) * keeps, (1 - books) * (1 - keeps)], axis=1)
    drawn = rng.multinomial(auctions.days, np.full(auctions.days, 1 / auctions.days), size=DRAWS).astype(np.float64)
    profits = [
        ((drawn @ one.T) * mixed).sum(axis=1) * scale - drawn @ cost for one, cost in zip(earned, spent, strict=True)
    ]
    mean = _corner_weights(belief)
    ours, theirs = (
        float(mean @ one.sum(axis=1) * belief.scale - cost.sum()) for one, cost in zip(earned, spent, strict=True)
    )
    base = max(theirs, 0.1 * float(mean @ earned[1].sum(axis=1)) * belief.scale, 1.0)
    bases = np.maximum(profits[1], 0.1 * base)
    gains = (profits[0] - profits[1]) / bases
    low, high = np.quantile(gains, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Replay(
        days=auctions.days,
        auctions=len(auctions),
        trust=belief.trust,
        scale=belief.scale,
        candidate_profit_micros=ours / auctions.days,
        champion_profit_micros=theirs / auctions.days,
        budget_micros=float(budget.mean()),
        candidate_spend_micros=float(spends[0].mean()),
        champion_spend_micros=float(spends[1].mean()),
        gain=Interval(float(low), (ours - theirs) / base, float(high), blocks=auctions.days, rows=len(auctions)),
        worse_by_margin=float((gains < -margin).mean()),
    )


def measure_off_policy(
    auctions: Auctions,
    yardstick: Yardstick,
    *,
    value_micros: Floats,
    candidate_micros: Floats,
    champion_micros: Floats,
    seed: int,
) -> OffPolicy:
    """SNIPS and DR of the profit of both, from auctions whose clicks have matured.

    Whether a fixed bid wins a click is chance, because rivals' bids are: the yardstick's probability of a click is the
    propensity (`ml.evaluation.off_policy`, `landscape_weights`). Rewards are realised; the price is the yardstick's.

    Args:
        auctions: whose bookings are known.
        yardstick: its worth is the model of the reward.
        value_micros: what came of each click, in micros, 0 without a booking; shape (auctions,).
        candidate_micros, champion_micros: bids; shape (cells,).
        seed: of the resampling.
    """
    from ml.evaluation.off_policy import difference, doubly_robust, landscape_weights, snips

    likely = np.clip(yardstick.of(auctions.cell, auctions.bid_micros)[0], 1e-6, 1 - 1e-6)
    won = auctions.clicked.astype(np.float64)
    model = yardstick.worth_micros[auctions.cell]
    found, costs, weights, chances = {}, [], [], []
    for name, bids in (("candidate", candidate_micros), ("champion", champion_micros)):
        clicks, cost = yardstick.at(bids)
        chance = np.clip(clicks, 0.0, 1 - 1e-6)[auctions.cell]
        logged = np.maximum(likely, chance / HEAVIEST)
        weight = landscape_weights(won, target=chance, logged=logged)
        found[name] = (
            snips(won * value_micros, weight, seed=seed, blocks=auctions.hotel),
            doubly_robust(
                won * value_micros, weight, model_target=chance * model, model_logged=won * model,
                seed=seed, blocks=auctions.hotel,
            ),
        )  # fmt: skip
        costs.append(cost[auctions.cell])
        weights.append(weight.values[auctions.clicked])
        chances.append(chance)
    clicks_seen = int(auctions.clicked.sum())
    ess = [float(w.sum() ** 2 / max(np.square(w).sum(), 1e-300)) / max(clicks_seen, 1) for w in weights]
    mean = weights[0].sum() / max(float(chances[0].sum()), 1e-300)
    bounds: list[Interval | None] = []
    base = _base(found["champion"][1].value, costs[1])
    for ours, theirs in zip(found["candidate"], found["champion"], strict=True):
        gain = difference(ours, theirs, seed=seed, blocks=auctions.hotel)
        dearer = float(costs[0].mean() - costs[1].mean())
        bounds.append(None if gain is None or base is None else _shifted(gain, -dearer, base))
    return OffPolicy(clicks=clicks_seen, ess_share=min(ess), mean_weight=float(mean), snips=bounds[0], dr=bounds[1])


def measure_landscape(
    auctions: Auctions, response: Response, codes: Ints, worth_micros: Floats, partners: Ints, *, seed: int
) -> LandscapeCheck:
    """Clicks and cost that curves learned elsewhere expect of these auctions, over those that came.

    Args:
        auctions: whose bids were moved at random.
        response: learned from other auctions.
        codes: the kind of each cell, below 0 where no curve is known; shape (cells,).
        worth_micros: of a click, as the candidate has it; shape (cells,).
        partners: the partner of each cell; shape (cells,).
        seed: of the resampling.
    """
    from scipy.stats import poisson

    from ml.evaluation.paired import ratio_bootstrap

    known = auctions.take(codes[auctions.cell] >= 0)
    clicks, cost = Yardstick(response, codes, worth_micros).of(known.cell, known.bid_micros)
    came = known.clicked.astype(np.float64)
    group = partners[known.cell] * max(known.days, 1) + known.day
    names, code = np.unique(group, return_inverse=True)
    expected, seen = (np.bincount(code, values, minlength=len(names)) for values in (clicks, came))
    enough = expected >= 5
    within = (seen >= poisson.ppf(0.1, expected)) & (seen <= poisson.ppf(0.9, expected))
    return LandscapeCheck(
        auctions=len(known),
        days=len(np.unique(known.day)),
        clicks=ratio_bootstrap(clicks, came, known.hotel, seed=seed),
        cost=ratio_bootstrap(cost, known.cost_micros, known.hotel, seed=seed),
        groups=int(enough.sum()),
        covered=float(within[enough].mean()) if enough.any() else None,
    )


def _played(
    auctions: Auctions, yardstick: Yardstick, bids: Floats, corners: Sequence[Floats], budget: Floats
) -> tuple[Floats, Floats]:
    """What each day earned by each corner's worth, shape (corners, days), and spent, shape (days,)."""
    clicks, cost = yardstick.at(bids)
    each = cost[auctions.cell]
    before = np.cumsum(each) - each
    starts = np.searchsorted(auctions.day, np.arange(auctions.days))
    left = budget[auctions.day] - (before - before[starts][auctions.day])
    bought = np.clip(np.divide(left, each, out=np.ones(len(each)), where=each > 0), 0.0, 1.0)
    spent = np.bincount(auctions.day, each * bought, minlength=auctions.days)
    won = np.bincount(auctions.day * len(bids) + auctions.cell, bought, minlength=auctions.days * len(bids))
    by_cell = won.reshape(auctions.days, len(bids)) * clicks
    return np.stack([by_cell @ worth for worth in corners]), spent.astype(np.float64)


def _corners(candidate: Promise, champion: Promise, *, take_share: float) -> list[Floats]:
    """Worth of a click by each pair of conversion and value model, the candidate's first; micros, (cells,) each."""
    return [
        books * keeps * take_share
        for books in (candidate.p_book, champion.p_book)
        for keeps in (candidate.net_value_micros, champion.net_value_micros)
    ]


def _corner_weights(belief: Belief) -> Floats:
    a, b = belief.trust, belief.trust_value
    return np.array([a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)])


def _days(auctions: Auctions, per_auction: Floats) -> Floats:
    return np.bincount(auctions.day, per_auction[auctions.cell], minlength=auctions.days).astype(np.float64)


def _base(value: float | None, costs: Floats) -> float | None:
    """The champion's profit per auction, no less than a tenth of its revenue."""
    if value is None or value <= 0:
        return None
    return max(value - float(costs.mean()), 0.1 * value)


def _shifted(found: Interval, by: float, base: float) -> Interval:
    low, mid, high = ((bound + by) / base for bound in (found.low, found.mid, found.high))
    return Interval(low, mid, high, blocks=found.blocks, rows=found.rows, level=found.level)
