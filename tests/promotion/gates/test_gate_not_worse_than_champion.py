from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval
from ml.promotion.evidence import Evidence
from ml.promotion.gates.not_worse_than_champion import NotWorseThanChampion

GATE = NotWorseThanChampion()


def with_loss(good: Evidence, place: int = 0, **changes: Any) -> Evidence:
    model = good.models[0]
    losses = list(model.losses)
    losses[place] = replace(losses[place], **changes)
    return replace(good, models=(replace(model, losses=tuple(losses)),))


def over(low: float, high: float, *, blocks: int = 14, rows: int = 2_000) -> Interval:
    return Interval(low, (low + high) / 2, high, blocks=blocks, rows=rows)


def test_passes_a_candidate_as_good_as_the_champion_within_the_margin(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number) == (Verdict.PASS, 0.0)
    assert result.threshold == pytest.approx(0.02 * 0.50)


def test_fails_a_candidate_that_is_worse_by_more_than_the_margin(good: Evidence) -> None:
    result = GATE.judge(with_loss(good, over_champion=over(0.011, 0.02)))
    assert result.verdict is Verdict.FAIL
    assert result.reason.endswith("worse")


def test_fails_when_only_a_guard_loses_money(good: Evidence) -> None:
    """The log loss is as it was, the net value is predicted worse by 5 to 7 % of the champion's deviance."""
    result = GATE.judge(with_loss(good, place=1, over_champion=over(7.5, 10.5)))
    assert result.verdict is Verdict.FAIL
    assert "net_value_deviance" in result.reason


def test_the_first_champion_passes_with_that_reason(good: Evidence) -> None:
    first = with_loss(replace(good, champion_generation=0), champion=None, over_champion=None)
    result = GATE.judge(first)
    assert result.verdict is Verdict.PASS
    assert "first champion" in result.reason


@pytest.mark.parametrize(
    "interval",
    [
        None,
        over(-0.01, 0.011),
        over(-0.005, 0.005, blocks=6),
        over(-0.005, 0.005, rows=299),
        over(-0.005, float("inf")),
    ],
    ids=["missing", "straddles the margin", "few days", "few rows", "unbounded"],
)
def test_holds_while_nothing_is_shown(good: Evidence, interval: Interval | None) -> None:
    assert GATE.judge(with_loss(good, over_champion=interval)).verdict is Verdict.HOLD


def test_holds_when_it_is_not_known_whether_there_is_a_champion(good: Evidence) -> None:
    assert GATE.judge(replace(good, champion_generation=None)).verdict is Verdict.HOLD


def test_holds_when_the_champions_loss_is_missing(good: Evidence) -> None:
    assert GATE.judge(with_loss(good, champion=None)).verdict is Verdict.HOLD


def test_a_loss_that_fails_is_not_hidden_by_one_that_is_missing(good: Evidence) -> None:
    evidence = with_loss(with_loss(good, over_champion=None), place=1, over_champion=over(7.5, 10.5))
    assert GATE.judge(evidence).verdict is Verdict.FAIL


def test_the_reason_says_what_was_shown(good: Evidence) -> None:
    assert GATE.judge(good).reason == "value: log_loss: 0.5 against the champion's 0.5, margin 0.01: not worse"
