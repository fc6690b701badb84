"""Pacing within the day: one multiplier on all bids that keeps spend to its plan and the return above its floor.

Three rules behind one form. A pacer sees spend and value some steps late, counts what is in flight, stops when the
day's money is committed, and does not wind up: the multiplier that is not in force stays near the one that is.

Sources: PID with a clipped actuator, Zhang et al. WSDM'16; dual mirror descent, Balseiro, Lu, Mirrokni; the minimum
of a budget and a return multiplier, "A Field Guide for Pacing Budget and ROS Constraints" (arXiv 2302.08530).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ml.bidding.landscape import Floats
from ml.core.errors import UsageError

QUICK_STEPS = 8
"""Steps over which the present rate of spend is averaged."""
LARGEST = 3.0
"""No single step counts for more than this, however far it is from what was wanted."""


@dataclass(frozen=True)
class DayPlan:
    """What a day may spend.

    Attributes:
        budget_micros: money of the day, above 0.
        traffic_share: expected share of the day's traffic in each step, summing to 1; shape (S,).
        roas_floor: value per cost at least; None: no floor.
        value_per_bid: value of a click over its bid at multiplier 1: the marginal return of the portfolio.
    """

    budget_micros: float
    traffic_share: Floats
    roas_floor: float | None
    value_per_bid: float


@dataclass(frozen=True)
class Tuning:
    """Settings of a pacer, chosen on other seeds than those that `benchmarks/pacing.py` quotes.

    Attributes:
        budget_gain: share of a relative budget error that one step corrects.
        roas_gain: the same for the return.
        damping: PID only: share of the change of an error that is corrected at once.
        memory_steps: PID only: steps over which the return is averaged.
        reserve: share of a day's money that is kept for what reports have not told yet.
        margin: how far above its floor the return is aimed.
        slack: how far the multiplier that is not in force may exceed the one that is (anti-windup).
        elasticity: relative change of spend per relative change of the multiplier.
        low, high: limits of a multiplier.
    """

    budget_gain: float
    roas_gain: float
    damping: float = 0.0
    memory_steps: float = 192.0
    reserve: float = 0.003
    margin: float = 0.01
    slack: float = 1.2
    elasticity: float = 1.3
    low: float = 0.05
    high: float = 4.0


@dataclass(frozen=True)
class Told:
    """What one step brought: its expected share of the day's traffic, its spend and its value in micros."""

    share: float
    spent: float
    value: float


