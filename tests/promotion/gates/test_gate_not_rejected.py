from __future__ import annotations

from dataclasses import replace

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.not_rejected import NotRejected

GATE = NotRejected()


def test_passes_a_version_that_nobody_refused(good: Evidence) -> None:
    assert GATE.judge(good).verdict is Verdict.PASS


def test_fails_a_version_that_a_person_refused_and_says_who(good: Evidence) -> None:
    result = GATE.judge(replace(good, rejections=("dana answered 'Reject' to decision 3",)))
    assert (result.verdict, result.reason) == (Verdict.FAIL, "dana answered 'Reject' to decision 3")


def test_holds_while_it_is_not_known_whether_it_was_refused(good: Evidence) -> None:
    assert GATE.judge(replace(good, rejections=None)).verdict is Verdict.HOLD
