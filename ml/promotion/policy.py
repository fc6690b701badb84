"""What a promotion must show, and when a person is asked: typed values, whose digest is part of every decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ml.core.digests import Digest, digest_json
from ml.core.errors import UsageError
from ml.core.verdict import Verdict, worst
from ml.promotion.evidence import Evidence
from ml.promotion.gates import Gates
from ml.promotion.gates.base import GateResult
from ml.promotion.gates.beats_baseline import BeatsBaseline
from ml.promotion.gates.bid_change import BidChange
from ml.promotion.gates.calibration import Calibration
from ml.promotion.gates.code_version import OfCommittedCode
from ml.promotion.gates.constraints import Constraints
from ml.promotion.gates.contract_and_freshness import ContractAndFreshness
from ml.promotion.gates.delay_backtest import DelayBacktest
from ml.promotion.gates.discrimination import Discrimination
from ml.promotion.gates.evidence_gathered import EvidenceGathered
from ml.promotion.gates.feature_parity import FeatureParity
from ml.promotion.gates.field_calibration import FieldCalibration
from ml.promotion.gates.gains_on_champion import GainsOnChampion
from ml.promotion.gates.label_maturity import LabelMaturity
from ml.promotion.gates.landscape import Landscape
from ml.promotion.gates.leakage import Leakage
from ml.promotion.gates.monotonicity import Monotonicity
from ml.promotion.gates.not_rejected import NotRejected
from ml.promotion.gates.not_worse_than_champion import NotWorseThanChampion
from ml.promotion.gates.off_policy import OffPolicy
from ml.promotion.gates.partner_dry_run import PartnerDryRun
from ml.promotion.gates.profit_kept import ProfitKept
from ml.promotion.gates.replay import Replay
from ml.promotion.gates.rollback_drill import RollbackDrill
from ml.promotion.gates.row_counts import RowCounts
from ml.promotion.gates.serving import Serving
from ml.promotion.gates.shadow import Shadow
from ml.promotion.gates.slices import Slices
from ml.promotion.gates.sparse_hotels import SparseHotels
from ml.promotion.gates.stress import Stress
from ml.promotion.gates.value_error import ValueErrors

APPROVAL_MODES = ("never", "first", "always")


@dataclass(frozen=True)
class Policy:
    """Gates with their limits, and the changes of bids above which a person is asked: of the spend (a share, either way), of the
    median cell, and of the 99th percentile."""

    gates: Gates
    approval_spend_change: float = 0.15
    approval_median_change: float = 0.15
    approval_p99_change: float = 0.60

    def as_json(self) -> dict[str, Any]:
        """Every gate in order with its limits."""
        return {
            "gates": [{"gate": gate.name, "limits": gate.limits()} for gate in self.gates],
            "approval_spend_change": self.approval_spend_change,
            "approval_median_change": self.approval_median_change,
            "approval_p99_change": self.approval_p99_change,
        }

    def digest(self) -> Digest:
        """The policy's identity: another limit, another digest."""
        return digest_json(self.as_json())


POLICY = Policy(
    EvidenceGathered()
    & NotRejected()
    & OfCommittedCode()
    & ContractAndFreshness()
    & RowCounts()
    & LabelMaturity()
    & DelayBacktest()
    & Leakage()
    & FeatureParity()
    & BeatsBaseline()
    & NotWorseThanChampion()
    & GainsOnChampion()
    & Discrimination()
    & ProfitKept()
    & Slices()
    & Calibration()
    & FieldCalibration()
    & ValueErrors()
    & SparseHotels()
    & Landscape()
    & Monotonicity()
    & Replay()
    & OffPolicy()
    & Stress()
    & Constraints()
    & BidChange()
    & PartnerDryRun()
    & Serving()
)
"""What a candidate has to show where a promotion moves the champion at once."""

ROLLOUT_POLICY = replace(POLICY, gates=POLICY.gates & Shadow(min_days=0) & RollbackDrill())
"""What it has to show where a rollout follows. How long the shadow lasts is the ramp's to say (`ml.promotion.ramp`): what the gate asks is
that an earlier one showed no harm."""


def policy_for(rollout: str) -> Policy:
    """The policy of a market by its setting `rollout`: off or canary."""
    return POLICY if rollout == "off" else ROLLOUT_POLICY


UNWAIVABLE = ("evidence_gathered", "code_version")
"""Gates that no person can waive: without evidence there is nothing to approve, and of code in no commit there never will be."""


def decide(
    evidence: Evidence, policy: Policy, waivers: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Verdict, list[GateResult]]:
    """The verdict of a policy and each gate's result, in the policy's order. Never raises: what fails, holds.

    Args:
        evidence: what was measured.
        policy: the gates.
        waivers: by name of the gate, who waived it, why and until when. A waived gate keeps its own verdict, and the verdict of the
            whole does without it, if any gate is left. What passes by itself is not waived.
    """
    results = [
        replace(result, waived=dict(waivers[result.gate]))
        if waivers and result.gate in waivers and result.gate not in UNWAIVABLE and result.verdict is not Verdict.PASS
        else result
        for result in policy.gates.judge(evidence)[1]
    ]
    return worst(result.verdict for result in results if result.waived is None), results


def approval_needed(
    policy: Policy, mode: str, evidence: Evidence, results: Sequence[GateResult] = ()
) -> tuple[str, ...]:
    """Why a person must approve a promotion; empty when nobody is asked.

    Args:
        policy: the policy.
        mode: the setting `approval`: "never", "first" (the first promotion of a market, and a change of spend or of
            bids above the policy's limits) or "always".
        evidence: what the gates judged. A number that is missing is a reason to ask.
        results: what the gates said; one that was waived is a reason to ask in every mode.

    Raises:
        UsageError: the mode is not known.
    """
    if mode not in APPROVAL_MODES:
        raise UsageError(f"{mode!r} is no approval mode", next=f"set it to one of: {', '.join(APPROVAL_MODES)}")
    waived = [f"{result.gate} was waived by {result.waived['by']}" for result in results if result.waived]
    if mode == "never":
        return tuple(waived)
    reasons = [*waived, *(["the setting asks for every promotion"] if mode == "always" else [])]
    if not evidence.champion_generation:
        reasons.append("first promotion of this market")
    changes = evidence.bids.changes if evidence.bids else ()
    for change in changes:
        if change.spend_change is None or not abs(change.spend_change) <= policy.approval_spend_change:
            size = "is not known" if change.spend_change is None else f"is {change.spend_change:+.1%}"
            reasons.append(f"{change.name}: the predicted change of spend {size}")
        for what, number, limit in (
            ("median change of a bid", change.median_change, policy.approval_median_change),
            ("99th percentile of the changes of bids", change.p99_change, policy.approval_p99_change),
        ):
            if number is None or not number <= limit:
                size = "is not known" if number is None else f"is {number:.1%}"
                reasons.append(f"{change.name}: the {what} {size}")
    return tuple(reasons)