@dataclass
class Pacer:
    """The multiplier of one portfolio, kept from day to day.

    Each day: `start_day`, then for each step `multiplier` and, once the step `lag` before it is reported, `told`.

    Attributes:
        tuning: its settings.
        rule: how what a step told moves the multipliers.
        budget_multiplier, roas_multiplier: what budget and floor each ask for; the smaller is in force.
    """

    tuning: Tuning
    rule: Callable[[Pacer, Told], None]
    budget_multiplier: float = 1.0
    roas_multiplier: float = 1.0
    budget_price: float = 0.0
    roas_price: float = 0.05
    errors: tuple[float, float] = (0.0, 0.0)
    plan: DayPlan | None = None
    _known: float = 0.0
    _next: int = 0
    _at_one: float = 0.0
    _shares: float = 0.0
    _cost: float = 0.0
    _value: float = 0.0
    _flying: deque[tuple[float, float, bool]] = field(default_factory=deque)

    def start_day(self, plan: DayPlan, *, spent_micros: float = 0.0) -> None:
        """Begin a day. What was learned is kept; late reports of the day before teach, but are not today's money.

        Args:
            plan: of the day.
            spent_micros: of it already, where the pacer comes to a day that is under way.
        """
        self.plan, self._known, self._next = plan, spent_micros, 0
        self._flying = deque((share, multiplier, False) for share, multiplier, _ in self._flying)
        self.budget_price = self.budget_price or plan.value_per_bid

    def multiplier(self, step: int) -> float:
        """The multiplier of all bids in a step, asked for once a step and in order; 0 when the money is committed."""
        plan, tuning = self.today, self.tuning
        share = float(plan.traffic_share[step])
        chosen = self.budget_multiplier
        if plan.roas_floor is not None:
            chosen = min(chosen, self.roas_multiplier)
        expected, left = self.rate_at_one * share * chosen**tuning.elasticity, self.left
        if left <= 0:
            chosen = 0.0
        elif expected > left:
            # The last money of the day buys a part of a step.
            chosen *= (left / expected) ** (1 / tuning.elasticity)
            chosen = 0.0 if chosen < tuning.low else chosen
        self._flying.append((share, chosen, True))
        self._next = step + 1
        return chosen

    def told(self, spent_micros: float, value_micros: float) -> None:
        """Spend and value of the oldest step that was not told yet."""
        share, multiplier, is_today = self._flying.popleft()
        self._known += spent_micros if is_today else 0.0
        fade = 1 - 1 / self.tuning.memory_steps
        self._cost, self._value = self._cost * fade + spent_micros, self._value * fade + value_micros
        if multiplier <= 0:
            return
        fade = 1 - 1 / QUICK_STEPS
        self._at_one = self._at_one * fade + spent_micros / multiplier**self.tuning.elasticity
        self._shares = self._shares * fade + share
        self.rule(self, Told(share, spent_micros, value_micros))
        self._hold_together()

    def skip(self) -> None:
        """Nothing can be learned of the oldest step that was not told yet, such as one that was seen in part."""
        self._flying.popleft()

    @property
    def today(self) -> DayPlan:
        """The plan of the day; ValueError where none was started."""
        if self.plan is None:
            raise ValueError("no day was started")
        return self.plan

    @property
    def rate_at_one(self) -> float:
        """Spend on a whole day's traffic at multiplier 1, as lately seen; 0 before anything was."""
        return self._at_one / self._shares if self._shares > 0 else 0.0

    @property
    def roas(self) -> float:
        """Value per cost as lately seen; inf before anything was spent."""
        return self._value / self._cost if self._cost > 0 else math.inf

    @property
    def left(self) -> float:
        """The day's money that is neither spent nor expected to be by steps in flight."""
        e = self.tuning.elasticity
        flying = math.fsum(share * math.pow(m, e) for share, m, is_today in self._flying if is_today and m > 0)
        return self.today.budget_micros * (1 - self.tuning.reserve) - self._known - flying * self.rate_at_one

    @property
    def wanted_rate(self) -> float:
        """Spend on a whole day's traffic that uses up what is left in the steps to come; 0 when none is left."""
        ahead = float(self.today.traffic_share[self._next :].sum())
        return max(self.left, 0.0) / ahead if ahead > 1e-6 else 0.0

    @property
    def aim(self) -> float:
        """The return aimed at."""
        return (self.today.roas_floor or 0.0) * (1 + self.tuning.margin)

    def _hold_together(self) -> None:
        tuning = self.tuning
        if self.today.roas_floor is None:
            self.roas_multiplier = self.budget_multiplier
        lowest = min(self.budget_multiplier, self.roas_multiplier)
        ceiling = min(max(lowest, tuning.low) * tuning.slack, tuning.high)
        self.budget_multiplier = min(max(self.budget_multiplier, tuning.low), ceiling)
        self.roas_multiplier = min(max(self.roas_multiplier, tuning.low), ceiling)


