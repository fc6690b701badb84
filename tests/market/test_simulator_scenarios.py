"""Each scenario does what its stated truth says, from its onset on, to its scope, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from ml.core.errors import UsageError
from ml.core.settings import Settings, load_settings
from ml.lake.parquet import encode
from ml.market.simulator.bookings import DIRECT
from ml.market.simulator.day import Market, Resolved, origin_bookings, resolve
from ml.market.simulator.partners import NAMES
from ml.market.simulator.rivals import RIVALS
from ml.market.simulator.scenarios import SCENARIOS, parse_scenarios
from ml.market.simulator.source import FIRST_DAY, Simulator, scenarios_of
from ml.market.simulator.world import COUNTRIES, World

ONSET = FIRST_DAY + timedelta(days=3)
WORLD = World.make(7, 60)
GOOGLE, TRIVAGO, TRIPADVISOR = range(3)
SCORES = [f"score_{rival.name}" for rival in RIVALS]


def settings(home: Path, *texts: str) -> Settings:
    given = {"simulator_opportunities_per_day": 500, "simulator_hotels": 20, "simulator_scenarios": texts}
    return Settings(home=home, **given)  # type: ignore[arg-type]


def day_with(*texts: str, after: int = 0, opportunities: int = 20_000) -> Resolved:
    market = Market(WORLD, 7, opportunities, parse_scenarios(texts))
    return resolve(market, ONSET + timedelta(days=after), {})


@pytest.fixture(scope="module")
def calm() -> Resolved:
    return day_with()


def at(found: Resolved, partner: int) -> np.ndarray:
    return np.flatnonzero(found.searches["partner"] == partner)


def log_scores(found: Resolved) -> np.ndarray:
    with np.errstate(divide="ignore"):
        logs: np.ndarray = np.log(np.column_stack([found.outcomes[name] for name in SCORES]))
    return logs


def lift_of_scores(calm: Resolved, other: Resolved) -> np.ndarray:
    """Difference of the logs of the rivals' scores, NaN where one of them took no part."""
    with np.errstate(invalid="ignore"):
        lift: np.ndarray = log_scores(other) - log_scores(calm)
    lift[~np.isfinite(lift)] = np.nan
    return lift


def test_the_fourteen_scenarios_of_the_plan_are_there_each_with_its_true_effect() -> None:
    assert len(SCENARIOS) == 15  # the season goes up or down
    assert all(scenario.truth for scenario in SCENARIOS.values())


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_changes_before_the_onset(name: str) -> None:
    before = ONSET - timedelta(days=1)
    quiet, loud = (
        resolve(Market(WORLD, 7, 2_000, scenarios), before, {})
        for scenarios in ((), parse_scenarios([f"{name}@{ONSET}"]))
    )
    assert quiet.searches.tobytes() == loud.searches.tobytes()
    assert quiet.outcomes.tobytes() == loud.outcomes.tobytes()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_gives_a_day_that_can_be_delivered(name: str, tmp_path: Path) -> None:
    delivery = Simulator.from_settings(settings(tmp_path, f"{name}@{FIRST_DAY}")).fetch(FIRST_DAY)
    assert all(len(encode(frame)) > 0 and len(frame) > 0 for frame in delivery.values())


@pytest.mark.parametrize(("name", "factor"), [("season_up", 1.4), ("season_down", 0.6)])
def test_a_season_moves_demand_and_conversion(calm: Resolved, name: str, factor: float) -> None:
    found = day_with(f"{name}@{ONSET}:ramp=0")
    assert len(found.searches) / len(calm.searches) == pytest.approx(factor, abs=0.03)
    higher = found.outcomes["conversion"].mean() > calm.outcomes["conversion"].mean()
    assert higher == (factor > 1)


