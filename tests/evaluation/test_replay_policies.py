"""The policies bid by their formulas, are tuned on train rows only, and ours keeps its budget in hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ml.core.errors import PermanentError, UsageError
from ml.evaluation.replay.engine import Rules, replay, rules_for
from ml.evaluation.replay.inputs import Auctions, CampaignStats
from ml.evaluation.replay.pacing import fit_spend, relative_pctr
from ml.evaluation.replay.policies import POLICIES, policy_named
from ml.evaluation.replay.policy import complete
from ml.evaluation.replay.report import more_clicks, totals
from ml.evaluation.replay.tuning import tuned
from tests.evaluation.replay_worlds import STATS, make_auctions, random_auctions

TWO = make_auctions([0, 1], [10, 20], [0.004, 0.002])
RULES = Rules(1000, 2187)


@pytest.mark.parametrize(
    ("name", "params", "bids"),
    [
        ("const", {"b0": 7.0}, [7.0, 7.0]),
        ("mcpc", {}, [70.0, 35.0]),
        ("lin", {"b0": 30.0}, [30.0, 15.0]),
        ("ortb", {"c": 50.0, "lambda": 0.004 / 150}, [50.0, math.sqrt(50 * 75 + 2500) - 50]),
    ],
)
def test_a_published_policy_bids_by_its_formula(name: str, params: dict[str, float], bids: list[float]) -> None:
    policy = POLICIES[name]
    assert policy.plan(TWO, STATS, RULES, complete(policy, params)).base == pytest.approx(bids)


def test_random_bids_lie_below_their_limit_and_depend_on_the_seed_alone() -> None:
    log = random_auctions(1_000, seed=0)
    bids = [POLICIES["rand"].plan(log, STATS, RULES, {"b0": 60.0, "seed": seed}).base for seed in (1, 1, 2)]
    assert (bids[0] == bids[1]).all()
    assert (bids[0] != bids[2]).any()
    assert 0 <= bids[0].min() <= bids[0].max() < 60
    assert bids[0].mean() == pytest.approx(30, abs=2)


def test_no_bid_of_ours_looks_at_an_auction_to_come() -> None:
    log = random_auctions(500, seed=0)
    changed = log.pctr.copy()
    changed[300:] = 0.9
    assert (relative_pctr(log.pctr, STATS.ctr)[:300] == relative_pctr(changed, STATS.ctr)[:300]).all()


def test_a_click_model_that_is_off_by_a_factor_costs_ours_hardly_a_click() -> None:
    log = random_auctions(40_000, seed=1)
    off = Auctions(log.click, log.market_price, log.pctr / 5)
    rules = rules_for(STATS, episode=1000, budget_share=1 / 8)
    ours = POLICIES["bidwright"]
    spent = [replay(rows, ours.plan(rows, STATS, rules, complete(ours, {})), rules).cost.sum() for rows in (log, off)]
    assert spent[1] == pytest.approx(spent[0], rel=0.01)


@pytest.mark.parametrize("denominator", [64, 16, 4, 2])
def test_ours_leaves_hardly_any_budget_and_does_not_spend_it_at_once(denominator: int) -> None:
    log = random_auctions(60_000, seed=2)
    rules = rules_for(STATS, episode=1000, budget_share=1 / denominator)
    ours = POLICIES["bidwright"]
    plan = ours.plan(log, STATS, rules, complete(ours, {}))
    assert replay(log, plan, rules).cost.sum() > 0.97 * rules.budget * 60
    first_half = np.arange(60_000) % 1000 < 500
    hidden = Auctions(log.click, np.where(first_half, log.market_price, 301), log.pctr)
    share = replay(hidden, plan, rules).cost.sum() / (rules.budget * 60)
    assert 0.35 < share < 0.65


def test_the_curve_of_spend_is_found_again() -> None:
    """In a log-normal world the level is half of the squared log-sd of the prices, the spread the root of the sum."""
    rng = np.random.default_rng(0)
    pctr = 0.004 * np.exp(rng.normal(-0.18, 0.6, 100_000))
    price = np.floor(40 * np.exp(rng.normal(-0.245, 0.7, 100_000))).astype(np.int64)
    log = Auctions(np.zeros(len(pctr), np.int64), price, pctr)
    found = fit_spend(log, CampaignStats("7", 400, 100_000, int(price.sum())))
    assert found["level"] == pytest.approx(0.245, abs=0.08)
    assert found["spread"] == pytest.approx(math.hypot(0.6, 0.7), abs=0.08)


def test_ours_is_fitted_without_a_look_at_clicks() -> None:
    log = random_auctions(20_000, seed=3)
    blind = Auctions(np.zeros_like(log.click), log.market_price, log.pctr)
    rules = rules_for(STATS, episode=1000, budget_share=1 / 8)
    found = [tuned(POLICIES["bidwright"], rows, STATS, rules, fixed={}) for rows in (log, blind)]
    assert found[0] == found[1]


def test_tuning_takes_the_candidate_with_the_most_train_clicks_and_keeps_what_is_fixed() -> None:
    log = random_auctions(20_000, seed=3)
    rules = rules_for(STATS, episode=1000, budget_share=1 / 8)
    lin = POLICIES["lin"]
    found = tuned(lin, log, STATS, rules, fixed={})

    def clicks(b0: float) -> int:
        return int(replay(log, lin.plan(log, STATS, rules, {"b0": b0}), rules).clicks.sum())

    assert clicks(found["b0"]) == max(clicks(given["b0"]) for given in lin.candidates(log, STATS, rules))
    assert tuned(lin, log, STATS, rules, fixed={"b0": 3.0}) == {"b0": 3.0}
    assert tuned(POLICIES["bidwright"], log, STATS, rules, fixed={"gain": 1.0})["gain"] == 1.0
    with pytest.raises(UsageError, match="has no parameter"):
        tuned(lin, log, STATS, rules, fixed={"b1": 3.0})


def test_ours_wins_at_least_the_clicks_of_lin_in_a_world_of_log_normal_auctions() -> None:
    train, test = random_auctions(60_000, seed=4), random_auctions(200_000, seed=5)
    rules = rules_for(STATS, episode=1000, budget_share=1 / 16)
    won = {}
    for name in ("lin", "bidwright"):
        params = tuned(POLICIES[name], train, STATS, rules, fixed={})
        won[name] = replay(test, POLICIES[name].plan(test, STATS, rules, params), rules)
    interval = more_clicks(won["bidwright"], won["lin"], seed=0)
    assert interval.mid == won["bidwright"].clicks.sum() - won["lin"].clicks.sum()
    assert interval.mid >= 0
    assert interval.low <= interval.mid <= interval.high
    assert (interval.blocks, interval.rows) == (200, 200_000)


def test_the_totals_have_the_units_of_the_published_table() -> None:
    outcome = replay(
        make_auctions([1, 0, 0], [100, 50, 60], [1, 1, 1]),
        POLICIES["const"].plan(make_auctions([1, 0, 0], [100, 50, 60], [1, 1, 1]), STATS, RULES, {"b0": 120.0}),
        Rules(3, 150),
    )
    assert totals(outcome) == {
        "auctions": 3,
        "impressions": 2,
        "clicks": 1,
        "cost": 150,
        "win_rate": pytest.approx(66.6667, abs=1e-4),
        "ecpc": 0.15,
    }


def test_without_a_click_there_is_no_cost_of_a_click() -> None:
    assert totals(replay(TWO, POLICIES["const"].plan(TWO, STATS, RULES, {"b0": 0.0}), Rules(2, 9)))["ecpc"] is None


@pytest.mark.parametrize("name", ["mcpc", "lin", "bidwright"])
def test_a_campaign_without_train_clicks_has_no_rate_to_bid_by(name: str) -> None:
    with pytest.raises(PermanentError, match="has clk_train 0"):
        POLICIES[name].plan(
            TWO, CampaignStats("7", 0, 100, 100), RULES, {"b0": 1.0, "level": 0, "spread": 1, "gain": 1}
        )


def test_rows_that_do_not_cost_what_the_statistics_say_have_no_curve() -> None:
    free = make_auctions([0] * 10, [0] * 10, [0.1] * 10)
    with pytest.raises(PermanentError, match="have no curve"):
        fit_spend(free, STATS)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("lin", {}, "the policy lin needs the parameter b0"),
        ("lin", {"b1": 1.0}, "the policy lin has no parameter 'b1'; it takes b0"),
        ("mcpc", {"b0": 1.0}, "the policy mcpc has no parameter 'b0'; it takes none"),
        ("const", {"b0": -1.0}, "b0=-1 of const is not a finite number of 0 or more"),
        ("const", {"b0": math.inf}, "b0=inf of const is not a finite number of 0 or more"),
        ("ortb", {"c": 10.0, "lambda": 0.0}, "lambda=0 of ortb is not a finite number above 0"),
        ("rand", {"b0": 10.0, "seed": 1.5}, "seed=1.5 of rand is not an integer of 0 or more"),
        ("bidwright", {"level": math.nan}, "level=nan of bidwright is not a finite number"),
    ],
)
def test_a_parameter_that_cannot_be_is_a_usage_error(name: str, params: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        complete(POLICIES[name], params)
    assert said in str(refusal.value)


def test_a_policy_nobody_knows_is_a_usage_error_that_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no policy 'rlb'; choose one of const, rand, mcpc, lin, ortb, bidwright"):
        policy_named("rlb")


@pytest.mark.parametrize("name", POLICIES)
def test_extreme_numbers_are_bid_without_a_warning(name: str) -> None:
    log = make_auctions([0, 1, 1], [0, 300, 301], [0.0, 1e-300, 1.0])
    extreme = {"b0": 1e300, "c": 1e300, "lambda": 1e-300, "level": 1e6, "spread": 1e3, "gain": 50.0, "shape": 0.5}
    policy = POLICIES[name]
    params = complete(policy, {key: value for key, value in extreme.items() if key in policy.params})
    outcome = replay(log, policy.plan(log, STATS, RULES, params), RULES)
    assert outcome.cost.sum() <= RULES.budget
