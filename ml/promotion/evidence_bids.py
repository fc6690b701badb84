"""What the gates about bids judge: behaviour of a candidate's models, and what its bids would do.

As in `ml.promotion.evidence`, `None` means that a number was not measured, and a gate that needs it holds. Where a gate has
nothing to judge in a market, such as a bid language where nobody is bid to, `DoesNotApply` says so with its reason: the
gate passes and repeats it. Shares are 0 to 1, money is in the market's micros.
"""

from __future__ import annotations

from dataclasses import dataclass

from ml.evaluation.interval import Interval


@dataclass(frozen=True)
class DoesNotApply:
    """There is nothing to judge, because of a fact about the market; never because something failed."""

    because: str


@dataclass(frozen=True)
class SparseHotels:
    """What the model makes of hotels of which less than 5 bookings were to be expected when it was trained.

    A hotel's multiplier is what the model predicts of its clicks, over what it predicts of the same clicks at a hotel that
    it does not know. `follows` is the share of the excess of a hotel's own bookings over the expected ones that its
    multiplier repeats, `ought` the share that the spread of all hotels justifies (empirical Bayes). `outside_share` is the
    share of the sparse hotels' clicks with a multiplier beyond the gate's 0.4 to 2.5. `over_bid_share` is the probability,
    weighted by clicks, that the bid is more than twice the worth of a click, the hotel's multiplier having the
    posterior of its own bookings. `promised` is predicted over realised bookings, on later clicks, of the sparse hotels with
    the highest multipliers; None where these promise too few to tell.
    """

    hotels: int | None = None
    sparse: int | None = None
    bookings: int | None = None
    follows: float | None = None
    ought: float | None = None
    lowest: float | None = None
    highest: float | None = None
    outside_share: float | None = None
    over_bid_share: float | None = None
    promised: Interval | None = None


@dataclass(frozen=True)
class LandscapeCheck:
    """Clicks and cost that the candidate's landscape expects of bids that were moved at random, over those that came.

    The curves are learned from the other auctions of the same days. `clicks` and `cost` are intervals of expected over
    realised, resampled by hotel; `covered` is the share of `groups` (partner and day) whose clicks lay within their 80 %
    interval.
    """

    auctions: int | None = None
    days: int | None = None
    clicks: Interval | None = None
    cost: Interval | None = None
    groups: int | None = None
    covered: float | None = None


@dataclass(frozen=True)
class Probe:
    """One property, asked of real rows with one thing changed.

    `broken` is the share of the rows, by weight, that break it by more than its tolerance; `worst` the largest break, as a
    share of the answer. Where the property is a proportion, `elasticity` is the change of the logarithm of the answers' sum
    over that of what was changed, and `wanted` what it ought to be.
    """

    name: str
    rows: int | None = None
    broken: float | None = None
    worst: float | None = None
    elasticity: float | None = None
    wanted: float | None = None


@dataclass(frozen=True)
class Monotonicity:
    """The properties that were asked."""

    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True)
class Replay:
    """Profit of the candidate's bids less that of the champion's, over the champion's, in the auctions of the last days.

    Both play every auction on the same response of the market, day by day in order, with the same budget for each day.
    A click is worth what candidate and champion say, each believed as far as the matured outcomes speak for it (`trust`
    of the candidate), scaled to what came (`scale`). `gain` is the difference's interval over days, trusts and scales.
    """

    days: int | None = None
    auctions: int | None = None
    trust: float | None = None
    scale: float | None = None
    candidate_profit_micros: float | None = None
    champion_profit_micros: float | None = None
    budget_micros: float | None = None
    candidate_spend_micros: float | None = None
    champion_spend_micros: float | None = None
    gain: Interval | None = None
    worse_by_margin: float | None = None


@dataclass(frozen=True)
class OffPolicy:
    """What the logs say the candidate's bids would have earned above the champion's, over the champion's profit.

    `snips` and `dr` rest on realised bookings only as rewards. `ess_share` is the effective share of the clicks,
    `mean_weight` the mean of their weights over the one that was expected, near 1 where propensities are right.
    """

    clicks: int | None = None
    ess_share: float | None = None
    mean_weight: float | None = None
    snips: Interval | None = None
    dr: Interval | None = None