def test_in_a_price_war_rivals_are_cheaper_and_bid_more(calm: Resolved) -> None:
    war = day_with(f"price_war@{ONSET}")
    met = np.isfinite(calm.outcomes["rival_price"])
    ratio = war.outcomes["rival_price"][met] / calm.outcomes["rival_price"][met]
    assert ratio.mean() == pytest.approx(0.94, abs=0.002)
    assert (war.searches == calm.searches).all()
    assert (war.outcomes["position"] > 0).mean() < 0.85 * (calm.outcomes["position"] > 0).mean()


def test_rivals_that_cut_their_bids_score_forty_percent_less(calm: Resolved) -> None:
    lift = lift_of_scores(calm, day_with(f"rival_bid_cut@{ONSET}"))
    assert np.nanmax(np.abs(lift - np.log(0.6))) < 1e-4


def test_rivals_that_test_step_up_or_down_from_day_to_day(calm: Resolved) -> None:
    steps = []
    for after in range(4):
        lift = lift_of_scores(day_with(after=after), day_with(f"rival_testing@{ONSET}", after=after))
        middle = np.nanmedian(lift, axis=0)
        assert np.abs(np.abs(middle) - 0.4).max() < 1e-4
        steps.append(tuple(np.sign(middle)))
    assert len(set(steps)) > 1


def test_lost_parity_raises_our_prices_by_three_percent(calm: Resolved) -> None:
    found = day_with(f"lost_parity@{ONSET}")
    assert found.searches["price"].mean() / calm.searches["price"].mean() == pytest.approx(1.03, abs=1e-3)
    assert (found.outcomes["position"] > 0).mean() < (calm.outcomes["position"] > 0).mean()


def test_in_a_first_price_auction_google_charges_the_bid(calm: Resolved) -> None:
    found = day_with(f"first_price@{ONSET}")
    shown = at(found, GOOGLE)[found.outcomes["position"][at(found, GOOGLE)] > 0]
    cost, bid = found.outcomes["cpc"][shown], found.outcomes["bid"][shown]
    assert (np.abs(cost - bid) <= 50).all()  # a cost is in whole hundredths of a cent
    usual = calm.outcomes[shown]
    assert (usual["cpc"] < usual["bid"] - 50).mean() > 0.9
    assert (usual["position"] == found.outcomes["position"][shown]).all()


def test_under_net_cpa_trivago_charges_no_click_and_our_bid_changes_nothing(calm: Resolved) -> None:
    found = day_with(f"net_cpa@{ONSET}")
    ours = found.outcomes[at(found, TRIVAGO)]
    assert ours["commission"].all()
    assert (ours["cpc"] == 0).all()
    assert 0.4 < (ours["position"] > 0).mean() < 0.95
    assert (found.outcomes[at(found, GOOGLE)] == calm.outcomes[at(calm, GOOGLE)]).all()


def test_in_a_tracking_outage_bookings_go_on_and_no_click_is_credited(calm: Resolved) -> None:
    for after, share in ((0, 0.0), (1, 0.0), (2, 1.0)):
        market = Market(WORLD, 7, 200_000, parse_scenarios([f"tracking_outage@{ONSET}"]))
        day = ONSET + timedelta(days=after)
        rows = origin_bookings(market, day, resolve(market, day, {}, bookable_only=True))
        through = rows[rows["segment"] != DIRECT]
        assert len(through) > 100
        assert through["credited"].mean() == share


def test_a_cancellation_wave_takes_more_of_the_new_bookings(calm: Resolved) -> None:
    kept = []
    for texts in ((), (f"cancellation_wave@{ONSET}",)):
        market = Market(WORLD, 7, 400_000, parse_scenarios(texts))
        rows = origin_bookings(market, ONSET, resolve(market, ONSET, {}, bookable_only=True))
        kept.append(1 - rows["cancelled"].mean())
    odds = [(1 - share) / share for share in kept]
    assert 0.7 < np.log(odds[1] / odds[0]) < 1.3  # +1.2 on each booking; less on the mean of unlike ones
    assert day_with(f"cancellation_wave@{ONSET}").outcomes["value"].mean() < 0.9 * calm.outcomes["value"].mean()


