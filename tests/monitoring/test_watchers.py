"""Each watcher: what passes, what fails, and that missing evidence is HOLD."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ml.core.verdict import Verdict
from monitoring.findings import COLD_START, SMALL_MARKET
from monitoring.watchers import WATCHERS, watch
from monitoring.watchers.limits import LIMITS, WatchLimits
from monitoring.watchers.measures import SUMS, WHOLE
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MARKET, MarketSeries, Scope
from tests.monitoring.markets import LAST, plus, quiet, times, whole, without

Make = Callable[[MarketSeries], MarketSeries]

CASES: list[tuple[str, str, int, Make, tuple[str, ...]]] = [
    ("completion", "same_day_bookings", -1, lambda s: times(s, 0.0, "day0", last=1), ("day0",)),
    ("completion", "bookings_per_click", -1, lambda s: times(s, 0.6, "day0", "late", last=10), ("late",)),
    ("cancellations", "early_cancellations", 1, lambda s: times(s, 2.0, "early_cancelled", last=6), ("early_expected",)),
    ("prices", "own_price", 1, lambda s: plus(s, 0.03, "own_price_change", "matched", last=1), ("matched",)),
    ("prices", "rival_price", -1, lambda s: plus(s, -0.03, "rival_price_change", "matched_rivals", last=1), ("matched_rivals",)),
    ("prices", "price_gap", 1, lambda s: plus(s, 0.03, "gap", "priced", last=1), ("gap",)),
    ("feed", "price_spread", 1, lambda s: times(s, 3.0, "gap_squares", last=1), ("gap_squares",)),
    ("feed", "wrong_rates", 1, lambda s: plus(s, 0.4, "inaccurate", "checked", last=3), ("checked",)),
    ("landscape", "cost_of_bid", 1, lambda s: times(s, 1.6, "spend", last=1), ("clicked_bids",)),
    ("landscape", "click_rate", -1, lambda s: times(s, 0.5, "clicks", last=1), ("clicks_expected",)),
    ("places", "places_reached", -1, lambda s: times(s, 0.7, "places", last=1), ("places_expected",)),
    ("spend", "hourly_spend", 1, lambda s: times(s, 4.0, "spend", "clicks", last=1), ("spend",)),
    ("spend", "spend_over_plan", 1, lambda s: times(s, 1.8, "spend", last=1), ("planned_spend",)),
    ("demand", "eligible", -1, lambda s: times(s, 0.5, "eligible", last=3), ("eligible",)),
    ("demand", "new_hotels", 1, lambda s: plus(s, 0.1, "new_hotels", "eligible", last=1), ("new_hotels",)),
    ("predictions", "predicted_booking", -1, lambda s: times(s, 0.7, "predicted_bookings", last=1), ("predicted_bookings",)),
    ("calibration_bets", "bookings_over_expected", -1, lambda s: times(s, 0.5, "champion_bookings", last=20), ("expected_bookings",)),
    ("freshness", "last_hour", -1, lambda s: whole(s, "last_seen_hour", 11.0), ("last_seen_hour",)),
    ("reports", "repeated_rows", 1, lambda s: whole(s, "repeated", 350.0), ("repeated",)),
]  # fmt: skip


def of(found: list[Watched], column: str, scope: Scope = MARKET) -> Watched:
    (one,) = [f for f in found if f.column == column and f.scope == scope]
    return one


@pytest.mark.parametrize(("check", "column"), [case[:2] for case in CASES])
def test_a_quiet_market_passes(check: str, column: str) -> None:
    finding = of(WATCHERS[check](quiet(), LAST, _limits()), column)
    assert finding.verdict is Verdict.PASS
    assert not finding.moved


@pytest.mark.ml_test_score("monitor7")
@pytest.mark.parametrize(("check", "column", "direction", "make"), [case[:4] for case in CASES])
def test_what_moves_fails_with_its_direction_and_a_sentence(
    check: str, column: str, direction: int, make: Make
) -> None:
    finding = of(WATCHERS[check](make(quiet()), LAST, _limits()), column)
    assert finding.verdict is Verdict.FAIL
    assert finding.direction == direction
    assert finding.since is not None
    assert finding.since <= LAST
    assert finding.check == check
    assert len(finding.reason) > 20


@pytest.mark.parametrize(("check", "missing"), [(case[0], case[4]) for case in CASES])
def test_what_the_source_does_not_provide_is_held_never_passed(check: str, missing: tuple[str, ...]) -> None:
    found = WATCHERS[check](without(quiet(), *missing), LAST, _limits())
    held = [f for f in found if f.verdict is Verdict.HOLD]
    assert held
    assert all(f.effect is None for f in held)


@pytest.mark.parametrize("check", ["completion", "cancellations", "prices", "feed", "landscape", "places", "demand"])
def test_a_young_market_is_held(check: str) -> None:
    found = WATCHERS[check](quiet(days=9), LAST, _limits())
    assert {f.verdict for f in found if f.scope == MARKET} == {Verdict.HOLD}
    assert {f.check for f in found if f.scope == MARKET} <= {COLD_START, SMALL_MARKET, check}


@pytest.mark.parametrize("landed", [1, 3, 20])
def test_the_first_days_of_a_market_are_held_and_break_nothing(landed: int) -> None:
    """The series begin before the market did: those days are not known."""
    series = quiet()
    gone = np.where(np.arange(63) < 63 - landed, np.nan, 1.0)
    young = replace(
        series,
        sums={name: found * gone for name, found in series.sums.items()},
        hourly={name: found * gone[None, :, None] for name, found in series.hourly.items()},
        whole={name: found * gone for name, found in series.whole.items()},
    )
    found = watch(young, LAST)
    assert not [f.column for f in found if f.verdict is Verdict.FAIL]
    assert [f for f in found if f.verdict is Verdict.HOLD]


def test_served_features_that_differ_are_evidence_and_leave_the_alarm_to_parity() -> None:
    finding = of(WATCHERS["skew"](whole(quiet(), "skew_equal", 150.0), LAST, _limits()), "served_as_trained")
    assert finding.moved
    assert finding.verdict is Verdict.PASS
    held = WATCHERS["skew"](without(quiet(), "skew_equal"), LAST, _limits())
    assert [f.verdict for f in held] == [Verdict.HOLD]


def test_an_outage_is_noticed_within_hours_and_names_its_point_of_sale() -> None:
    series = times(times(quiet(), 6.0, "day0", "clicks", last=63), 0.0, "day0", last=1, point="DE")
    found = WATCHERS["completion"](series, LAST, _limits())
    german = of(found, "same_day_bookings", Scope("", "DE"))
    assert german.verdict is Verdict.FAIL
    assert german.noticed_at is not None
    assert german.noticed_at <= datetime(2026, 3, 8, 12, tzinfo=UTC)
    assert of(found, "same_day_bookings", Scope("", "FR")).verdict is Verdict.PASS


def test_an_outage_that_is_over_is_no_alarm_any_more() -> None:
    series = times(quiet(), 0.0, "day0", last=3)
    series = replace(series, hourly={**series.hourly, "day0": series.hourly["day0"].copy()})
    series.hourly["day0"][:-1, -1] = 10 / 24
    series.sums["day0"][:-1, -1] = 10.0
    assert of(WATCHERS["completion"](series, LAST, _limits()), "same_day_bookings").verdict is Verdict.PASS


def test_quiet_markets_raise_no_alarm_on_forty_markets_of_eight_days() -> None:
    alarms = [
        (seed, back, f.column)
        for seed in range(40)
        for back in (0, 1, 2, 3, 5, 7, 9, 11)
        for f in watch(quiet(seed=seed), LAST - timedelta(days=back))
        if f.verdict is Verdict.FAIL
    ]
    assert len(alarms) <= 1, alarms


@pytest.mark.parametrize("amplitude", [0.3, 0.6])
def test_a_season_of_demand_alone_moves_nothing(amplitude: float) -> None:
    """Everything grows with the auctions, by a tenth a week and more: ratios stay."""
    series = quiet()
    season = np.exp(amplitude * np.sin(np.arange(63) * 2 * np.pi / 120))
    counts = [name for name in series.sums if name not in {"own_price_change", "rival_price_change"}]
    grown = replace(
        series,
        sums={name: found * season if name in counts else found for name, found in series.sums.items()},
        hourly={name: found * season[None, :, None] for name, found in series.hourly.items()},
        whole={**series.whole, "planned_spend": series.whole["planned_spend"] * season},
    )
    assert [f.column for f in watch(grown, LAST) if f.verdict is Verdict.FAIL] == []


def test_last_years_weeks_tell_a_season_from_a_break() -> None:
    """A rise by a half within a week, that last year had too, is the season; without it last year it is a break."""
    series = times(quiet(), 1.6, "eligible", last=4)
    year = np.full(63, 16_000.0)
    assert of(watch(series, LAST), "eligible").verdict is Verdict.FAIL
    with_year = replace(series, whole={**series.whole, "last_year": year})
    assert of(watch(with_year, LAST), "eligible").verdict is Verdict.FAIL
    year[-4:] *= 1.6
    assert (
        of(watch(replace(with_year, whole={**series.whole, "last_year": year}), LAST), "eligible").verdict
        is Verdict.PASS
    )


def test_a_small_move_is_no_finding_however_many_rows_there_are() -> None:
    """Effect and evidence: a hundredfold market makes the evidence, never the effect."""
    large = times(quiet(), 100.0, *quiet().sums, last=63)
    moved = plus(large, 0.008, "gap", "priced", last=3)
    assert of(watch(moved, LAST), "price_gap").verdict is Verdict.PASS


def test_one_partner_is_judged_by_itself() -> None:
    found = watch(times(quiet(), 1.6, "spend", last=1, partner="google"), LAST)
    assert of(found, "cost_of_bid", Scope("google")).verdict is Verdict.FAIL
    assert of(found, "cost_of_bid", Scope("trivago")).verdict is Verdict.PASS


def test_held_days_are_no_reference_and_masked_days_are_still_looked_at() -> None:
    outage = times(quiet(), 0.0, "day0", last=2)
    masked = replace(outage, masked=frozenset({LAST - timedelta(days=1)}))
    held = replace(outage, held=frozenset({LAST - timedelta(days=1)}))
    evidence = [of(watch(s, LAST), "same_day_bookings").evidence or 0.0 for s in (outage, masked, held)]
    assert evidence[0] == pytest.approx(evidence[1])
    assert evidence[2] < evidence[1]


def test_our_own_bids_are_no_move_of_the_market() -> None:
    """A champion that bids otherwise reaches other places: that says nothing of rivals, and is held."""
    series = times(times(quiet(), 0.7, "places", last=2), 0.6, "bids", last=2)
    found = watch(series, LAST)
    assert of(found, "own_bid").moved
    assert of(found, "places_reached").verdict is Verdict.HOLD
    priced = times(times(quiet(), 1.2, "spend", last=2), 0.6, "bids", last=2)
    assert of(watch(priced, LAST), "cost_of_bid").verdict is Verdict.HOLD
    charged = times(times(quiet(), 3.0, "spend", last=2), 0.6, "bids", last=2)
    assert of(watch(charged, LAST), "cost_of_bid").verdict is Verdict.FAIL, (
        "no bid of ours makes clicks cost three times as much"
    )


def test_every_sum_of_the_series_has_a_meaning() -> None:
    assert set(quiet().sums) <= set(SUMS)
    assert set(quiet().whole) <= set(WHOLE)


def test_findings_are_small_json() -> None:
    found = [f.as_json() for f in watch(quiet(), LAST)]
    assert json.loads(json.dumps(found)) == found


def _limits() -> WatchLimits:

    return LIMITS
