from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.two_way import Estimate
from ml.promotion.evidence import Evidence
from ml.promotion.gates.gains_on_champion import GainsOnChampion

GATE = GainsOnChampion()


def paired(good: Evidence, mid: float, error: float = 0.003, *, days: int = 14) -> Evidence:
    model = good.models[0]
    loss = replace(model.losses[0], paired=Estimate(mid, error, days - 1, 40, days, 2_000))
    return replace(good, models=(replace(model, losses=(loss, *model.losses[1:])),))


def compared(good: Evidence, **changes: Any) -> Evidence:
    assert good.comparison is not None
    return replace(good, comparison=replace(good.comparison, **changes))


def test_passes_a_gain_that_is_shown_at_the_alpha_of_this_look(good: Evidence) -> None:
    result = GATE.judge(paired(good, -0.02))
    assert result.verdict is Verdict.PASS
    assert result.reason.startswith("a win in value")
    assert result.threshold == pytest.approx(0.05 * 7 / (365 + 28))


def test_holds_a_gain_that_would_be_shown_at_five_percent_but_not_over_a_year_of_looks(good: Evidence) -> None:
    evidence = paired(good, -0.009)
    assert evidence.models[0].losses[0].paired is not None
    assert evidence.models[0].losses[0].paired.p_below() < 0.01
    assert GATE.judge(evidence).verdict is Verdict.HOLD


def test_holds_a_candidate_that_is_as_good_and_learned_from_the_same_data(good: Evidence) -> None:
    assert good.comparison is not None
    same = compared(paired(good, 0.0), candidate_trained_through=good.comparison.champion_trained_through)
    assert GATE.judge(same).verdict is Verdict.HOLD
    with_incident = compared(same, incidents=("drift",))
    assert GATE.judge(with_incident).verdict is Verdict.HOLD, "an incident makes no old data new"


@pytest.mark.parametrize(("newer", "verdict"), [(27, Verdict.HOLD), (28, Verdict.PASS)])
def test_data_that_are_newer_by_a_month_refresh_a_champion_without_a_gain(
    good: Evidence, newer: int, verdict: Verdict
) -> None:
    result = GATE.judge(
        compared(
            paired(good, 0.0),
            champion_trained_through=date(2025, 2, 24) - timedelta(days=newer),
        )
    )
    assert result.verdict is verdict
    assert result.reason.startswith("a refresh, not a win") is (verdict is Verdict.PASS)


def test_newer_data_refresh_a_champion_under_an_incident(good: Evidence) -> None:
    result = GATE.judge(compared(paired(good, 0.0), incidents=("drift",)))
    assert result.verdict is Verdict.PASS
    assert "an incident of drift is open" in result.reason


def test_the_first_champion_passes_with_that_reason(good: Evidence) -> None:
    result = GATE.judge(replace(good, champion_generation=0, comparison=None))
    assert (result.verdict, result.reason[:14]) == (Verdict.PASS, "first champion")


def test_a_second_look_on_the_same_day_has_nothing_to_spend(good: Evidence) -> None:
    again = compared(paired(good, -0.02), last_look=good.day)
    assert (GATE.judge(again).verdict, GATE.judge(again).threshold) == (Verdict.HOLD, 0.0)


def test_a_look_after_a_quiet_month_may_spend_more_but_not_more_than_that(good: Evidence) -> None:
    month = GATE.judge(compared(good, champion_since=good.day - timedelta(days=28))).threshold
    year = GATE.judge(compared(good, champion_since=good.day - timedelta(days=365))).threshold
    assert month == year == pytest.approx(0.05 * 28 / (365 + 28))


def test_few_days_show_no_win(good: Evidence) -> None:
    assert GATE.judge(paired(good, -0.05, days=6)).verdict is Verdict.HOLD


@pytest.mark.parametrize(
    "missing", ["champion_since", "champion_trained_through", "candidate_trained_through", "incidents"]
)
def test_holds_when_it_is_not_known_what_is_compared(good: Evidence, missing: str) -> None:
    evidence = compared(paired(good, 0.0), **{missing: None})
    assert GATE.judge(evidence).verdict is Verdict.HOLD


def test_holds_without_a_comparison_or_a_difference(good: Evidence) -> None:
    assert GATE.judge(replace(good, comparison=None)).verdict is Verdict.HOLD
    model = good.models[0]
    none = replace(good, models=(replace(model, losses=(replace(model.losses[0], paired=None),)),))
    assert GATE.judge(none).verdict is Verdict.HOLD
