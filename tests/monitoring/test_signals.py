"""Which incidents a verdict opens, keeps and ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring import judgement
from monitoring.drift import DriftResult
from monitoring.findings import held
from monitoring.judgement import judge_day
from monitoring.signals import Signal, signals


@pytest.fixture(autouse=True)
def evidently_out_of_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "distances", lambda *_, **__: DriftResult({}, None))


def predict(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"p_cancel": rows["cancel_rate"].to_numpy(dtype=float)})


def told(market: Any, day: Any, *, before: frozenset[str] = frozenset(), **options: Any) -> dict[str, Signal]:
    verdict = judge_day([market.subject(day, predict=predict)], day=day, exceeded_before=before, **options)
    return {signal.cause: signal for signal in signals(verdict, exceeded_before=before)}


def severities(found: dict[str, Signal]) -> dict[str, str | None]:
    return {cause: signal.severity for cause, signal in found.items()}


def dearer(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(rate=rows["rate"] * 1.25)


def matured(ratio: float, rows: int = 2000) -> pd.DataFrame:
    return pd.DataFrame({"day": np.arange(rows) % 28, "expected_micros": ratio, "realised_micros": 1.0})


def test_a_good_day_ends_every_cause(market: Any, day: Any) -> None:
    found = told(market, day, matured=matured(1.0))
    assert severities(found) == dict.fromkeys(["completeness", "check", "drift", "predictions", "calibration"])


def served(equal: int) -> dict[str, Any]:
    return {"hotel_traffic": {"compared": 200, "equal": {"traffic_ctr_7d": equal}, "differing": []}}


def test_features_served_otherwise_open_an_incident_and_equal_ones_end_it(market: Any, day: Any) -> None:
    assert told(market, day, served=served(150))["parity"].severity == "critical"
    assert told(market, day, served=served(200))["parity"].severity is None
    assert "parity" not in told(market, day)


def test_the_mail_about_drift_says_whether_serving_made_it(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=3))
    signal = told(market, day, before=frozenset({"bookings.rate"}), served=served(150))["drift"]
    assert any("served otherwise than training has it" in reason for reason in signal.reasons)


def test_a_day_that_is_held_says_only_that(market: Any, day: Any) -> None:
    market.change(lambda rows: rows.drop(columns="rate"), first=day)
    found = told(market, day, before=frozenset({"bookings.rate"}))
    assert severities(found) == {"completeness": "critical"}
    assert found["completeness"].title == "bookings: the column rate is missing; the day is held"


def test_a_day_with_too_few_rows_warns(market: Any, day: Any) -> None:
    market.change(lambda rows: rows.iloc[:40], first=day)
    found = told(market, day)
    assert found["completeness"].severity == "warning"
    assert found["completeness"].title.startswith("bookings: 40 rows, fewer than usual (about 150 on such a weekday)")


def test_a_first_sighting_of_a_shift_opens_nothing_and_ends_nothing(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=5))
    assert "drift" not in told(market, day)


def test_a_confirmed_shift_opens_drift_with_the_columns_that_moved_first(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=5))
    drift = told(market, day, before=frozenset({"bookings.rate"}))["drift"]
    assert drift.severity in {"warning", "critical"}
    assert drift.title.startswith("rate moved, ")
    assert drift.columns[0]["name"] == "bookings.rate"
    assert drift.reasons[0].startswith("Verdict FAIL: 1 of 6 columns and predictions that matter")


@pytest.mark.parametrize(
    "change",
    [lambda rows: rows.assign(cancel_rate=rows["cancel_rate"] + 0.2), lambda rows: rows.assign(rate=rows["rate"] * 3)],
    ids=["predictions moved", "far beyond the limit"],
)
def test_shifted_predictions_or_a_shift_twice_its_limit_are_critical(market: Any, day: Any, change: Any) -> None:
    market.change(change, first=day - timedelta(days=6))
    found = told(market, day, before=frozenset({"bookings.p_cancel", "bookings.rate"}))
    assert found["drift"].severity == "critical"


def test_drift_ends_after_two_days_within_the_limits(market: Any, day: Any) -> None:
    assert "drift" not in told(market, day, before=frozenset({"bookings.rate"}))
    assert told(market, day)["drift"].severity is None


def test_a_young_market_wakes_nobody_and_ends_nothing(market: Any, day: Any) -> None:
    verdict = judge_day([market.subject(day, history=3)], day=day)
    found = {signal.cause: signal for signal in signals(verdict, exceeded_before=frozenset())}
    assert {cause for cause, signal in found.items() if signal.severity} == set()
    assert "drift" not in found
    assert "calibration" not in found


def test_a_check_that_broke_is_told_and_ends_with_the_next_that_works(
    market: Any, day: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(market, day)["check"].severity is None
    broken = DriftResult({}, None, held("drift_error", "bookings", "bookings: drift could not be computed (boom)"))
    monkeypatch.setattr(judgement, "distances", lambda *_, **__: broken)
    check = told(market, day)["check"]
    assert check.severity == "warning"
    assert check.reasons == ["bookings: drift could not be computed (boom)"]


def test_predictions_that_are_no_numbers_are_critical(market: Any, day: Any) -> None:
    verdict = judge_day([market.subject(day, predict=lambda rows: predict(rows) * np.nan)], day=day)
    found = {signal.cause: signal for signal in signals(verdict, exceeded_before=frozenset())}
    assert found["predictions"].severity == "critical"


def test_calibration_is_told_ended_or_left_alone(market: Any, day: Any) -> None:
    off = told(market, day, matured=matured(1.4))["calibration"]
    assert off.severity == "warning"
    assert off.title == "predicted / realised net value is 1.40"
    assert told(market, day, matured=matured(1.0))["calibration"].severity is None
    assert "calibration" not in told(market, day, matured=matured(1.4, rows=50))


def test_no_subject_at_all_is_told_as_nothing(day: Any) -> None:
    found = signals(judge_day([], day=day), exceeded_before=frozenset())
    assert severities({signal.cause: signal for signal in found}) == {"completeness": None}
