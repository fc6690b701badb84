from __future__ import annotations

from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.evidence_bids import DryRun
from ml.promotion.evidence_bids import PartnerDryRun as Measured
from ml.promotion.gates.partner_dry_run import PartnerDryRun
from tests.promotion.gates.bid_parts import put

GATE = PartnerDryRun()


def said(good: Evidence, **changes: Any) -> Evidence:
    numbers = {"language_loss": 0.05, "champion_loss": 0.04, "clipped_share": 0.0, "unit_error": 0.0, "files": 1}
    bad = DryRun(**{"partner": "trivago", "refusal": "", **numbers, **changes})
    fine = DryRun("google", "", language_loss=0.02, clipped_share=0.0, files=1)
    return put(good, "partner_dry_run", Measured((fine, bad)))


def test_passes_files_that_every_partner_takes_with_the_largest_loss(good: Evidence) -> None:
    result = GATE.judge(said(good))
    assert (result.verdict, result.number) == (Verdict.PASS, 0.05)


@pytest.mark.parametrize(
    "changes",
    [{"refusal": "the file is empty"}, {"unit_error": 1.5}, {"language_loss": 0.4}],
    ids=["refused", "a wrong unit", "cannot be said"],
)
def test_fails_what_one_partner_would_refuse_or_misread(good: Evidence, changes: dict[str, Any]) -> None:
    result = GATE.judge(said(good, **changes))
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("trivago:")


@pytest.mark.parametrize("changes", [{"language_loss": 0.25}, {"clipped_share": 0.4}], ids=str)
def test_holds_where_language_or_cap_take_more_than_of_the_champions_bids(
    good: Evidence, changes: dict[str, Any]
) -> None:
    assert GATE.judge(said(good, **changes)).verdict is Verdict.HOLD


def test_a_partner_that_takes_any_table_loses_nothing(good: Evidence) -> None:
    assert GATE.judge(said(good, language_loss=None, unit_error=None)).verdict is Verdict.PASS


@pytest.mark.parametrize("name", ["refusal", "clipped_share", "files"])
def test_holds_when_a_number_is_missing(good: Evidence, name: str) -> None:
    assert GATE.judge(said(good, **{name: None})).verdict is Verdict.HOLD