def test_a_bug_of_our_site_takes_thirty_percent_of_our_conversion_and_trivago_learns_of_it(calm: Resolved) -> None:
    found = day_with(f"site_bug@{ONSET}")
    assert np.allclose(found.outcomes["conversion"], 0.7 * calm.outcomes["conversion"], rtol=1e-4)
    lift = lift_of_scores(day_with(after=10), day_with(f"site_bug@{ONSET}", after=10))
    later = day_with(after=10)
    assert np.nanmean(lift[at(later, TRIVAGO)]) > 0.1  # rivals count for more, because we count for less
    assert np.nanmax(np.abs(lift[at(later, GOOGLE)])) < 1e-4


def test_a_price_feed_error_shows_thirty_percent_of_prices_too_low(calm: Resolved) -> None:
    found = day_with(f"price_feed_error@{ONSET}")
    wrong = found.searches["price"] < 0.99 * found.searches["landing_price"]
    assert wrong.mean() == pytest.approx(0.3, abs=0.01)
    ratio = found.searches["price"][wrong] / found.searches["landing_price"][wrong]
    assert ratio.mean() == pytest.approx(0.85, abs=0.001)
    assert found.outcomes["conversion"][wrong].mean() < 0.5 * calm.outcomes["conversion"][wrong].mean()
    clicks = [day.outcomes["click_chance"].sum() for day in (found, calm)]
    assert clicks[0] > 1.1 * clicks[1]


def test_a_launched_market_has_hotels_and_searches_of_its_own() -> None:
    before, after = day_with(), day_with(f"market_launch@{ONSET}:ramp=0")
    assert not WORLD.new[before.searches["hotel"]].any()
    assert 0.05 < WORLD.new[after.searches["hotel"]].mean() < 0.2
    rate = WORLD.rate
    assert rate[WORLD.new].mean() > 1.3 * rate[~WORLD.new].mean()


def test_delayed_reports_come_two_days_later(calm: Resolved) -> None:
    known = []
    for texts in ((), (f"report_delay@{ONSET}",)):
        market = Market(WORLD, 7, 100_000, parse_scenarios(texts))
        rows = origin_bookings(market, ONSET, resolve(market, ONSET, {}, bookable_only=True))
        known.append(rows[["number", "booked", "known"]][rows["segment"] != DIRECT])
    assert (known[0]["booked"] == known[1]["booked"]).all()
    assert np.abs(known[1]["known"] - known[0]["known"] - 48 * 3600 * 1_000_000).max() <= 1


def test_a_file_that_comes_twice_holds_the_same_clicks_twice(tmp_path: Path) -> None:
    once, twice = (
        Simulator.from_settings(settings(tmp_path / name, *texts)).fetch(FIRST_DAY)["clicks"]
        for name, texts in (("calm", ()), ("late", (f"report_delay@{FIRST_DAY}",)))
    )
    assert len(twice) == 2 * len(once) > 0
    assert twice.drop_duplicates(ignore_index=True).equals(once)


def test_the_unit_bug_charges_a_night_s_bid_for_every_night_once_more(calm: Resolved) -> None:
    found = day_with(f"unit_bug@{ONSET}")
    theirs = at(found, TRIPADVISOR)
    factor = found.outcomes["bid"][theirs] / np.maximum(calm.outcomes["bid"][theirs], 1)
    assert np.allclose(factor, found.searches["los"][theirs], rtol=1e-3)
    assert (found.outcomes[at(found, GOOGLE)] == calm.outcomes[at(calm, GOOGLE)]).all()


