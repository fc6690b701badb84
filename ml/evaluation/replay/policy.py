"""What a bidding policy of a replay is: a plan of bids, the parameters it takes, the values worth trying."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ml.core.errors import PermanentError, UsageError
from ml.evaluation.replay.engine import Plan, Rules
from ml.evaluation.replay.inputs import Auctions, CampaignStats

Params: TypeAlias = Mapping[str, float]

ABOVE_ZERO = math.ulp(0.0)
"""As the least value of a parameter: any number above 0."""


@dataclass(frozen=True)
class Param:
    """A number that a policy takes: its meaning, its least value, its value where none is given, whether an integer."""

    meaning: str
    least: float = -math.inf
    default: float | None = None
    whole: bool = False

    def allows(self, value: float) -> bool:
        """Whether the parameter may have this value."""
        return math.isfinite(value) and value >= self.least and (not self.whole or float(value).is_integer())

    @property
    def allowed(self) -> str:
        """The values that it may have, in words."""
        kind = "an integer" if self.whole else "a finite number"
        if self.least == -math.inf:
            return kind
        return f"{kind} above 0" if self.least == ABOVE_ZERO else f"{kind} of {self.least:g} or more"


@dataclass(frozen=True)
class Policy:
    """A rule that bids.

    Attributes:
        name: on the command line.
        plan: of the auctions, from the campaign's train totals, the rules and complete parameters.
        candidates: parameters worth trying, from train rows; of those the one with the most clicks is taken.
        params: which it takes.
    """

    name: str
    plan: Callable[[Auctions, CampaignStats, Rules, Params], Plan]
    candidates: Callable[[Auctions, CampaignStats, Rules], Iterable[Params]]
    params: Mapping[str, Param] = field(default_factory=dict)


def complete(policy: Policy, given: Params) -> dict[str, float]:
    """The parameters of a policy, checked, with defaults for those not given.

    Raises:
        UsageError: a parameter that it does not have, one that it lacks, or a value that cannot be.
    """
    check(policy, given)
    found = {}
    for name, param in policy.params.items():
        value = given.get(name, param.default)
        if value is None:
            raise UsageError(
                f"the policy {policy.name} needs the parameter {name}: {param.meaning}",
                next=f"give --param {name}=VALUE, or --tune TRAIN.parquet",
            )
        found[name] = float(value)
    return found


def check(policy: Policy, given: Params) -> None:
    """Refuse, as a usage error, a parameter that the policy does not have or a value that cannot be."""
    for name, value in given.items():
        if name not in policy.params:
            takes = ", ".join(policy.params) or "none"
            raise UsageError(f"the policy {policy.name} has no parameter {name!r}", next=f"it takes {takes}")
        if not policy.params[name].allows(value):
            allowed = policy.params[name].allowed
            raise UsageError(f"the parameter {name}={value:g} of {policy.name} is not {allowed}", next="correct it")


def train_ctr(stats: CampaignStats, policy: str) -> float:
    """theta0, clicks per train impression; without a click a policy that bids by it is refused."""
    if stats.clk_train < 1:
        raise PermanentError(
            f"campaign {stats.campaign} has clk_train {stats.clk_train}, so {policy} has no click rate to bid by",
            next="choose const, rand or ortb, or give statistics with clicks",
        )
    return stats.ctr
