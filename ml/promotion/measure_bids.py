"""Evidence about bids from arrays: the auctions of the last days, one response of the market, and two sets of bids.

Both sets are held against the same response, learned on a worth of clicks that belongs to neither: candidate and champion
are each believed as far as the matured outcomes of the holdout speak for them, and the whole is scaled to what came. A
candidate is so judged by no model alone, least of all by its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ml.evaluation.interval import LEVEL, Interval
from ml.evaluation.metrics import log_losses, value_deviances
from ml.promotion.evidence_bids import Constraints, LandscapeCheck, OffPolicy, Replay, Shock, Stress

if TYPE_CHECKING:
    from ml.models.response import Response

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

GRID: Floats = np.linspace(0.0, 1.0, 21)
"""Shares of belief in the candidate that are weighed."""

DRAWS = 400
PRIOR_BOOKINGS = 25.0
"""Weight, in bookings, of the models' own level against what came."""

SHOCKS: Mapping[str, tuple[float, float, float, float]] = {
    "rivals bid 30 % more": (1.3, 1.0, 1.0, 1.0),
    "rivals bid 30 % less": (0.7, 1.0, 1.0, 1.0),
    "conversion falls by 30 %": (1.0, 0.7, 1.0, 1.0),
    "a click costs half as much again": (1.0, 1.0, 1.5, 1.0),
    "demand doubles": (1.0, 1.0, 1.0, 2.0),
}
"""By name: factor of rivals' prices, of the value of a click, of what a click costs, and of the number of auctions."""

WEEKS, WEEK_DAYS = 200, 7

HEAVIEST = 5.0
"""No logged click weighs more: one that was all but impossible at the logged bid says that the curve is wrong there, and would
speak for hundreds."""


@dataclass(frozen=True)
class Auctions:
    """Every auction of the last days, in the order of time; shape (auctions,) each.

    Attributes:
        cell: the number of its cell.
        day: the number of its day, rising from 0 without a gap.
        hotel: the number of its hotel, for resampling.
        bid_micros: what was bid.
        clicked: whether it was clicked.
        cost_micros: what the click cost; 0 without one.
    """

    cell: Ints
    day: Ints
    hotel: Ints
    bid_micros: Floats
    clicked: Bools
    cost_micros: Floats

    def __len__(self) -> int:
        return len(self.cell)

    @property
    def days(self) -> int:
        """How many days there are."""
        return int(self.day.max(initial=-1)) + 1

    def take(self, which: Bools) -> Auctions:
        """Some of them."""
        return Auctions(
            self.cell[which], self.day[which], self.hotel[which],
            self.bid_micros[which], self.clicked[which], self.cost_micros[which],
        )  # fmt: skip

    def counts(self, cells: int) -> Floats:
        """Auctions of each day and cell; shape (days, cells)."""
        place = self.day * cells + self.cell
        return np.bincount(place, minlength=self.days * cells).reshape(self.days, cells).astype(np.float64)


@dataclass(frozen=True)
class Yardstick:
    """How the market answers to bids, the same for whoever bids.

    Attributes:
        response: of kinds of cells, learned on `worth_micros`.
        codes: the kind of each cell; shape (cells,).
        worth_micros: of a click, as `Belief` has it; shape (cells,).
    """

    response: Response
    codes: Ints
    worth_micros: Floats

    def at(self, bids_micros: Floats, *, prices: float = 1.0) -> tuple[Floats, Floats]:
        """Clicks and cost in micros of one auction of each cell at these bids; shape (cells,) each.

        `prices` scales what rivals bid: a bid then brings what the bid over it brought, at so many times the cost.
        """
        return self.of(np.arange(len(self.codes)), bids_micros, prices=prices)

    def of(self, cells: Ints, bids_micros: Floats, *, prices: float = 1.0) -> tuple[Floats, Floats]:
        """The same for auctions of these cells, each with its own bid; shape of `cells`."""
        worth = np.maximum(self.worth_micros[cells], 1.0)
        clicks, cost = self.response.at(self.codes[cells], (bids_micros / prices / worth)[:, None])
        return clicks[:, 0], cost[:, 0] * worth * prices


