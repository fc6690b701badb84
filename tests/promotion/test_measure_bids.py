"""Evidence about bids on a market whose response is known: two kinds of cells, clicks linear in the bid over worth."""

from __future__ import annotations

import numpy as np
import pytest

from ml.models.response import RATIOS, Response
from ml.promotion.measure_bids import measure_landscape, measure_off_policy, measure_replay
from ml.promotion.measure_stress import measure_constraints, measure_stress
from ml.promotion.yardstick import GRID, Auctions, Outcome, Promise, Yardstick, believe, believed_worth

CELLS, DAYS, A_DAY = 40, 14, 2_000
RNG = np.random.default_rng(7)
WORTH = np.exp(RNG.normal(13.0, 0.4, CELLS))


def yardstick() -> Yardstick:
    """Clicks rise with the root of the bid over worth; a click costs half of the bid."""
    clicks = 0.05 * np.sqrt(np.minimum(RATIOS, 2.0))[None, :]
    response = Response(("all",), clicks, clicks * RATIOS[None, :] * 0.5, np.array([500.0]), np.array([[0.05, 3.0]]))
    return Yardstick(response, np.zeros(CELLS, dtype=np.int64), WORTH)


def auctions(yard: Yardstick, *, seed: int = 1, factor: float = 1.0) -> Auctions:
    """Bids strewn around 0.7 of the worth, and clicks by the yardstick times a factor."""
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, CELLS, DAYS * A_DAY)
    bid = 0.7 * WORTH[cell] * np.exp(rng.normal(0, 0.3, len(cell)))
    clicks, cost = yard.of(cell, bid)
    clicked = rng.random(len(cell)) < clicks * factor
    paid = np.where(clicked, cost / clicks, 0.0)
    return Auctions(cell, np.repeat(np.arange(DAYS), A_DAY), cell, bid, clicked, paid)


def outcome(true: float, *said: float, clicks: int = 60_000) -> Outcome:
    """Clicks that book with probability `true`, of which the two models said something else."""
    rng = np.random.default_rng(3)
    kept = rng.uniform(50, 150, 500)
    return Outcome(
        booked=(rng.random(clicks) < true).astype(float),
        books=np.array([np.full(clicks, one) for one in said]),
        stay=np.ones(clicks),
        kept=kept,
        keeps=np.array([kept * 1.0, kept * 1.0]),
    )


def promise(p: float = 0.04) -> Promise:
    return Promise(np.full(CELLS, p), WORTH / 0.04)


SURE = believe(outcome(0.04, 0.04, 0.04))


def replayed(candidate: float, champion: float, *, budget: float | None = None, belief: object = SURE) -> object:
    yard = yardstick()
    return measure_replay(
        auctions(yard), yard, belief, candidate=(candidate * WORTH, promise()), champion=(champion * WORTH, promise()),  # type: ignore[arg-type]
        take_share=1.0, budget_micros=budget, cap=1.2, margin=0.02, seed=1,
    )  # fmt: skip


def test_who_says_what_comes_is_believed_and_who_promises_too_much_is_not() -> None:
    right, wrong = believe(outcome(0.04, 0.04, 0.06)), believe(outcome(0.04, 0.06, 0.04))
    assert right.trust > 0.8
    assert wrong.trust < 0.2
    assert right.books.sum() == pytest.approx(1.0)


def test_two_that_say_the_same_are_believed_alike_and_scaled_to_what_came() -> None:
    both = believe(outcome(0.04, 0.06, 0.06))
    assert both.trust == pytest.approx(0.5)
    assert both.scale == pytest.approx(0.04 / 0.06, rel=0.12)
    worth = believed_worth(both, promise(0.06), promise(0.06), take_share=1.0)
    assert worth.mean() == pytest.approx(WORTH.mean(), rel=0.15)


def test_the_same_bids_replay_to_no_gain() -> None:
    found = replayed(0.6, 0.6)
    assert found.gain.low == found.gain.mid == found.gain.high == 0.0  # type: ignore[attr-defined]


def test_bids_far_above_the_worth_of_a_click_lose_profit_in_the_replay() -> None:
    found = replayed(1.8, 0.6)
    assert found.gain.high < -0.1  # type: ignore[attr-defined]
    assert found.worse_by_margin == 1.0  # type: ignore[attr-defined]


def test_neither_spends_more_than_the_budget_of_a_day() -> None:
    free, held = replayed(1.0, 0.6), replayed(1.0, 0.6, budget=1_000_000.0)
    assert held.candidate_profit_micros < free.candidate_profit_micros  # type: ignore[attr-defined]
    assert held.budget_micros == 1_000_000.0  # type: ignore[attr-defined]


