"""Our own policy, `bidwright`: pctr over a shadow price of the budget that is found anew before every bid.

In a second-price auction the best bid is theta / mu for a shadow price mu of the budget, and mu is right when the
spend expected per auction is what is left of the budget per auction left (Lagrange; re-solved as in Balseiro and
Gur, "Learning in Repeated Auctions with Budgets", Management Science 2019). With log-normal prices and log-normal theta, the bid
CPM x exp(k) x theta / g, g being the geometric mean of theta, spends CPM x Phi((k - level) / spread) per auction. So

    pace = budget left / (auctions left x CPM)
    bid  = CPM x exp(level + spread x (q0 + gain x (probit(pace) - q0))) x (theta / g)^shape

where q0 is the probit of the pace at the start of an episode. With gain 1 this is the re-solved optimum; above 1 the
policy leans harder against its own spending, which makes up for a curve that does not fit well.

g is the running geometric mean of the pctr seen before each auction of the log (a bidder sees every request), so
that a click model which drifts, or which is off by a factor, neither starves nor floods the budget. In these units
the curve is much the same everywhere: level is about half of the squared log-sd of the prices, and spread the root
of both log-variances. It is fitted to train rows without a look at their clicks (`fit_spend`).

The defaults were fitted on halves of the 1458 train rows (level 0.08 and 0.23, spread 1.10 and 1.18) and of the
test rows of 2997 that rlb-dp publishes (0.41 and 0.64, 1.12 and 1.23); the gain was chosen on the same halves
(total clicks for gain 1, 1.5, 2, 3 with the default curve: 1459, 1472, 1473, 1456; lin tuned there: 1293). No test
row of 1458, 2259 or 2261 had a part in it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ml.core.errors import PermanentError
from ml.evaluation.replay.engine import MAX_BID, Floats, Ints, Plan, Rules
from ml.evaluation.replay.inputs import Auctions, CampaignStats
from ml.evaluation.replay.policy import Param, Params, Policy, train_ctr

LEVEL, SPREAD, GAIN, SHAPE = 0.35, 1.2, 2.0, 1.0

_SURE = 1e-9
"""The pace is kept this far from 0 and 1, where the probit has no value."""

_LOG_OF_ANY_BID = 100.0
"""A higher log of a bid changes nothing: the cap of the engine holds."""

_LEAST_RELATIVE = 1e-4
"""A pctr below this share of the train CTR counts as this share in the geometric mean."""

_PRIOR_AUCTIONS, _PRIOR_LOG = 100.0, -0.5
"""What the running mean starts from: so many auctions of a log-normal pctr of log-sd 1 whose mean is the train CTR."""

_PACES = (1 / 128, 0.8)
"""Between these shares of the full cost the curve of spend is fitted."""


def relative_pctr(pctr: npt.NDArray[np.float64], ctr: float) -> Floats:
    """pctr over its running geometric mean of the auctions before, shape (auctions,); no auction looks ahead."""
    relative = pctr / ctr
    logs = np.log(np.maximum(relative, _LEAST_RELATIVE))
    before = np.cumsum(logs) - logs
    mean = (before + _PRIOR_AUCTIONS * _PRIOR_LOG) / (np.arange(len(logs)) + _PRIOR_AUCTIONS)
    return np.asarray(relative / np.exp(mean), dtype=np.float64)


def fit_spend(train: Auctions, stats: CampaignStats) -> dict[str, float]:
    """Level and spread of the curve of spend of a campaign, from its train rows; clicks are not looked at.

    Raises:
        PermanentError: the rows cost too little for a curve: nearly every price is 0, say.
    """
    from scipy.special import ndtri

    relative = relative_pctr(train.pctr, train_ctr(stats, "bidwright"))
    logs = np.linspace(-6, 6, 121)
    spend = np.empty(len(logs))
    for place, log_bid in enumerate(logs):
        bids = np.floor(np.minimum(stats.cpm * np.exp(log_bid) * relative, MAX_BID))
        spend[place] = np.sum(train.market_price, where=bids >= train.market_price) / len(train)
    share = spend / stats.cpm if stats.cpm else np.zeros(len(logs))
    paces = np.geomspace(*_PACES, 40)
    paces = paces[(paces > share[0]) & (paces < share[-1])]
    if len(paces) < 2:
        raise PermanentError(
            f"the train rows of campaign {stats.campaign} do not cost what its statistics say, so they have no curve",
            next="give train rows and statistics of the same campaign, or --param level= and spread=",
        )
    spread, level = np.polyfit(ndtri(paces), np.interp(paces, share, logs), 1)
    return {"level": float(level), "spread": float(spread)}


def _plan(auctions: Auctions, stats: CampaignStats, rules: Rules, params: Params) -> Plan:
    from scipy.special import ndtri

    ctr, cpm = train_ctr(stats, "bidwright"), max(stats.cpm, _SURE)
    level, spread, gain = params["level"], params["spread"], params["gain"]

    def probit(left: Ints | int, auctions_left: int) -> Floats:
        return np.asarray(ndtri(np.clip(left / (auctions_left * cpm), _SURE, 1 - _SURE)))

    start = probit(rules.budget, rules.episode)

    def pace(left: Ints, auctions_left: int) -> Floats:
        log_bid = level + spread * (start + gain * (probit(left, auctions_left) - start))
        return np.asarray(cpm * np.exp(np.minimum(log_bid, _LOG_OF_ANY_BID)))

    return Plan(relative_pctr(auctions.pctr, ctr) ** params["shape"], pace)


def _candidates(train: Auctions, stats: CampaignStats, _rules: Rules) -> Iterable[Params]:
    return (fit_spend(train, stats),)


BIDWRIGHT = Policy(
    "bidwright",
    _plan,
    _candidates,
    {
        "level": Param("log of bid / CPM at the mean pctr that spends half of the full cost", default=LEVEL),
        "spread": Param("how far that log moves per probit of spend", 0, SPREAD),
        "gain": Param("how hard it leans against its own spending", 0, GAIN),
        "shape": Param("exponent of pctr", 0, SHAPE),
    },
)
"""Ours."""
