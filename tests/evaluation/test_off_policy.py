"""Off-policy estimates find the truth of a world that we own, and refuse where the log cannot tell."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from ml.core.errors import PermanentError, UsageError
from ml.core.verdict import Verdict
from ml.evaluation.off_policy import (
    Weights,
    density_weights,
    difference,
    doubly_robust,
    ips,
    kernel_weights,
    landscape_weights,
    log_normal_density,
    place_weights,
    snips,
    switch_dr,
)

Floats = npt.NDArray[np.float64]

JITTER, RIVAL_SD, RIVAL_MEAN_LOG = 0.20, 0.6, 0.1
LOGGED_MULTIPLIER = 0.85
RUNS = 16


def win_probability(bid: Floats) -> Floats:
    """The landscape: the best rival bid is log-normal, and no other than we say."""
    return np.asarray(ndtr((np.log(bid) - RIVAL_MEAN_LOG) / RIVAL_SD))


def expected_price(bid: Floats) -> Floats:
    """Mean of rival bid x (rival bid at most ours)."""
    mean = math.exp(RIVAL_MEAN_LOG + RIVAL_SD**2 / 2)
    return np.asarray(mean * ndtr((np.log(bid) - RIVAL_MEAN_LOG) / RIVAL_SD - RIVAL_SD))


@dataclass(frozen=True)
class World:
    """A log of n opportunities: values, jittered bids, outcomes."""

    value: Floats
    jitter: Floats
    won: Floats
    worth: Floats
    profit: Floats

    @property
    def logged_density(self) -> Floats:
        return log_normal_density(self.jitter, sd=JITTER, centre=LOGGED_MULTIPLIER)


def draw(n: int, seed: int, *, sd: float = JITTER) -> World:
    rng = np.random.default_rng(seed)
    value = np.exp(rng.normal(0.2, 0.5, n))
    jitter = np.exp(rng.normal(math.log(LOGGED_MULTIPLIER), sd, n)) if sd else np.full(n, LOGGED_MULTIPLIER)
    rival = np.exp(rng.normal(RIVAL_MEAN_LOG, RIVAL_SD, n))
    won = (jitter * value >= rival).astype(float)
    worth = won * value * rng.exponential(1.0, n)
    return World(value, jitter, won, worth, worth - won * rival)


_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
_VALUES, _CHANCES = np.exp(0.2 + 0.5 * _NODES), _NODE_WEIGHTS / _NODE_WEIGHTS.sum()
_FEW, _FEW_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_FEW_CHANCES = _FEW_WEIGHTS / _FEW_WEIGHTS.sum()


def true_profit(multiplier: float, *, sd: float = 0.0) -> float:
    """Expected profit per opportunity of the bids value x multiplier x exp(N(0, sd^2)), by quadrature."""
    total = 0.0
    for node, chance in zip(_FEW, _FEW_CHANCES, strict=True):
        bid = _VALUES * multiplier * math.exp(sd * node)
        total += float(chance * np.sum(_CHANCES * (_VALUES * win_probability(bid) - expected_price(bid))))
    return total


def wrong_model(value: Floats, multiplier: Floats | float) -> Floats:
    """A reward model that is off by a tenth and a little, as gate 9 allows a landscape to be."""
    bid = value * multiplier
    return np.asarray(0.9 * (value * win_probability(bid) - expected_price(bid)) + 0.01)


def target_weights(world: World, centre: float, sd: float = JITTER) -> Weights:
    return density_weights(log_normal_density(world.jitter, sd=sd, centre=centre), world.logged_density)


def estimates(world: World, centre: float, *, seed: int = 0) -> dict[str, float]:
    weights = target_weights(world, centre)
    # The model's mean under the target's jitter, by quadrature.
    under = sum(
        chance * wrong_model(world.value, centre * math.exp(JITTER * node))
        for node, chance in zip(_FEW, _FEW_CHANCES, strict=True)
    )
    model = {"model_target": np.asarray(under), "model_logged": wrong_model(world.value, world.jitter)}
    found = {
        "ips": ips(world.profit, weights, seed=seed),
        "snips": snips(world.profit, weights, seed=seed),
        "dr": doubly_robust(world.profit, weights, seed=seed, **model),
        "switch": switch_dr(world.profit, weights, threshold=8.0, seed=seed, **model),
    }
    assert all(estimate.verdict is Verdict.PASS for estimate in found.values())
    return {name: float(estimate.value or 0.0) for name, estimate in found.items()}


@pytest.mark.parametrize("centre", [0.75, 0.95])
def test_jittered_logs_give_the_true_profit_of_another_jitter(centre: float) -> None:
    runs = [estimates(draw(4_000, seed), centre) for seed in range(RUNS)]
    truth = true_profit(centre, sd=JITTER)
    for name in runs[0]:
        values = np.array([found[name] for found in runs])
        allowed = 3.5 * values.std() / math.sqrt(len(values)) + (0.01 * abs(truth) if name == "switch" else 0.0)
        assert abs(values.mean() - truth) < allowed, name


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth = true_profit(0.95, sd=JITTER)
    inside = 0
    for seed in range(100):
        world = draw(2_000, seed)
        interval = snips(world.profit, target_weights(world, 0.95), seed=seed).interval
        assert interval is not None
        inside += interval.low <= truth <= interval.high
    assert 82 <= inside <= 98


def test_a_good_model_makes_the_doubly_robust_estimate_steadier_than_weights_alone() -> None:
    runs = [estimates(draw(2_000, seed), 0.72) for seed in range(RUNS)]
    spread = {name: float(np.std([found[name] for found in runs])) for name in runs[0]}
    assert spread["dr"] < spread["ips"]
    assert spread["snips"] < spread["ips"]


def test_a_kernel_values_a_deterministic_policy() -> None:
    centre = 0.9
    values = []
    for seed in range(RUNS):
        world = draw(4_000, seed)
        aim = np.full(len(world.jitter), math.log(centre))
        weights = kernel_weights(aim, np.log(world.jitter), world.logged_density, bandwidth=0.1)
        values.append(snips(world.profit, weights, seed=0).value or 0.0)
    assert abs(np.mean(values) - true_profit(centre)) < 3.5 * np.std(values) / math.sqrt(RUNS) + 0.005


def test_a_landscape_values_a_policy_from_a_log_without_any_jitter() -> None:
    multiplier = 1.1
    values = {"ips": [], "snips": []}  # type: dict[str, list[float]]
    for seed in range(RUNS):
        world = draw(3_000, seed, sd=0.0)
        weights = landscape_weights(
            world.won,
            target=win_probability(world.value * multiplier),
            logged=win_probability(world.value * LOGGED_MULTIPLIER),
        )
        values["ips"].append(ips(world.worth, weights, seed=0).value or 0.0)
        values["snips"].append(snips(world.worth, weights, seed=0).value or 0.0)
    truth = float(np.sum(_CHANCES * _VALUES * win_probability(_VALUES * multiplier)))
    for found in values.values():
        assert abs(np.mean(found) - truth) < 3.5 * np.std(found) / math.sqrt(RUNS) + 0.002


def test_places_of_won_and_lost_weigh_as_won_and_lost() -> None:
    world = draw(500, 1, sd=0.0)
    aim, chance = (win_probability(world.value * factor) for factor in (1.0, LOGGED_MULTIPLIER))
    two = place_weights(
        world.won, target=np.column_stack([1 - aim, aim]), logged=np.column_stack([1 - chance, chance])
    )  # fmt: skip
    np.testing.assert_allclose(two.values, landscape_weights(world.won, target=aim, logged=chance).values)


def test_weights_of_places_find_the_truth_of_another_distribution_of_them() -> None:
    rng = np.random.default_rng(5)
    chance = rng.dirichlet([2.0, 1.0, 1.0], 40_000)
    aim = rng.dirichlet([1.0, 1.0, 2.0], 40_000) * 0.5 + chance * 0.5
    place = (rng.random((40_000, 1)) > chance.cumsum(axis=1)).sum(axis=1)
    clicks = np.array([0.0, 1.0, 3.0])
    found = ips(clicks[place], place_weights(place, target=aim, logged=chance), seed=0)
    assert found.value == pytest.approx(float((aim @ clicks).mean()), rel=0.03)


@pytest.mark.ml_test_score("model2")
def test_the_direction_is_right_in_85_of_100_pairs_of_policies() -> None:
    policies = [0.65, 0.72, 0.8, 0.9, 1.0, 1.1]
    truth = {centre: true_profit(centre, sd=JITTER) for centre in policies}
    pairs = list(itertools.combinations(policies, 2))
    right: dict[str, list[bool]] = {"ips": [], "snips": [], "dr": [], "switch": []}
    for seed in range(4):
        world = draw(20_000, seed)
        found = {centre: estimates(world, centre) for centre in policies}
        for kind, judged in right.items():
            judged += [(found[a][kind] > found[b][kind]) == (truth[a] > truth[b]) for a, b in pairs]
    assert {kind: float(np.mean(judged)) for kind, judged in right.items() if np.mean(judged) < 0.85} == {}


def test_a_landscape_gives_the_direction_too_when_it_also_prices_the_wins() -> None:
    """No jitter: the value comes from the weights, the expected price from the landscape."""
    policies = [0.65, 0.72, 0.8, 0.9, 1.0, 1.1]
    truth = {multiplier: true_profit(multiplier) for multiplier in policies}
    right: dict[str, list[bool]] = {"ips": [], "snips": [], "dr": []}
    for seed in range(4):
        world = draw(20_000, seed, sd=0.0)
        found: dict[str, dict[float, float]] = {kind: {} for kind in right}
        for multiplier in policies:
            bid = world.value * multiplier
            weights = landscape_weights(
                world.won, target=win_probability(bid), logged=win_probability(world.value * LOGGED_MULTIPLIER)
            )
            model = {
                "model_target": 0.8 * world.value * win_probability(bid),
                "model_logged": 0.8 * world.value * world.won,
            }
            estimated = {
                "ips": ips(world.worth, weights, seed=0),
                "snips": snips(world.worth, weights, seed=0),
                "dr": doubly_robust(world.worth, weights, seed=0, **model),
            }
            for kind, estimate in estimated.items():
                found[kind][multiplier] = (estimate.value or 0.0) - float(np.mean(expected_price(bid)))
        for kind, judged in right.items():
            pairs = itertools.combinations(policies, 2)
            judged += [(found[kind][a] > found[kind][b]) == (truth[a] > truth[b]) for a, b in pairs]
    assert {kind: float(np.mean(judged)) for kind, judged in right.items() if np.mean(judged) < 0.85} == {}


def test_two_policies_are_compared_on_the_same_rows() -> None:
    world = draw(20_000, seed=5)
    better, worse = (snips(world.profit, target_weights(world, centre), seed=0) for centre in (0.9, 0.66))
    interval = difference(better, worse, seed=0)
    assert interval is not None
    assert interval.mid == pytest.approx((better.value or 0) - (worse.value or 0), abs=1e-12)
    assert better.interval is not None
    assert worse.interval is not None
    truth = true_profit(0.9, sd=JITTER) - true_profit(0.66, sd=JITTER)
    assert interval.low <= truth <= interval.high


def test_a_policy_far_from_the_log_is_refused_and_gets_no_number() -> None:
    world = draw(5_000, seed=1)
    weights = target_weights(world, 1.8)
    assert weights.ess < 0.1 * 5_000
    model = {"model_target": world.value, "model_logged": world.value}
    for refused in (
        ips(world.profit, weights, seed=0),
        snips(world.profit, weights, seed=0),
        doubly_robust(world.profit, weights, seed=0, **model),
        switch_dr(world.profit, weights, threshold=3.0, seed=0, **model),
    ):
        assert (refused.verdict, refused.value, refused.interval, refused.terms) == (Verdict.HOLD, None, None, None)
        assert "effective sample size" in refused.reason
        assert refused.as_json()["value"] is None
        assert difference(refused, snips(world.profit, target_weights(world, 0.9), seed=0), seed=0) is None


def test_weights_of_nothing_are_refused_not_divided_by() -> None:
    refused = snips([1.0, 2.0], density_weights([0.0, 0.0], [1.0, 1.0]), seed=0)
    assert (refused.verdict, refused.ess, refused.mean_weight) == (Verdict.HOLD, 0.0, 0.0)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_the_effective_sample_size_lies_between_nothing_and_the_rows(values: list[float]) -> None:
    ess = Weights(np.array(values)).ess
    assert 0.0 <= ess <= len(values) * (1 + 1e-9)


def test_the_logged_policy_itself_has_the_plain_mean_and_every_row_counts() -> None:
    world = draw(500, seed=2)
    weights = density_weights(world.logged_density, world.logged_density)
    for estimate in (ips(world.profit, weights, seed=0), snips(world.profit, weights, seed=0)):
        assert estimate.value == pytest.approx(world.profit.mean())
        assert (estimate.ess, estimate.mean_weight) == (pytest.approx(500), pytest.approx(1.0))


def test_without_trust_in_any_weight_switch_is_the_model_alone() -> None:
    world = draw(500, seed=2)
    weights = density_weights(world.logged_density, world.logged_density)
    found = switch_dr(world.profit, weights, model_target=world.value, model_logged=world.value, threshold=0.0, seed=0)
    assert found.value == pytest.approx(world.value.mean())


def test_one_day_alone_gives_no_interval_and_so_no_number() -> None:
    world = draw(600, seed=2)
    for estimator in (ips, snips):
        held = estimator(world.profit, target_weights(world, 0.9), seed=0, blocks=np.zeros(600))
        assert (held.verdict, held.value) == (Verdict.HOLD, None)
        assert "no interval" in held.reason


def test_days_are_resampled_whole() -> None:
    world = draw(600, seed=2)
    weights = target_weights(world, 0.9)
    by_day = ips(world.profit, weights, seed=0, blocks=np.arange(600) // 100)
    assert by_day.interval is not None
    assert by_day.interval.blocks == 6


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: density_weights([1.0], [0.0]), PermanentError),
        (lambda: density_weights([-1.0], [1.0]), PermanentError),
        (lambda: density_weights([1.0, 2.0], [1.0]), UsageError),
        (lambda: density_weights([], []), UsageError),
        (lambda: density_weights([math.nan], [1.0]), PermanentError),
        (lambda: density_weights([1e300], [1e-300]), PermanentError),
        (lambda: kernel_weights([0.0], [0.0], [1.0], bandwidth=0.0), UsageError),
        (lambda: landscape_weights([1.0], target=[0.5], logged=[0.0]), PermanentError),
        (lambda: landscape_weights([0.0], target=[0.5], logged=[1.0]), PermanentError),
        (lambda: landscape_weights([2.0], target=[0.5], logged=[0.5]), PermanentError),
        (lambda: landscape_weights([1.0], target=[1.5], logged=[0.5]), PermanentError),
        (lambda: place_weights([2], target=[[0.5, 0.5]], logged=[[0.5, 0.5]]), PermanentError),
        (lambda: place_weights([0], target=[[0.5, 0.4]], logged=[[0.5, 0.5]]), PermanentError),
        (lambda: place_weights([0], target=[[1.5, -0.5]], logged=[[0.5, 0.5]]), PermanentError),
        (lambda: place_weights([0], target=[[0.5, 0.5]], logged=[[0.0, 1.0]]), PermanentError),
        (lambda: place_weights([0, 1], target=[[0.5, 0.5]], logged=[[0.5, 0.5]]), UsageError),
        (lambda: log_normal_density([1.0], sd=0.0), UsageError),
        (lambda: ips([1.0, 2.0], density_weights([1.0], [1.0]), seed=0), UsageError),
        (lambda: ips([math.inf], density_weights([1.0], [1.0]), seed=0), PermanentError),
        (
            lambda: switch_dr(
                [1.0], density_weights([1.0], [1.0]), model_target=[1], model_logged=[1], threshold=-1.0, seed=0
            ),
            UsageError,
        ),
    ],
)
def test_a_log_that_cannot_be_is_refused(call, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        call()
