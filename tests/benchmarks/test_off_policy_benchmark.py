"""The off-policy benchmark judges policies from a log that holds nothing of the truth, and counts what it says it counts."""

from __future__ import annotations

from dataclasses import fields
from datetime import date

import numpy as np
import pytest

from benchmarks import off_policy
from benchmarks.off_policy import POLICIES, Judged, agreement, one_seed, table
from benchmarks.off_policy_log import SD, Log, play_days
from ml.market.simulator.source import make_market


@pytest.fixture(scope="module")
def judged() -> Judged:
    """A small market, a few days."""
    small = {"HOTELS": 40, "OPPORTUNITIES": 6_000, "LOGGED_DAYS": 3, "LEARNED_DAYS": 8}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small.items():
            patch.setattr(off_policy, name, value)
        return one_seed(3)


def test_every_policy_has_a_truth_and_an_estimate_of_each_kind(judged: Judged) -> None:
    assert set(judged.truth) == set(POLICIES)
    assert {name.split("_")[0] for name in judged.estimates} == {"bookings", "density", "landscape"}
    for estimates in judged.estimates.values():
        assert set(estimates) == set(POLICIES)
        for one in estimates.values():
            assert one.mean_weight == pytest.approx(1.0, abs=0.1)
            assert one.ess / one.rows > 0.1


def test_a_policy_beyond_the_reach_of_the_jitter_is_refused(judged: Judged) -> None:
    assert judged.far.value is None
    assert "effective sample size" in judged.far.reason


def test_the_table_has_a_line_for_each_policy(judged: Judged) -> None:
    assert len(table(judged).splitlines()) == 2 + len(POLICIES)


def test_the_log_holds_what_an_advertiser_sees() -> None:
    hidden = {"conversion", "value", "click_chance", "jitter", "needed", "scores", "click_die", "conversion_die"}
    assert not hidden & {field.name for field in fields(Log)}


def test_the_truth_of_the_logged_centre_is_near_what_the_log_earned() -> None:
    market = make_market(3, 40, 8_000, ())
    log, truth = play_days(market, date(2026, 3, 2), 2, {"as it is": lambda log: np.ones(len(log.bid))})
    assert len(log.bid) > 8_000
    assert float(np.std(np.log(log.bid / log.centre))) == pytest.approx(0.35, abs=0.02)
    assert SD < 0.35
    assert 0 < truth["as it is"] < 0.1


def test_pairs_are_right_wrong_refused_or_too_near_to_count() -> None:
    truth = {"a": 1.0, "b": 2.0, "c": 2.01, "d": 4.0}
    said = {"a": 5.0, "b": 6.0, "c": 5.5, "d": None}
    assert agreement(truth, said) == (2, 3)
    assert agreement(truth, said, apart=0.01) == (2, 2)