def test_the_same_bids_have_no_gain_off_policy_and_weights_near_one() -> None:
    yard = yardstick()
    log = auctions(yard)
    value = np.where(np.random.default_rng(5).random(len(log)) < 0.04, WORTH[log.cell] / 0.04, 0.0)
    found = measure_off_policy(
        log, yard, value_micros=value, candidate_micros=0.7 * WORTH, champion_micros=0.7 * WORTH, seed=1
    )
    assert found.dr is not None
    assert found.dr.mid == pytest.approx(0.0, abs=1e-9)
    assert found.mean_weight == pytest.approx(1.0, abs=0.08)
    assert found.ess_share is not None
    assert found.ess_share > 0.5


def test_logged_bookings_show_that_bids_far_too_high_lose() -> None:
    yard = yardstick()
    log = auctions(yard)
    value = np.where(np.random.default_rng(5).random(len(log)) < 0.2, WORTH[log.cell] / 0.2, 0.0)
    found = measure_off_policy(
        log, yard, value_micros=value, candidate_micros=2.0 * WORTH, champion_micros=0.6 * WORTH, seed=1
    )
    assert found.snips is not None
    assert found.dr is not None
    assert found.dr.high < 0 > found.snips.high


@pytest.mark.parametrize(("factor", "low", "high"), [(1.0, 0.9, 1.1), (0.5, 1.7, 2.4)], ids=["right", "twice too high"])
def test_a_landscape_is_held_against_the_clicks_that_came(factor: float, low: float, high: float) -> None:
    yard = yardstick()
    found = measure_landscape(
        auctions(yard, factor=factor), yard.response, yard.codes, WORTH, np.zeros(CELLS, dtype=np.int64), seed=1
    )
    assert found.clicks is not None
    assert low < found.clicks.mid < high
    assert (found.groups, found.days) == (DAYS, DAYS)
    assert found.covered is not None
    assert (found.covered > 0.5) == (factor == 1.0)


def test_shocks_change_spend_only_up_to_the_cap_and_hit_both_alike() -> None:
    yard = yardstick()
    eligible = np.full(CELLS, 50.0)
    plan = float(eligible @ yard.at(0.6 * WORTH)[1])
    found = measure_stress(
        eligible, yard, candidate_micros=0.6 * WORTH, champion_micros=0.6 * WORTH, plans_micros=(plan, plan), cap=1.2
    )
    for shock in found.shocks:
        assert shock.candidate_profit_micros == shock.champion_profit_micros
        assert shock.spend_over_plan is not None
        assert shock.spend_over_plan <= 1.2 + 1e-9
    doubled = next(shock for shock in found.shocks if shock.name == "demand doubles")
    assert doubled.spend_over_plan == pytest.approx(1.2)


def constrained(bid: float, **settings: float | None) -> object:
    yard = yardstick()
    counts = auctions(yard).counts(CELLS)
    plan = float(counts.mean(axis=0) @ yard.at(bid * WORTH)[1])
    given = {"budget_micros": None, "poas_floor": None, "max_bid_micros": 1e9, "plan_micros": plan, **settings}
    return measure_constraints(
        counts,
        yard,
        bid * WORTH,
        budget_tolerance=0.1,
        floor_tolerance=0.05,
        seed=1,
        **given,  # type: ignore[arg-type]
    )


def test_bids_that_are_blind_to_the_budget_are_seen_in_every_week() -> None:
    yard = yardstick()
    budget = 0.5 * float(auctions(yard).counts(CELLS).mean(axis=0) @ yard.at(0.6 * WORTH)[1])
    found = constrained(0.6, budget_micros=budget)
    assert found.budget_over == pytest.approx(1.0)  # type: ignore[attr-defined]
    assert found.weeks_over == 1.0  # type: ignore[attr-defined]
    assert constrained(0.6, budget_micros=3 * budget).weeks_over == 0.0  # type: ignore[attr-defined]


def test_bids_above_the_cap_a_floor_that_breaks_and_a_wrong_plan_are_seen() -> None:
    assert constrained(0.6, max_bid_micros=1.0).above_cap == CELLS  # type: ignore[attr-defined]
    assert constrained(1.8, poas_floor=3.0).weeks_under_floor == 1.0  # type: ignore[attr-defined]
    assert constrained(0.3, poas_floor=3.0).weeks_under_floor == 0.0  # type: ignore[attr-defined]
    found = constrained(0.6)
    assert (found.has_budget, found.has_floor) == (False, False)  # type: ignore[attr-defined]
    assert found.plan_over == pytest.approx(0.0)  # type: ignore[attr-defined]


def test_beliefs_are_drawn_from_the_grid() -> None:
    books, keeps, scale = SURE.draws(np.random.default_rng(1), 50)
    assert set(books) <= set(GRID)
    assert set(keeps) <= set(GRID)
    assert (scale > 0).all()
