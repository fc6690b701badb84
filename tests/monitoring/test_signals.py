"""Which incidents a verdict opens, keeps and ends."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.verdict import Verdict
from monitoring import judgement
from monitoring.diagnosis import CAUSES, Diagnosis
from monitoring.drift import DriftResult
from monitoring.findings import held, reasons_of
from monitoring.judgement import judge_day
from monitoring.observed import Observed, observe
from monitoring.signals import Signal, signals
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MARKET, Scope
from tests.monitoring.markets import LAST, quiet, times, without


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
    every = [f"drift:{cause}" for cause in CAUSES]
    assert severities(found) == dict.fromkeys(["completeness", "check", "drift", *every, "predictions", "calibration"])


def served(equal: int) -> dict[str, Any]:
    return {"hotel_traffic": {"compared": 200, "equal": {"traffic_ctr_7d": equal}, "differing": []}}


def test_features_served_otherwise_open_an_incident_and_equal_ones_end_it(market: Any, day: Any) -> None:
    assert told(market, day, served=served(150))["parity"].severity == "critical"
    assert told(market, day, served=served(200))["parity"].severity is None
    assert "parity" not in told(market, day)


def test_the_mail_about_drift_says_whether_serving_made_it(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=3))
    signal = told(market, day, before=frozenset({"bookings.rate"}), served=served(150))["drift:unknown"]
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
    assert "drift:unknown" not in told(market, day)


def test_a_confirmed_shift_opens_drift_with_the_columns_that_moved_first(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=5))
    drift = told(market, day, before=frozenset({"bookings.rate"}))["drift:unknown"]
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
    assert found["drift:unknown"].severity == "critical"


def test_drift_ends_after_two_days_within_the_limits(market: Any, day: Any) -> None:
    assert "drift:unknown" not in told(market, day, before=frozenset({"bookings.rate"}))
    assert told(market, day)["drift:unknown"].severity is None


def test_a_young_market_wakes_nobody_and_ends_nothing(market: Any, day: Any) -> None:
    verdict = judge_day([market.subject(day, history=3)], day=day)
    found = {signal.cause: signal for signal in signals(verdict, exceeded_before=frozenset())}
    assert {cause for cause, signal in found.items() if signal.severity} == set()
    assert "drift:unknown" not in found
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


def watched(make: Any, **options: Any) -> Observed:
    return observe(make(quiet()), LAST, **options)


def dear_clicks(series: Any) -> Any:
    return times(series, 1 / 0.6, "spend", last=2, partner="google")


def told_of(market: Any, day: Any, seen: Observed, **options: Any) -> dict[str, Signal]:
    verdict = judge_day([market.subject(day)], day=day, watched=seen.told)
    found = signals(verdict, exceeded_before=frozenset(), observed=seen, **options)
    return {signal.cause: signal for signal in found}


def test_what_watchers_find_is_one_signal_of_its_likely_cause_with_money_and_charts(market: Any, day: Any) -> None:
    found = told_of(market, day, watched(dear_clicks))
    alarms = {cause: signal for cause, signal in found.items() if signal.severity}
    assert set(alarms) == {"drift:auction"}
    signal = alarms["drift:auction"]
    assert signal.at_stake_micros
    assert signal.at_stake_micros > 0
    assert signal.charts[0].name.startswith("cost of a click over our bid")
    assert signal.charts[0].marked is not None
    assert signal.charts[0].low is not None
    assert any("Spend is" in reason for reason in signal.reasons)


def test_what_moved_in_the_whole_market_is_said_once_and_kept_for_every_part(market: Any, day: Any) -> None:
    seen = watched(lambda s: times(s, 0.3, "day0", "late", "bookings", last=5))
    moved = [f for f in seen.findings if f.column == "bookings_per_click" and f.verdict is Verdict.FAIL]
    assert len(moved) > 1
    verdict = judge_day([market.subject(day)], day=day, watched=seen.told)
    whole = [f.reason for f in moved if f.scope == MARKET]
    assert [reason for reason in verdict.reasons if reason in {f.reason for f in moved}] == whole
    assert sum(one["column"] == "bookings_per_click" for one in verdict.numbers()["watchers"]) >= len(moved)


def test_a_part_that_moved_alone_is_said() -> None:
    limits: dict[str, Any] = {"verdict": Verdict.FAIL, "number": 2.0, "limit": 1.0}
    part = Watched("pace", "clicks", "cpc", reason="google pays twice", scope=Scope(partner="google"), **limits)
    other = Watched("pace", "clicks", "reach", reason="fewer places", **limits)
    seen = Observed([part, other], [], None, quiet())
    assert [(f.reason, f.implied) for f in seen.told] == [("google pays twice", False), ("fewer places", False)]
    assert reasons_of(seen.told) == ["google pays twice", "fewer places"]


def test_money_is_said_with_its_currency_and_its_direction() -> None:
    sentences = watched(dear_clicks, currency="EUR").impact.sentences  # type: ignore[union-attr]
    assert re.match(r"Spend is EUR [\d,]+\.\d\d higher a day than in the weeks before", sentences[0])
    assert all("EUR" in sentence for sentence in sentences)


def test_what_is_at_stake_in_a_part_is_held_against_the_profit_of_the_whole_market() -> None:
    """Half of the profit of a country that earns a hundredth wakes nobody."""
    part, whole = watched(dear_clicks), watched(lambda s: times(s, 1 / 0.6, "spend", last=2))
    assert part.diagnoses[0].scope == Scope(partner="google")
    assert whole.diagnoses[0].scope == MARKET
    assert part.impact and whole.impact
    assert part.impact.usual == pytest.approx(whole.impact.usual)
    assert 0 < (part.impact.share or 0.0) < (whole.impact.share or 0.0)


def test_demand_alone_wakes_nobody(market: Any, day: Any) -> None:
    seen = watched(
        lambda s: times(s, 0.3, "eligible", "impressions", "places", "places_expected", "priced", "bids", last=3)
    )
    assert told_of(market, day, seen)["drift:demand"].severity == "warning"


@pytest.mark.parametrize("cause", ["auction", "demand"])
@pytest.mark.parametrize(("evidence", "severity"), [(1.05, "warning"), (1.4, "critical")])
def test_a_dear_hour_wakes_somebody_where_it_is_beyond_doubt(
    market: Any, day: Any, cause: str, evidence: float, severity: str
) -> None:
    """On the edge, seventeen clicks of a dear hotel are chance: that is told, and can wait for the morning."""
    hour = Watched(
        "spend", "google", "hourly_spend", Verdict.FAIL, 6.5, 2.5, "the hour from 07:00 UTC cost 6.5 x its forecast",
        scope=Scope(partner="google"), effect=1.9, evidence=evidence, moved=True,
    )  # fmt: skip
    seen = Observed([hour], [Diagnosis(cause, 0.6, [hour.reason])], None, quiet())
    assert told_of(market, day, seen)[f"drift:{cause}"].severity == severity


def test_an_outage_is_critical_whatever_it_costs_and_says_when_it_was_noticed(market: Any, day: Any) -> None:
    signal = told_of(market, day, watched(lambda s: times(s, 0.0, "day0", "late", "bookings", last=2)))[
        "drift:tracking"
    ]
    assert signal.severity == "critical"
    assert signal.noticed_at.startswith("2026-03-0")


def test_a_cause_ends_when_neither_day_names_it_and_stays_while_one_does(market: Any, day: Any) -> None:
    calm = watched(lambda s: s)
    assert told_of(market, day, calm)["drift:auction"].severity is None
    assert "drift:auction" not in told_of(market, day, calm, said_before=["auction"])
    other = told_of(market, day, watched(dear_clicks), said_before=["tracking"])
    assert "drift:tracking" not in other
    assert other["drift:parity"].severity is None


def test_watchers_that_could_judge_nothing_end_nothing(market: Any, day: Any) -> None:
    blind = watched(lambda s: without(s, *s.sums, *s.whole))
    assert not blind.judged
    assert "drift:auction" not in told_of(market, day, blind, said_before=["auction"])


def test_columns_that_moved_stand_in_the_signal_of_the_cause_that_explains_them(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=5))
    seen = watched(dear_clicks)
    verdict = judge_day([market.subject(day)], day=day, exceeded_before=frozenset({"bookings.rate"}), watched=seen.told)
    found = {s.cause: s for s in signals(verdict, exceeded_before=frozenset({"bookings.rate"}), observed=seen)}
    assert {cause for cause, signal in found.items() if signal.severity} == {"drift:auction"}
    assert found["drift:auction"].columns[0]["name"] == "bookings.rate"
