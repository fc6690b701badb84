"""The parameters of a policy, found on train rows: the candidate with the most clicks there."""

from __future__ import annotations

from ml.evaluation.replay.engine import Rules, replay
from ml.evaluation.replay.inputs import Auctions, CampaignStats
from ml.evaluation.replay.policy import Params, Policy, check, complete


def tuned(policy: Policy, train: Auctions, stats: CampaignStats, rules: Rules, *, fixed: Params) -> dict[str, float]:
    """The candidate that wins the most clicks on the train rows; of several, the one that costs least.

    Args:
        policy: which.
        train: train rows, never those that the result is quoted on.
        stats: train totals of the campaign.
        rules: the rules that the policy will play by.
        fixed: parameters that are given and not looked for.

    Raises:
        UsageError: a fixed parameter that the policy does not have, or a value that cannot be.
    """
    check(policy, fixed)
    best: tuple[int, int] | None = None
    found: dict[str, float] = {}
    candidates = [complete(policy, {**given, **fixed}) for given in policy.candidates(train, stats, rules)]
    if len(candidates) == 1:
        return candidates[0]
    for candidate in candidates:
        outcome = replay(train, policy.plan(train, stats, rules, candidate), rules)
        score = (int(outcome.clicks.sum()), -int(outcome.cost.sum()))
        if best is None or score > best:
            best, found = score, candidate
    return found
