"""The ladder of a search says what any bid reaches, as an auction held one by one would."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from ml.market.simulator.auction import answer
from ml.market.simulator.day import Contest, Market, contests, play, resolve
from ml.market.simulator.partners import NAMES, PARTNERS
from ml.market.simulator.partners.rules import RESERVE, SLOTS
from ml.market.simulator.rivals import RIVALS, STRATEGIES, Signals, bid_factors, column
from ml.market.simulator.scenarios import parse_scenarios
from ml.market.simulator.source import FIRST_DAY
from ml.market.simulator.world import World

WORLD = World.make(3, 40)
LEVELS = np.geomspace(0.02, 8.0, 25)


@pytest.fixture(scope="module")
def contest() -> Contest:
    """The larger stratum of a small day."""
    return list(contests(Market(WORLD, 3, 4000), FIRST_DAY))[-1]


def held_one_by_one(contest: Contest, row: int, bid: float) -> tuple[int, float]:
    """Place and cost of a bid by ranking all bidders of one search: (0, 0) where not shown."""
    scores = contest.ladder.scores[row]
    if bid < contest.ladder.reserve[row]:
        return 0, 0.0
    better = int((scores > bid).sum())
    if better >= SLOTS:
        return 0, 0.0
    below = float(max(scores[scores <= bid], default=0.0))
    cost = bid if contest.ladder.first_price[row] else max(below, float(contest.ladder.reserve[row]))
    return better + 1, cost


def test_a_bid_reaches_what_an_auction_of_all_bidders_gives_it(contest: Contest) -> None:
    found = answer(contest.ladder, np.broadcast_to(LEVELS, (len(contest.searches), len(LEVELS))))
    for row in range(0, len(contest.searches), 37):
        for level, bid in enumerate(LEVELS):
            place, cost = held_one_by_one(contest, row, bid)
            assert found.position[row, level] == place
            assert found.cost[row, level] == pytest.approx(cost, rel=1e-6)


def test_many_levels_at_once_are_each_level_alone(contest: Contest) -> None:
    n = len(contest.searches)
    together = answer(contest.ladder, np.broadcast_to(LEVELS, (n, len(LEVELS))))
    for level, bid in enumerate(LEVELS):
        alone = answer(contest.ladder, np.full(n, bid))
        assert (alone.position == together.position[:, level]).all()
        assert (alone.cost == together.cost[:, level]).all()
        assert (alone.click == together.click[:, level]).all()


def test_clicks_and_spend_never_fall_as_the_bid_rises(contest: Contest) -> None:
    found = answer(contest.ladder, np.broadcast_to(LEVELS, (len(contest.searches), len(LEVELS))))
    assert (np.diff(found.click, axis=1) >= -1e-6).all()
    assert (np.diff(found.cost, axis=1) >= -1e-9).all()


def test_a_click_costs_at_least_the_reserve_and_never_more_than_the_bid() -> None:
    found = resolve(Market(WORLD, 3, 20_000), FIRST_DAY, {})
    outcomes = found.outcomes[found.outcomes["position"] > 0]
    assert (outcomes["cpc"] <= outcomes["bid"]).all()
    assert (outcomes["cpc"] >= RESERVE * 1e6 - 100).all()
    assert set(outcomes["position"]) == {1, 2, 3, 4}
    assert (found.outcomes["clicked"] <= (found.outcomes["position"] > 0)).all()


def test_only_tripadvisor_charges_the_bid() -> None:
    found = resolve(Market(WORLD, 3, 20_000), FIRST_DAY, {})
    paid = np.abs(found.outcomes["cpc"] - found.outcomes["bid"]) <= 50
    shown = found.outcomes["position"] > 0
    share = [paid[shown & (found.searches["partner"] == number)].mean() for number in range(len(NAMES))]
    assert share[2] == 1
    assert max(share[:2]) < 0.1


def test_only_tripadvisors_reserve_differs_by_silo() -> None:
    found = resolve(Market(WORLD, 3, 20_000), FIRST_DAY, {})
    for number, partner in enumerate(PARTNERS.values()):
        mine = found.searches["partner"] == number
        assert (len(np.unique(found.outcomes["reserve"][mine])) > 1) == partner.silo_reserve


def test_the_chance_of_a_click_is_a_multinomial_logit_over_the_offers_shown(contest: Contest) -> None:
    """Recomputed for single searches from prices, names and places."""
    brand = np.exp(column("brand"))
    found = answer(contest.ladder, np.full(len(contest.searches), 100.0))
    assert (found.position == 1).all()
    for row in range(0, len(contest.searches), 101):
        partner = list(PARTNERS.values())[contest.searches["partner"][row]]
        scores = contest.ladder.scores[row]
        steep = partner.phone_slots if contest.searches["device"][row] == 0 else 1.0
        dear = partner.phone_price if contest.searches["device"][row] == 0 else 1.0
        ours = np.exp(1 - partner.click_price * dear * np.log(contest.ladder.price_ratio[row]))
        top = ours / (np.exp(partner.outside) + ours)
        # Alone we would draw `top`; rivals shown below us can only take from it, by what three of them can have.
        others = sum(np.exp(1 + steep * partner.slots[place]) * brand.max() for place in (1, 2, 3))
        assert ours / (np.exp(partner.outside) + ours + others) - 1e-6 <= found.click[row] <= top + 1e-6
        if not (scores > 0).any():
            assert found.click[row] == pytest.approx(top, rel=1e-4)


def test_the_contest_is_the_same_whatever_we_bid(contest: Contest) -> None:
    low, high = (play(contest, np.full(len(contest.searches), bid)) for bid in (10_000, 3_000_000))
    for name in ("needed_1", "click_1", "conversion", "value", "rival_price", "score_mega_one"):
        assert (low[name] == high[name]).all()
    assert (low["clicked"] <= high["clicked"]).all()  # the same dice


def test_same_seed_same_bytes_in_chunks_of_any_day() -> None:
    one, two = (resolve(Market(World.make(5, 40), 5, 3000), FIRST_DAY, {}) for _ in range(2))
    assert one.outcomes.tobytes() == two.outcomes.tobytes()
    assert one.searches.tobytes() == two.searches.tobytes()


def test_rivals_follow_their_strategies() -> None:
    assert {rival.strategy for rival in RIVALS} == set(STRATEGIES)
    usual = Signals(demand=1.0, conversion=0.0, draw=0.0)
    assert [strategy(usual) for strategy in STRATEGIES.values()] == [1.0] * len(STRATEGIES)
    busy, poor = replace(usual, demand=1.5), replace(usual, conversion=-0.3)
    assert STRATEGIES["static"](poor) == 1
    assert STRATEGIES["paced_budget"](busy) < 1
    assert STRATEGIES["target_roas"](poor) < STRATEGIES["daily_value"](poor) < 1


def test_rivals_answer_a_fall_of_conversion_days_after_it() -> None:
    fall = parse_scenarios([f"season_down@{FIRST_DAY}:ramp=0"])
    today, later = (bid_factors(3, FIRST_DAY + timedelta(days=n), fall) for n in (0, 9))
    calm_today, calm_later = (bid_factors(3, FIRST_DAY + timedelta(days=n), ()) for n in (0, 9))
    assert np.allclose(today, calm_today)
    values = [number for number, rival in enumerate(RIVALS) if rival.strategy in {"daily_value", "target_roas"}]
    assert (later[values] < 0.9 * calm_later[values]).all()
