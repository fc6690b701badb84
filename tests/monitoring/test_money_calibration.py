"""Calibration: predicted against realised money, on rows whose outcome is certain."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from ml.core.verdict import Verdict
from monitoring.calibration import calibration, mature_rows

DAY = date(2026, 5, 20)


def matured(ratio: float, *, rows: int = 3000, days: int = 28, spread: float = 0.5, seed: int = 0) -> pd.DataFrame:
    """Stays of about 300 units; `ratio` is what the model promised over what came."""
    rng = np.random.default_rng(seed)
    expected = rng.lognormal(0.0, 0.4, rows) * 300e6
    stays = rng.random(rows) < 0.7
    realised = np.where(stays, expected / 0.7 * rng.lognormal(-(spread**2) / 2, spread, rows), 0.0)
    return pd.DataFrame(
        {"day": rng.integers(0, days, rows), "expected_micros": expected * ratio, "realised_micros": realised}
    )


def test_a_model_that_keeps_its_promise_passes_with_an_interval_around_one() -> None:
    found = calibration(matured(1.0), seed=1)
    assert found.finding.verdict is Verdict.PASS
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1.0 < found.high
    assert found.rows == 3000
    assert found.days == 28


@pytest.mark.ml_test_score("monitor7")
@pytest.mark.parametrize(("ratio", "side"), [(1.5, "above"), (0.6, "below")])
def test_a_model_that_promises_too_much_or_too_little_fails(ratio: float, side: str) -> None:
    found = calibration(matured(ratio), seed=1)
    assert found.finding.verdict is Verdict.FAIL
    assert side in found.finding.reason
    assert found.ratio == pytest.approx(ratio, rel=0.1)


def test_a_slightly_wrong_model_is_no_alarm_while_the_interval_reaches_the_limits() -> None:
    assert calibration(matured(1.12), seed=1).finding.verdict is Verdict.PASS


@pytest.mark.ml_test_score("monitor7")
@pytest.mark.parametrize("options", [{"rows": 100}, {"days": 3}])
def test_too_few_rows_or_days_hold(options: dict[str, int]) -> None:
    found = calibration(matured(2.0, **options), seed=1)
    assert found.finding.verdict is Verdict.HOLD
    assert found.ratio is None
    assert "too few to judge" in found.finding.reason


def test_too_uncertain_an_interval_holds() -> None:
    found = calibration(matured(1.0, rows=210, days=7, spread=2.5), seed=1)
    assert found.finding.verdict is Verdict.HOLD
    assert "too uncertain" in found.finding.reason


def test_no_champion_holds() -> None:
    assert calibration(None, seed=1).finding.verdict is Verdict.HOLD


def test_rows_that_realised_nothing_hold_instead_of_dividing_by_zero() -> None:
    found = calibration(matured(1.0).assign(realised_micros=0.0), seed=1)
    assert found.finding.verdict is Verdict.HOLD


def test_rows_without_a_prediction_do_not_count() -> None:
    rows = matured(1.0)
    rows["expected_micros"] = rows["expected_micros"].astype("Float64")
    rows.loc[:999, "expected_micros"] = pd.NA
    assert calibration(rows, seed=1).rows == 2000


def test_the_interval_is_repeatable_and_wider_when_days_differ() -> None:
    """Rows of one day are alike: whole days are resampled."""
    rows = matured(1.0)
    uneven = rows.assign(realised_micros=rows["realised_micros"] * np.where(rows["day"] % 2 == 0, 1.6, 0.4))
    calm, again, rough = calibration(rows, seed=1), calibration(rows, seed=1), calibration(uneven, seed=1)
    assert (calm.low, calm.high) == (again.low, again.high)
    assert (rough.high or 0) - (rough.low or 0) > 2 * ((calm.high or 0) - (calm.low or 0))


def bookings() -> pd.DataFrame:
    start = pd.Timestamp(datetime(2026, 5, 20, tzinfo=UTC))
    return pd.DataFrame(
        {
            "booking_id": ["leaves today", "leaves tomorrow", "left long ago", "cancelled, leaves today", "open"],
            "check_in": [
                start - timedelta(days=2),
                start - timedelta(days=1),
                start - timedelta(days=60),
                start - timedelta(days=2),
                start - timedelta(days=5),
            ],
            "los_nights": [2, 2, 3, 2, 2],
            "outcome": ["stayed", "open", "stayed", "cancelled", "open"],
        }
    )


def test_a_booking_is_mature_when_its_planned_check_out_has_passed_whatever_became_of_it() -> None:
    """By when the outcome became known, cancellations would come first and stays would be missing."""
    found = mature_rows(bookings(), day=DAY)
    assert found["booking_id"].tolist() == ["leaves today", "cancelled, leaves today"]
    assert found["day"].dt.date.tolist() == [DAY, DAY]