@dataclass(frozen=True)
class Shock:
    """A scenario: profit of the candidate's and the champion's bids in it, and spend over what the candidate's are expected to
    cost without it."""

    name: str
    candidate_profit_micros: float | None = None
    champion_profit_micros: float | None = None
    spend_over_plan: float | None = None


@dataclass(frozen=True)
class Stress:
    """The same bids under shocks that they do not answer to.

    `usual_profit_micros` is what the champion's bids (where there is none: the candidate's) earn without any shock.
    """

    usual_profit_micros: float | None = None
    champion: bool | None = None
    shocks: tuple[Shock, ...] = ()


@dataclass(frozen=True)
class Constraints:
    """Simulated weeks of the candidate's bids, of days as they came, against what the settings ask.

    `plan_over` and `budget_over` are the mean spend of a day over what the bids are expected to cost and over the daily
    budget, less 1; `weeks_over` the share of weeks that spend more than the tolerance above it; `weeks_under_floor` the share
    of weeks whose return is below the floor by more than its tolerance; `above_cap` the number of bids above the cap. None:
    not measured; a budget or floor that is not set has its `has_` False.
    """

    weeks: int | None = None
    has_budget: bool | None = None
    budget_over: float | None = None
    weeks_over: float | None = None
    has_floor: bool | None = None
    weeks_under_floor: float | None = None
    plan_over: float | None = None
    above_cap: int | None = None


@dataclass(frozen=True)
class DryRun:
    """One partner's files made of the candidate's bids.

    `refusal` is the rule that they break, empty where the partner's checks accept them. `language_loss` is the share of the
    expected profit that the language loses, `champion_loss` that of the champion's bids in the same words; None without.
    `clipped_share` is the share of spend that is bid at the cap, or would be above it. `unit_error` is the largest difference, over cells, of
    the bid per click that the files say from the one in the table, as a share; None where files could not be read back.
    """

    partner: str
    refusal: str | None = None
    language_loss: float | None = None
    champion_loss: float | None = None
    clipped_share: float | None = None
    unit_error: float | None = None
    files: int | None = None


@dataclass(frozen=True)
class PartnerDryRun:
    """Every partner that would be bid to."""

    partners: tuple[DryRun, ...] = ()


@dataclass(frozen=True)
class ServingRehearsal:
    """The candidate in a process of its own, with limits, before any traffic: rows scored there and here.

    `matched_share` of `compared` predictions were the same bit for bit; `p99_ms` is the 99th percentile of the processor
    time of a prediction of one row over `timed` of them, `fault` what went wrong, empty where nothing did.
    """

    compared: int | None = None
    matched_share: float | None = None
    timed: int | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Shadow:
    """Days on which the candidate bid in shadow, what went wrong, and its promise for the champion's bids over what came."""

    days: int | None = None
    critical: int | None = None
    predicted_over_realised: float | None = None


@dataclass(frozen=True)
class RollbackDrill:
    """Age of the last drill of a rollback, in days, and how long it took, in seconds."""

    age_days: float | None = None
    took_s: float | None = None


@dataclass(frozen=True)
class BiddingEvidence:
    """The evidence of gates 8 to 19; each part is measured, does not apply, or is missing.

    `failed` says of parts that are missing why: their name, and the error that stopped the measurement.
    """

    failed: tuple[tuple[str, str], ...] = ()
    sparse_hotels: SparseHotels | DoesNotApply | None = None
    landscape: LandscapeCheck | DoesNotApply | None = None
    monotonicity: Monotonicity | DoesNotApply | None = None
    replay: Replay | DoesNotApply | None = None
    off_policy: OffPolicy | DoesNotApply | None = None
    stress: Stress | DoesNotApply | None = None
    constraints: Constraints | DoesNotApply | None = None
    partner_dry_run: PartnerDryRun | DoesNotApply | None = None
    serving: ServingRehearsal | DoesNotApply | None = None
    shadow: Shadow | DoesNotApply | None = None
    rollback_drill: RollbackDrill | DoesNotApply | None = None