@dataclass(frozen=True)
class Belief:
    """How far candidate and champion are believed, and what comes for what they promise.

    Attributes:
        books, keeps: weights of `GRID`, as shares of belief in the candidate's conversion and value model; sums are 1.
        scale: money that came over money that the believed models promised, pulled to 1.
        scale_shape: how sure that is, as the shape of a Gamma distribution.
    """

    books: Floats
    keeps: Floats
    scale: float
    scale_shape: float

    @property
    def trust(self) -> float:
        """Mean belief in the candidate's conversion model."""
        return float(GRID @ self.books)

    @property
    def trust_value(self) -> float:
        """Mean belief in the candidate's value model."""
        return float(GRID @ self.keeps)

    def draws(self, rng: np.random.Generator, count: int) -> tuple[Floats, Floats, Floats]:
        """Belief in the conversion model, in the value model, and scale; shape (count,) each."""
        scale = self.scale * rng.gamma(self.scale_shape, size=count) / self.scale_shape
        return rng.choice(GRID, count, p=self.books), rng.choice(GRID, count, p=self.keeps), scale


@dataclass(frozen=True)
class Promise:
    """What one bundle says of a click of each cell; shape (cells,): `p_book` and net value of a booking, in micros."""

    p_book: Floats
    net_value_micros: Floats


@dataclass(frozen=True)
class Outcome:
    """Matured clicks and settled bookings, with what candidate and champion said of them.

    Attributes:
        booked: 1 or 0 per click, `books` what each of the two said of its label; shape (clicks,) and (2, clicks).
        stay: what the click's stay is worth if booked, net; shape (clicks,).
        kept: net value of each settled booking, `keeps` what each said; shape (bookings,) and (2, bookings).
    """

    booked: Floats
    books: Floats
    stay: Floats
    kept: Floats
    keeps: Floats


def believe(said: Outcome) -> Belief:
    """How far each of the two is believed: a uniform prior over mixtures, and the likelihood of what came."""
    books = np.array([-log_losses(said.booked, _mix(said.books, share)).sum() for share in GRID])
    spread = np.array([value_deviances(said.kept, _mix(said.keeps, share)) for share in GRID]).sum(axis=1)
    spread = -0.5 * spread * len(said.kept) / max(float(spread.min()), 1e-300)
    weights = [_normal(books), _normal(spread)]
    believed = _mix(said.books, float(GRID @ weights[0]))
    promised, came, count = float(believed @ said.stay), float(said.booked @ said.stay), float(said.booked.sum())
    ratio = came / promised if promised > 0 else 1.0
    return Belief(
        weights[0],
        weights[1],
        scale=(count * ratio + PRIOR_BOOKINGS) / (count + PRIOR_BOOKINGS),
        scale_shape=count + PRIOR_BOOKINGS,
    )


def believed_worth(belief: Belief, candidate: Promise, champion: Promise, *, take_share: float) -> Floats:
    """What a click of each cell earns by the mean belief, in micros; shape (cells,)."""
    books = _mix(np.array([candidate.p_book, champion.p_book]), belief.trust)
    keeps = _mix(np.array([candidate.net_value_micros, champion.net_value_micros]), belief.trust_value)
    return np.asarray(books * keeps * take_share * belief.scale, dtype=np.float64)


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