def pid(pacer: Pacer, told: Told) -> None:
    """Traffic-aware PID in velocity form: log multipliers move by the errors and by their changes.

    The budget's error is the log of the rate of spend that would use up the day's money over the traffic to come,
    over the present rate; the floor's is the log of the recent return over its aim.
    """
    del told
    tuning = pacer.tuning
    rate, wanted = pacer.rate_at_one, pacer.wanted_rate
    budget_error, roas_error = pacer.errors
    if rate > 0 and wanted > 0:
        error = math.log(wanted / rate) / tuning.elasticity - math.log(pacer.budget_multiplier)
        moved = tuning.budget_gain * error + tuning.damping * (error - budget_error)
        pacer.budget_multiplier *= math.exp(_bounded(moved))
        budget_error = error
    if pacer.aim > 0 and 0 < pacer.roas < math.inf:
        error = math.log(pacer.roas / pacer.aim)
        moved = tuning.roas_gain * error + tuning.damping * (error - roas_error)
        pacer.roas_multiplier *= math.exp(_bounded(moved))
        roas_error = error
    pacer.errors = budget_error, roas_error


def dual_mirror_descent(pacer: Pacer, told: Told) -> None:
    """Prices of budget and floor move by each step's own error; the bid is `v (1 + lambda) / (mu + lambda tau)`."""
    plan, tuning = pacer.today, pacer.tuning
    budget, roas = _gradients(pacer, told)
    at_one = plan.value_per_bid
    pacer.budget_price *= math.exp(-tuning.budget_gain * budget)
    bid = 1 / pacer.budget_price
    if pacer.aim > 0:
        pacer.roas_price *= math.exp(-tuning.roas_gain * roas)
        pacer.roas_price = min(max(pacer.roas_price, 0.05), 1_000.0)
        bid = (1 + pacer.roas_price) / (pacer.budget_price + pacer.roas_price * pacer.aim)
    chosen = min(max(at_one * bid, tuning.low), tuning.high)
    # Anti-windup: the budget's price alone would bid at most `slack` x what is bid.
    pacer.budget_price = max(pacer.budget_price, at_one / (tuning.slack * chosen))
    pacer.budget_multiplier = pacer.roas_multiplier = chosen


def min_pacing(pacer: Pacer, told: Told) -> None:
    """A dual of its own for the budget and for the floor, neither knowing of the other; the smaller bid is made."""
    budget, roas = _gradients(pacer, told)
    pacer.budget_multiplier *= math.exp(pacer.tuning.budget_gain * budget)
    pacer.roas_multiplier *= math.exp(pacer.tuning.roas_gain * roas)


def _gradients(pacer: Pacer, told: Told) -> tuple[float, float]:
    """How far a step fell short of the spend wanted and exceeded the return aimed at, in mean steps of spend."""
    steps, wanted = len(pacer.today.traffic_share), pacer.wanted_rate
    budget = steps * (told.share - told.spent / wanted) if wanted > 0 else 0.0
    roas = steps * (told.value / pacer.aim - told.spent) / pacer.today.budget_micros if pacer.aim > 0 else 0.0
    return _bounded(budget), _bounded(roas)


def _bounded(number: float) -> float:
    return min(max(number, -LARGEST), LARGEST)


RULES: Mapping[str, tuple[Callable[[Pacer, Told], None], Tuning]] = {
    "pid": (pid, Tuning(budget_gain=0.10, roas_gain=0.03, damping=0.05, memory_steps=24)),
    "dual_mirror_descent": (dual_mirror_descent, Tuning(budget_gain=0.05, roas_gain=0.10)),
    "min_pacing": (min_pacing, Tuning(budget_gain=0.05, roas_gain=0.033)),
}
"""Each rule with its tuning. To add one: a function and a line."""


SERVED = Tuning(budget_gain=0.5, roas_gain=0.0, damping=0.05, elasticity=1.0, low=0.002, high=1.0)
"""For the `pid` of the bid service: what bids are expected to cost is known at once and in proportion to them, and no bid is raised."""


def open_pacer(name: str) -> Pacer:
    """A pacer by the name of its rule; UsageError, naming the known ones, if there is none."""
    if name not in RULES:
        raise UsageError(f"there is no pacing rule {name!r}", next=f"choose one of: {', '.join(RULES)}")
    rule, tuning = RULES[name]
    return Pacer(tuning, rule)
