from __future__ import annotations

from dataclasses import replace

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import CodeEvidence, Evidence
from ml.promotion.gates.code_version import OfCommittedCode
from ml.promotion.policy import POLICY, ROLLOUT_POLICY, decide

GATE = OfCommittedCode()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def judged(good: Evidence, code: CodeEvidence | None) -> Verdict:
    return GATE.judge(replace(good, code=code)).verdict


def test_passes_what_a_clean_commit_trained(good: Evidence) -> None:
    assert judged(good, CodeEvidence(COMMIT, clean=True, production=True)) is Verdict.PASS


@pytest.mark.ml_test_score("model1")
def test_a_model_of_a_dirty_tree_cannot_be_promoted_in_production(good: Evidence) -> None:
    result = GATE.judge(replace(good, code=CodeEvidence(COMMIT, clean=False, production=True)))
    assert result.verdict is Verdict.FAIL
    assert (
        result.reason
        == "trained by commit 0123456789ab with changes that are in no commit: commit them, and train again"
    )


@pytest.mark.ml_test_score("model1")
@pytest.mark.parametrize("code", [None, CodeEvidence(production=True), CodeEvidence(COMMIT, production=True), CodeEvidence(COMMIT, clean=True)])  # fmt: skip
def test_holds_where_the_code_is_not_known(good: Evidence, code: CodeEvidence | None) -> None:
    assert judged(good, code) is Verdict.HOLD


@pytest.mark.parametrize("clean", [True, False, None])
def test_in_development_any_code_may_train_even_without_git(good: Evidence, clean: bool | None) -> None:
    assert judged(good, CodeEvidence("", clean=clean, production=False)) is Verdict.PASS


@pytest.mark.ml_test_score("model1")
def test_both_policies_ask_and_nobody_can_waive_it(good: Evidence) -> None:
    dirty = replace(good, code=CodeEvidence(COMMIT, clean=False, production=True))
    waived = {"code_version": {"by": "dana", "why": "urgent", "until": "2025-04-01"}}
    assert decide(dirty, POLICY, waived)[0] is Verdict.FAIL
    assert GATE in tuple(POLICY.gates) and GATE in tuple(ROLLOUT_POLICY.gates)
