from __future__ import annotations

from dataclasses import replace

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.evidence_gathered import EvidenceGathered

GATE = EvidenceGathered()


def test_passes_where_all_evidence_was_gathered(good: Evidence) -> None:
    assert GATE.judge(good).verdict is Verdict.PASS


def test_holds_where_gathering_failed_and_names_what_failed(good: Evidence) -> None:
    result = GATE.judge(replace(good, gathered=False, failure="KeyError: 'hotel_id'"))
    assert (result.verdict, result.reason) == (Verdict.HOLD, "gathering the evidence failed: KeyError: 'hotel_id'")


def test_holds_where_nobody_said_whether_it_was_gathered(good: Evidence) -> None:
    assert GATE.judge(replace(good, gathered=None)).verdict is Verdict.HOLD
