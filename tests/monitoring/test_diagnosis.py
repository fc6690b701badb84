"""The likely cause from the pattern of what moved, on markets made by hand: no scenario of the simulator is named here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from monitoring.causes import CAUSES as MEANINGS
from monitoring.diagnosis import CAUSES, believe, diagnose
from monitoring.observed import observe
from monitoring.signatures import SIGNATURES, SYMPTOMS
from monitoring.watchers import watch
from monitoring.watchers.series import MARKET, MarketSeries, Scope
from tests.monitoring.markets import LAST, PER_LEAF, plus, quiet, times, whole

Make = Callable[[MarketSeries], MarketSeries]


def wider_gap(s: MarketSeries, by: float) -> MarketSeries:
    """Every price gap is larger by as much, so that their spread stays."""
    mean = PER_LEAF["gap"] / PER_LEAF["priced"]
    return plus(plus(s, by, "gap", "priced", last=2), 2 * mean * by + by**2, "gap_squares", "priced", last=2)


def cheaper_rivals(s: MarketSeries) -> MarketSeries:
    s = plus(s, -0.05, "rival_price_change", "matched_rivals", last=2)
    return times(wider_gap(s, 0.05), 0.8, "places", last=2)


def dearer_us(s: MarketSeries) -> MarketSeries:
    return wider_gap(plus(s, 0.04, "own_price_change", "matched", last=2), 0.04)


def wrong_prices(s: MarketSeries) -> MarketSeries:
    s = plus(s, -0.05, "own_price_change", "matched", last=2)
    s = plus(plus(s, -0.05, "gap", "priced", last=2), 0.012, "gap_squares", "priced", last=2)
    return plus(plus(s, 0.2, "far_lower", "priced", last=2), 0.3, "inaccurate", "checked", last=2)


def lost_conversions(s: MarketSeries) -> MarketSeries:
    s = times(s, 0.0, "day0", "late", "bookings", last=2)
    return whole(s, "direct", 345.0)


CASES: dict[str, tuple[str, Make]] = {
    "fewer searches": ("demand", lambda s: times(s, 0.5, "eligible", "impressions", "places", "places_expected", "priced", "bids", last=3)),
    "new hotels": ("demand", lambda s: plus(s, 0.15, "new_hotels", "eligible", last=3)),
    "cheaper rivals": ("rivals", cheaper_rivals),
    "rivals bid less": ("rivals", lambda s: times(s, 1.4, "places", last=2)),
    "rivals bid more": ("rivals", lambda s: times(times(s, 0.7, "places", last=2), 1.25, "spend", last=2)),
    "our prices": ("parity", dearer_us),
    "wrong prices": ("feed", wrong_prices),
    "rows twice": ("feed", lambda s: whole(s, "repeated", 300.0)),
    "half a day": ("feed", lambda s: whole(s, "last_seen_hour", 9.0)),
    "lost conversions": ("tracking", lost_conversions),
    "cancellations": ("cancellations", lambda s: times(s, 2.2, "early_cancelled", last=6)),
    "first price": ("auction", lambda s: times(s, 1 / 0.6, "spend", last=2, partner="google")),
    "a wrong unit": ("auction", lambda s: times(s, 3.0, "spend", last=2, partner="trivago")),
    "bids in another unit": ("auction", lambda s: times(s, 3.0, "bids", "spend", "clicked_bids", last=1, partner="trivago")),
    "a commission": ("auction", lambda s: times(s, 0.0, "spend", last=2, partner="trivago")),
    "conversions alone": ("model", lambda s: times(s, 0.62, "day0", "late", "bookings", "champion_bookings", last=12)),
    "conversions, and places for it": ("model", lambda s: times(times(s, 0.62, "day0", "late", "bookings", "champion_bookings", last=12), 0.8, "places", last=3)),
    "promises alone": ("model", lambda s: times(s, 1.6, "expected_bookings", last=40)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_cause_is_named_from_the_pattern(name: str) -> None:
    cause, make = CASES[name]
    found = diagnose(watch(make(quiet()), LAST))
    assert found, "something moved"
    assert found[0].cause == cause, [(one.cause, round(one.share, 2)) for one in found]
    assert found[0].share >= 0.5
    assert found[0].evidence, "said in sentences"


def test_a_quiet_market_has_no_cause() -> None:
    assert diagnose(watch(quiet(), LAST)) == []


@pytest.mark.parametrize(("partner", "scope"), [("google", Scope("google")), ("", MARKET)])
def test_the_part_of_the_market_is_named(partner: str, scope: Scope) -> None:
    found = diagnose(watch(times(quiet(), 1 / 0.6, "spend", last=2, partner=partner), LAST))
    assert found[0].scope == scope


def test_what_nothing_explains_is_unknown() -> None:
    """Prices, cancellations, hotels, predictions and deliveries at once: no single cause does that."""
    odd = times(times(dearer_us(quiet()), 2.5, "early_cancelled", last=6), 2.0, "predicted_bookings", last=3)
    odd = plus(odd, 0.15, "new_hotels", "eligible", last=3)
    odd = whole(whole(odd, "repeated", 300.0), "last_seen_hour", 9.0)
    assert diagnose(watch(odd, LAST))[0].cause == "unknown"


def test_the_cause_of_the_day_before_is_believed_in_a_little_more() -> None:
    findings = watch(times(quiet(), 0.62, "day0", "late", "bookings", last=12), LAST)
    without, with_it = diagnose(findings), diagnose(findings, before="tracking")
    shares = [{one.cause: one.share for one in found}.get("tracking", 0.0) for found in (without, with_it)]
    assert shares[1] > shares[0]


def test_without_any_symptom_every_cause_is_as_likely() -> None:
    belief = believe({})
    assert set(belief) == set(CAUSES)
    assert sum(belief.values()) == pytest.approx(1.0)
    assert max(belief.values()) == pytest.approx(min(belief.values()))


def test_the_table_is_whole() -> None:
    assert {way.cause for way in SIGNATURES} == set(CAUSES)
    for way in SIGNATURES:
        assert set(way.moves) == set(SYMPTOMS)
        assert all(up > 0 and down > 0 and up + down < 1 for up, down in way.moves.values()), way.way


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_has_a_meaning_for_people(cause: str) -> None:
    assert f"drift:{cause}" in MEANINGS


@pytest.mark.parametrize(
    ("make", "loses"),
    [
        (lambda s: times(s, 1 / 0.6, "spend", last=2), True),
        (lambda s: times(s, 1.4, "places", "clicks", "clicks_expected", "spend", "booking_value", last=2), False),
    ],
    ids=["dearer clicks", "more of the same clicks"],
)
def test_the_impact_is_what_the_day_earns_less_than_its_weeks(make: Make, loses: bool) -> None:
    seen = observe(make(quiet()), LAST)
    assert seen.impact is not None
    assert seen.impact.profit is not None
    assert (seen.impact.profit < 0) is loses
    assert seen.impact.at_stake == max(0, -seen.impact.profit)
    if loses:
        assert seen.impact.spend == pytest.approx(-seen.impact.profit, rel=0.2)


def test_an_outage_costs_what_is_not_credited_and_no_profit() -> None:
    seen = observe(lost_conversions(quiet()), LAST)
    assert seen.diagnoses[0].cause == "tracking"
    assert seen.blind_since is not None
    assert seen.impact is not None
    assert seen.impact.at_stake is not None
    # 15 % of 2,400 a leaf, in micros
    assert seen.impact.at_stake == pytest.approx(4 * 0.15 * 2400e6, rel=0.2)
    assert seen.impact.profit == pytest.approx(0, abs=0.1 * seen.impact.at_stake)


def test_nothing_that_moved_costs_nothing() -> None:
    seen = observe(quiet(), LAST)
    assert seen.impact is None
    assert seen.blind_since is None
    assert seen.judged