def test_a_scope_of_partner_country_and_hotels_is_kept(calm: Resolved) -> None:
    found = day_with(f"site_bug@{ONSET}:partner=google,country=DE,hotels=0.4")
    hit = found.outcomes["conversion"] < 0.99 * calm.outcomes["conversion"]
    assert set(found.searches["partner"][hit]) == {GOOGLE}
    assert set(found.searches["country"][hit]) == {COUNTRIES.index("DE")}
    inside = (found.searches["partner"] == GOOGLE) & (found.searches["country"] == COUNTRIES.index("DE"))
    hotels = np.unique(found.searches["hotel"][hit])
    assert len(hotels) < 0.6 * len(np.unique(found.searches["hotel"][inside]))
    assert hit[inside & np.isin(found.searches["hotel"], hotels)].all()


def test_a_ramp_rises_day_by_day_and_what_has_an_end_ends() -> None:
    (ramped,) = parse_scenarios([f"site_bug@{ONSET}:ramp=3,days=6,strength=0.8"])
    weights = [ramped.weight(ONSET + timedelta(days=n)) for n in range(-1, 8)]
    assert weights == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0, 0])


def test_scenarios_add_up(calm: Resolved) -> None:
    both = day_with(f"rival_bid_cut@{ONSET}", f"price_war@{ONSET}", f"site_bug@{ONSET}")
    war = day_with(f"price_war@{ONSET}")
    lift = lift_of_scores(war, both)
    google = at(both, GOOGLE)
    assert np.nanmedian(lift[google]) == pytest.approx(np.log(0.6), abs=1e-4)
    assert both.outcomes["conversion"].mean() == pytest.approx(0.7 * war.outcomes["conversion"].mean(), rel=1e-3)


def test_the_shock_day_is_a_price_war(tmp_path: Path) -> None:
    day = ONSET.isoformat()
    # In a folder of its own: that of a demo has settings of this kind.
    shock = load_settings(home=tmp_path, simulator_shock_day=day)
    war = load_settings(home=tmp_path, simulator_scenarios=[f"price_war@{day}"])
    assert scenarios_of(shock) == scenarios_of(war) != ()


def test_scenarios_can_be_given_in_the_environment_and_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bidwright.toml").write_text(f'simulator_scenarios = ["site_bug@{ONSET}"]\n')
    assert scenarios_of(load_settings(home=tmp_path))[0].name == "site_bug"
    monkeypatch.setenv("BIDWRIGHT_SIMULATOR_SCENARIOS", f'["lost_parity@{ONSET}", "price_war@{ONSET}"]')
    assert [one.name for one in scenarios_of(load_settings(home=tmp_path))] == ["lost_parity", "price_war"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alien_landing@2026-03-06", "there is no scenario 'alien_landing'; choose one of: season_up, season_down, "),
        ("price_war", "the scenario 'price_war' has no day; write it as price_war@2026-03-06"),
        ("price_war@soon", "'soon' is not a market day"),
        ("price_war@2026-03-06:colour=red", "a scenario has no option 'colour'; choose one of: days, ramp, partner"),
        ("price_war@2026-03-06:partner=bing", f"there is no partner 'bing'; choose one of: {', '.join(NAMES)}"),
        ("price_war@2026-03-06:country=XX", "there is no country 'XX'"),
        ("price_war@2026-03-06:hotels=3", "'3' is not a share"),
        ("price_war@2026-03-06:strength=nan", "'nan' is not a share"),
        ("price_war@2026-03-06:days=-1", "'-1' is not a number of days"),
    ],
)
def test_a_scenario_that_cannot_be_read_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_scenarios([text])
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_scenario_is_a_value() -> None:
    one, two = (parse_scenarios([f"site_bug@{ONSET}"])[0] for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert replace(one, strength=0.5) != one


def test_the_guide_tells_the_truth_of_every_scenario() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    for name, scenario in SCENARIOS.items():
        assert f"| `{name}` | {scenario.truth} | {scenario.ramp_days} | {scenario.days or 'for good'} |" in guide
