from __future__ import annotations

from dataclasses import replace

import pytest

from ml.core.errors import UsageError
from ml.core.verdict import Verdict
from ml.promotion.evidence import BidEvidence, Evidence
from ml.promotion.gates import GATES, Gates
from ml.promotion.gates.calibration import Calibration
from ml.promotion.policy import POLICY, Policy, approval_needed, decide

OF_A_ROLLOUT = {"shadow", "rollback_drill"}


def test_the_policy_holds_every_gate_once_but_those_of_a_rollout() -> None:
    assert [gate.name for gate in POLICY.gates] == [name for name in GATES if name not in OF_A_ROLLOUT]


def test_good_evidence_passes_every_gate_of_the_policy(good: Evidence) -> None:
    verdict, results = decide(good, POLICY)
    assert verdict is Verdict.PASS
    assert [result.verdict for result in results] == [Verdict.PASS] * len(POLICY.gates.gates)


def test_no_evidence_holds_every_gate_of_the_policy(good: Evidence) -> None:
    verdict, results = decide(Evidence(day=good.day, candidate=good.candidate), POLICY)
    assert verdict is Verdict.HOLD
    assert {result.verdict for result in results} == {Verdict.HOLD}


def test_the_digest_changes_with_any_limit_and_any_gate() -> None:
    same = Policy(Gates(tuple(POLICY.gates)))
    stricter = Policy(Gates(tuple(Calibration(high=1.1) if g.name == "calibration" else g for g in POLICY.gates)))
    fewer = Policy(Gates(tuple(POLICY.gates)[1:]))
    assert same.digest() == POLICY.digest()
    assert len({p.digest() for p in (POLICY, stricter, fewer, replace(POLICY, approval_spend_change=0.1))}) == 4


def test_a_policy_prints_its_limits() -> None:
    calibration = next(gate for gate in POLICY.as_json()["gates"] if gate["gate"] == "calibration")
    assert calibration["limits"] == {
        "min_blocks": 7, "min_rows": 300, "level": 0.9, "low": 0.8, "high": 1.15, "lowest": 0.7, "highest": 1.25,
        "sharp_width": 0.03, "sharp_high": 1.08,
    }  # fmt: skip


def test_a_policy_without_gates_promotes_nothing(good: Evidence) -> None:
    assert decide(good, Policy(Gates(())))[0] is Verdict.HOLD


def spending(good: Evidence, change: float | None) -> Evidence:
    assert good.bids is not None
    return replace(good, bids=replace(good.bids, changes=(replace(good.bids.changes[0], spend_change=change),)))


def test_nobody_is_asked_where_the_setting_says_never(good: Evidence) -> None:
    assert approval_needed(POLICY, "never", replace(spending(good, -0.2), champion_generation=0)) == ()


def test_a_person_is_asked_for_the_first_promotion_and_for_a_large_change_of_spend(good: Evidence) -> None:
    first = replace(good, champion_generation=0, bids=BidEvidence(published_before=False))
    assert approval_needed(POLICY, "first", good) == ()
    assert approval_needed(POLICY, "first", spending(good, 0.15)) == ()
    assert approval_needed(POLICY, "first", first) == ("first promotion of this market",)
    assert approval_needed(POLICY, "first", spending(good, -0.2)) == (
        "google: the predicted change of spend is -20.0%",
    )


@pytest.mark.parametrize("change", [{"median_change": 0.2}, {"p99_change": 0.9}, {"p99_change": None}], ids=str)
def test_a_person_is_asked_for_large_changes_of_cells_that_leave_the_spend_as_it_was(
    good: Evidence, change: dict[str, float | None]
) -> None:
    assert good.bids is not None
    changed = replace(good, bids=replace(good.bids, changes=(replace(good.bids.changes[0], **change),)))
    assert len(approval_needed(POLICY, "first", changed)) == 1
    assert approval_needed(POLICY, "never", changed) == ()


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_change_of_spend_that_is_not_known_is_a_reason_to_ask(good: Evidence, missing: float | None) -> None:
    assert len(approval_needed(POLICY, "first", spending(good, missing))) == 1


def test_a_person_is_always_asked_where_the_setting_says_so(good: Evidence) -> None:
    assert approval_needed(POLICY, "always", good) == ("the setting asks for every promotion",)


def test_an_unknown_mode_is_refused_not_taken_for_never(good: Evidence) -> None:
    with pytest.raises(UsageError, match="is no approval mode"):
        approval_needed(POLICY, "sometimes", good)
