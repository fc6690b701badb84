"""The published bidding policies that every other one has to beat.

theta is the predicted click probability (pctr) of an auction, theta0 the campaign's train CTR, CPC its mean train cost
per click. Bids are in price units; the engine takes the floor and caps them.

| policy | bid | source |
|---|---|---|
| const | b0 | optimal-rtb, python/rtb-test.py |
| rand | uniform between 0 and b0 | same |
| mcpc | theta x CPC | rlb-dp, python/mcpc.py |
| lin | b0 x theta / theta0 | rlb-dp, python/lin_bid.py |
| ortb | sqrt(c / lambda x theta + c^2) - c | Zhang, Yuan and Wang, KDD 2014, for the win rate b / (c + b) |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ml.evaluation.replay.engine import MAX_BID, Plan, Rules
from ml.evaluation.replay.inputs import Auctions, CampaignStats
from ml.evaluation.replay.policy import ABOVE_ZERO, Param, Params, Policy, train_ctr

_LEVELS = tuple(sorted({round(float(bid)) for bid in np.geomspace(1, 2000, 120)}))
"""Bids at theta0 that are tried: 1 to 2,000, each 6 % above the one before where integers allow."""

_HALF_WON = (10.0, 20.0, 40.0, 60.0, 80.0, 120.0, 200.0)
"""Values of c that are tried: the median market price of the nine iPinYou campaigns is 41 to 77."""

_B0 = Param("the bid; for rand the highest, for lin the one at pctr = train CTR", least=0)


def _const(auctions: Auctions, _stats: CampaignStats, _rules: Rules, params: Params) -> Plan:
    return Plan(np.full(len(auctions), params["b0"]))


def _const_candidates(_train: Auctions, _stats: CampaignStats, _rules: Rules) -> Iterable[Params]:
    return ({"b0": float(bid)} for bid in range(1, MAX_BID + 1))


def _rand(auctions: Auctions, _stats: CampaignStats, _rules: Rules, params: Params) -> Plan:
    return Plan(np.random.default_rng(int(params["seed"])).random(len(auctions)) * params["b0"])


def _mcpc(auctions: Auctions, stats: CampaignStats, _rules: Rules, _params: Params) -> Plan:
    train_ctr(stats, "mcpc")
    return Plan(auctions.pctr * stats.cpc)


def _mcpc_candidates(_train: Auctions, _stats: CampaignStats, _rules: Rules) -> Iterable[Params]:
    return ({},)


def _lin(auctions: Auctions, stats: CampaignStats, _rules: Rules, params: Params) -> Plan:
    return Plan(auctions.pctr * params["b0"] / train_ctr(stats, "lin"))  # in the order of the published code


def _level_candidates(_train: Auctions, _stats: CampaignStats, _rules: Rules) -> Iterable[Params]:
    return ({"b0": float(bid)} for bid in _LEVELS)


def _ortb(auctions: Auctions, _stats: CampaignStats, _rules: Rules, params: Params) -> Plan:
    c, shadow_price = params["c"], params["lambda"]
    with np.errstate(over="ignore"):  # an infinite bid is the highest bid
        return Plan(np.sqrt(c * auctions.pctr / shadow_price + c * c) - c)


def _ortb_candidates(_train: Auctions, stats: CampaignStats, _rules: Rules) -> Iterator[Params]:
    """Every c with the lambdas that bid each of the levels at theta0."""
    theta0 = train_ctr(stats, "ortb")
    for c in _HALF_WON:
        for level in _LEVELS[::2]:
            yield {"c": c, "lambda": c * theta0 / ((level + c) ** 2 - c * c)}


PEERS = (
    Policy("const", _const, _const_candidates, {"b0": _B0}),
    Policy("rand", _rand, _level_candidates, {"b0": _B0, "seed": Param("of the random numbers", 0, 0, whole=True)}),
    Policy("mcpc", _mcpc, _mcpc_candidates),
    Policy("lin", _lin, _level_candidates, {"b0": _B0}),
    Policy(
        "ortb",
        _ortb,
        _ortb_candidates,
        {
            "c": Param("the bid that wins half of the auctions", ABOVE_ZERO),
            "lambda": Param("clicks that a price unit has to buy", ABOVE_ZERO),
        },
    ),
)
"""const, rand, mcpc, lin and ortb."""