def measure_stress(
    eligible: Floats,
    yardstick: Yardstick,
    *,
    candidate_micros: Floats,
    champion_micros: Floats | None,
    plans_micros: tuple[float, float],
    cap: float,
) -> Stress:
    """Both sets of bids under `SHOCKS`.

    What a partner may charge on a day is capped at `cap` times what the bids are expected to cost, as published; a day that
    reaches its cap earns in proportion.

    Args:
        eligible: auctions a day of each cell; shape (cells,).
        yardstick: how the market answers; its worth is what a click earns.
        candidate_micros, champion_micros: bids; shape (cells,).
        plans_micros: what the bids of the candidate, and of the champion, are expected to cost a day by their own landscape.
        cap: the setting `spend_cap`.
    """
    sets = [candidate_micros] if champion_micros is None else [candidate_micros, champion_micros]

    def played(number: int, shock: tuple[float, float, float, float]) -> tuple[float, float]:
        prices, value, costs, demand = shock
        clicks, cost = yardstick.at(sets[number], prices=prices)
        # No click costs more than was bid for it.
        paid = np.minimum(cost * costs, np.maximum(clicks * sets[number], cost))
        earned = float(eligible @ (clicks * yardstick.worth_micros)) * value * demand
        spent = float(eligible @ paid) * demand
        share = min(1.0, cap * plans_micros[number] / spent) if spent > 0 else 1.0
        return (earned - spent) * share, spent * share

    usual = [played(number, (1.0, 1.0, 1.0, 1.0)) for number in range(len(sets))]
    plan = plans_micros[0]
    shocks = []
    for name, shock in SHOCKS.items():
        ours = played(0, shock)
        theirs = played(1, shock)[0] if champion_micros is not None else None
        shocks.append(Shock(name, ours[0], theirs, ours[1] / plan if plan > 0 else None))
    return Stress(usual_profit_micros=usual[-1][0], champion=champion_micros is not None, shocks=tuple(shocks))


def measure_constraints(
    counts: Floats,
    yardstick: Yardstick,
    bids_micros: Floats,
    *,
    plan_micros: float,
    budget_micros: float | None,
    poas_floor: float | None,
    max_bid_micros: float,
    budget_tolerance: float,
    floor_tolerance: float,
    seed: int,
) -> Constraints:
    """Weeks drawn from the days as they came, with the chance of each day's clicks.

    Args:
        counts: auctions of each day and cell; shape (days, cells).
        yardstick: how the market answers.
        bids_micros: the candidate's; shape (cells,).
        plan_micros: what they are expected to cost a day by the candidate's own landscape.
        budget_micros, poas_floor, max_bid_micros: the settings.
        budget_tolerance, floor_tolerance: what a week may be beyond budget and floor, as shares.
        seed: of the weeks.
    """
    rng = np.random.default_rng(seed)
    clicks, cost = yardstick.at(bids_micros)
    per_click = float(counts.sum(axis=0) @ cost) / max(float(counts.sum(axis=0) @ clicks), 1e-9)
    day_clicks, day_cost = counts @ clicks, counts @ cost
    day_value = counts @ (clicks * yardstick.worth_micros)
    drawn = rng.integers(0, len(counts), size=(WEEKS, WEEK_DAYS))
    # Of a Poisson number of clicks the cost strays as the clicks do.
    noise = rng.poisson(np.maximum(day_clicks[drawn], 0.0)) - day_clicks[drawn]
    spent = np.maximum(day_cost[drawn] + noise * per_click, 0.0).sum(axis=1)
    mean = float(day_cost.mean())
    returned = day_value[drawn].sum(axis=1) / np.maximum(day_cost[drawn].sum(axis=1), 1e-9)
    has_budget, has_floor = budget_micros is not None, poas_floor is not None
    allowed = WEEK_DAYS * (budget_micros or 0) * (1 + budget_tolerance)
    return Constraints(
        weeks=WEEKS,
        has_budget=has_budget,
        budget_over=mean / budget_micros - 1 if budget_micros else None,
        weeks_over=float((spent > allowed).mean()) if has_budget else None,
        has_floor=has_floor,
        weeks_under_floor=float((returned < (poas_floor or 0) * (1 - floor_tolerance)).mean()) if has_floor else None,
        plan_over=mean / plan_micros - 1 if plan_micros > 0 else None,
        above_cap=int((bids_micros > max_bid_micros * (1 + 1e-9)).sum()),
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


def _mix(both: Floats, share: float) -> Floats:
    return np.asarray(share * both[0] + (1 - share) * both[1], dtype=np.float64)


def _normal(log_weights: Floats) -> Floats:
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _base(value: float | None, costs: Floats) -> float | None:
    """The champion's profit per auction, no less than a tenth of its revenue."""
    if value is None or value <= 0:
        return None
    return max(value - float(costs.mean()), 0.1 * value)


def _shifted(found: Interval, by: float, base: float) -> Interval:
    low, mid, high = ((bound + by) / base for bound in (found.low, found.mid, found.high))
    return Interval(low, mid, high, blocks=found.blocks, rows=found.rows, level=found.level)
