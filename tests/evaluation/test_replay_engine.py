"""The fast engine does what the protocol's plain loop does, to the last unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.core.errors import UsageError
from ml.evaluation.replay.engine import Outcome, Plan, Rules, replay, rules_for
from ml.evaluation.replay.inputs import Auctions
from ml.evaluation.replay.policies import POLICIES
from ml.evaluation.replay.policy import complete
from tests.evaluation.replay_worlds import STATS, logs, make_auctions, plain_replay, random_auctions

PARAMS = {
    "const": {"b0": 8.0},
    "rand": {"b0": 14.0},
    "mcpc": {},
    "lin": {"b0": 5.0},
    "ortb": {"c": 20.0, "lambda": 1e-3},
    "bidwright": {"level": -0.5, "spread": 0.8, "gain": 1.5, "shape": 0.9},
}


def columns(outcome: Outcome) -> list[list[int]]:
    return [outcome.auctions.tolist(), outcome.impressions.tolist(), outcome.clicks.tolist(), outcome.cost.tolist()]


def plan_of(name: str, auctions: Auctions, rules: Rules) -> Plan:
    policy = POLICIES[name]
    return policy.plan(auctions, STATS, rules, complete(policy, PARAMS[name]))


@pytest.mark.parametrize("name", POLICIES)
@given(auctions=logs(), episode=st.integers(1, 70), budget=st.integers(0, 900))
@settings(max_examples=40, deadline=None)
def test_every_policy_wins_what_the_plain_loop_wins(name: str, auctions: Auctions, episode: int, budget: int) -> None:
    rules = Rules(episode, budget)
    plan = plan_of(name, auctions, rules)
    assert columns(replay(auctions, plan, rules)) == columns(plain_replay(auctions, plan, rules))


@given(
    auctions=logs(),
    episode=st.integers(1, 70),
    budget=st.integers(0, 900),
    bids=st.lists(st.floats(0, 500), min_size=60, max_size=60),
)
@settings(max_examples=100, deadline=None)
def test_no_episode_ever_costs_more_than_its_budget_whatever_is_bid(
    auctions: Auctions, episode: int, budget: int, bids: list[float]
) -> None:
    plan = Plan(np.array(bids[: len(auctions)]))
    outcome = replay(auctions, plan, Rules(episode, budget))
    assert (outcome.cost <= budget).all()
    assert columns(outcome) == columns(plain_replay(auctions, plan, Rules(episode, budget)))


@pytest.mark.parametrize("episode", [1, 7, 250, 3000, 10_000])
@pytest.mark.parametrize("name", ["lin", "bidwright"])
def test_short_and_long_episodes_are_settled_alike(name: str, episode: int) -> None:
    auctions = random_auctions(9_500, seed=1)
    rules = rules_for(STATS, episode=episode, budget_share=1 / 16)
    plan = plan_of(name, auctions, rules)
    assert columns(replay(auctions, plan, rules)) == columns(plain_replay(auctions, plan, rules))


def test_a_bid_at_the_market_price_wins_and_pays_it() -> None:
    outcome = replay(make_auctions([1, 1], [10, 11], [0.1, 0.1]), Plan(np.array([10.9, 10.9])), Rules(2, 100))
    assert columns(outcome) == [[2], [1], [1], [10]]


def test_a_budget_beyond_all_bounds_is_as_good_as_none() -> None:
    rules = rules_for(STATS, episode=10**9, budget_share=1e300)
    assert columns(replay(make_auctions([1, 0], [300, 299], [1, 1]), Plan(np.full(2, 300.0)), rules)) == [
        [2],
        [2],
        [1],
        [599],
    ]


def test_no_bid_is_above_300_nor_above_what_is_left() -> None:
    auctions = make_auctions([0, 0, 0, 0], [301, 300, 60, 40], [1, 1, 1, 1])
    assert columns(replay(auctions, Plan(np.full(4, 1e9)), Rules(4, 350))) == [[4], [2], [0], [340]]


def test_a_bid_of_nothing_wins_an_auction_at_price_zero_even_without_money() -> None:
    assert columns(replay(make_auctions([1], [0], [0.0]), Plan(np.zeros(1)), Rules(1, 0))) == [[1], [1], [1], [0]]


def test_the_last_episode_is_shorter_and_has_the_whole_budget() -> None:
    auctions = make_auctions([0] * 5, [10] * 5, [0.1] * 5)
    assert columns(replay(auctions, Plan(np.full(5, 10.0)), Rules(3, 20))) == [[3, 2], [2, 2], [0, 0], [20, 20]]


def test_the_budget_of_an_episode_is_the_floor_of_share_times_auctions_times_cpm() -> None:
    assert rules_for(STATS, episode=1000, budget_share=1 / 32) == Rules(1000, 2187)  # 70 x 1000 / 32 = 2187.5


@pytest.mark.parametrize(("episode", "share"), [(0, 0.5), (-1, 0.5), (10, 0.0), (10, -0.1), (10, float("nan"))])
def test_an_episode_or_a_share_of_nothing_is_a_usage_error(episode: int, share: float) -> None:
    with pytest.raises(UsageError):
        rules_for(STATS, episode=episode, budget_share=share)
