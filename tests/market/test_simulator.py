"""The simulated market: a function of seed and day, plausible in its aggregates, with something to learn."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import NoData
from ml.core.settings import Settings
from ml.lake.parquet import encode
from ml.market.buckets import lead_buckets
from ml.market.simulator.auction import Climate, run_auctions
from ml.market.simulator.conversion import cancellation_log_odds, conversion_log_odds, conversion_probability
from ml.market.simulator.day import auction_day, origin_bookings
from ml.market.simulator.demand import CLICK_CAP, CONVERSION_CAP, draw_searches
from ml.market.simulator.source import FIRST_DAY, Simulator
from ml.market.simulator.world import HOTELS, World

DAYS = [FIRST_DAY + timedelta(days=n) for n in range(14)]
PACKAGE = Path(__file__).parents[2] / "ml" / "market" / "simulator"

Fortnight = dict[str, pd.DataFrame]


def fresh(**settings: object) -> Simulator:
    return Simulator.from_settings(Settings(**settings))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def full() -> Simulator:
    return fresh()


@pytest.fixture(scope="module")
def fortnight(full: Simulator) -> Fortnight:
    """Two weeks at full traffic."""
    frames = [full.fetch(day) for day in DAYS]
    return {name: pd.concat([frame[name] for frame in frames], ignore_index=True) for name in full.tables}


def test_a_day_fetched_alone_has_the_bytes_of_a_day_fetched_in_a_row(simulator: Simulator) -> None:
    for day in (DAYS[9], DAYS[0], DAYS[4]):
        alone = fresh(simulator_opportunities_per_day=2000).fetch(day)
        in_a_row = simulator.fetch(day)
        assert {name: encode(frame) for name, frame in alone.items()} == {
            name: encode(frame) for name, frame in in_a_row.items()
        }


def test_another_seed_is_another_market() -> None:
    one, two = (fresh(seed=seed, simulator_opportunities_per_day=500).fetch(FIRST_DAY) for seed in (1, 2))
    assert not one["hotels"].equals(two["hotels"])
    assert not one["opportunities"].equals(two["opportunities"])


def test_before_the_first_day_there_is_no_data(simulator: Simulator) -> None:
    assert simulator.first_day() == FIRST_DAY
    assert simulator.last_day() is None
    with pytest.raises(NoData, match=str(FIRST_DAY)):
        simulator.fetch(FIRST_DAY - timedelta(days=1))


def test_volumes_and_rates_are_those_of_a_metasearch_market(fortnight: Fortnight) -> None:
    opportunities, clicks, bookings = (fortnight[name] for name in ("opportunities", "clicks", "bookings"))
    per_day = {name: len(frame) / len(DAYS) for name, frame in fortnight.items()}
    through_clicks = bookings[bookings["click_id"].notna()]
    assert 12_000 < per_day["opportunities"] < 22_000
    assert per_day["clicks"] > 600
    assert len(through_clicks) / len(DAYS) > 22
    assert 240 < (bookings["segment"] == "direct").sum() / len(DAYS) < 380
    assert 0.3 < opportunities["shown"].mean() < 0.8
    assert 0.03 < len(clicks) / opportunities["shown"].sum() < 0.12
    assert 0.025 < len(through_clicks) / len(clicks) < 0.06
    assert 0.2 < clicks["cpc_micros"].mean() / 1e6 < 1.0


def test_a_click_costs_at_least_the_reserve_and_never_more_than_the_bid(fortnight: Fortnight) -> None:
    both = fortnight["clicks"].merge(fortnight["opportunities"], on="opportunity_id", suffixes=("", "_auction"))
    assert len(both) == len(fortnight["clicks"])
    assert (both["cpc_micros"] <= both["bid_micros"]).all()
    assert (both["cpc_micros"] >= 50_000).all()
    assert (both["cpc_micros"] < both["bid_micros"]).mean() > 0.9
    assert both["shown"].all()
    assert (both["position"] == both["position_auction"]).all()
    assert (both["ts"] > both["ts_auction"]).all()


def test_our_offer_has_a_position_exactly_where_it_is_shown(fortnight: Fortnight) -> None:
    opportunities = fortnight["opportunities"]
    assert (opportunities["position"].notna() == opportunities["shown"]).all()
    assert set(opportunities["position"].dropna()) == {1, 2, 3, 4}


def test_bookings_come_from_clicks_we_know_some_days_late(fortnight: Fortnight) -> None:
    late = fortnight["bookings"].merge(fortnight["clicks"], on="click_id", suffixes=("", "_click"))
    wait = (late["booked_at"] - late["ts"]).dt.total_seconds() / 86_400
    assert (late["hotel_id"] == late["hotel_id_click"]).all()
    assert (wait >= 0).all()
    assert 0.5 < (wait < 0.25).mean() < 0.9
    assert (wait > 1).mean() > 0.1
    assert (late["known_at"] >= late["booked_at"]).all()
    assert (late["known_at"].dt.date > late["booked_at"].dt.date).any()  # reported after midnight


def test_outcomes_come_after_their_booking_and_every_booking_has_one(full: Simulator) -> None:
    rows = np.concatenate([origin_bookings(full.market, day) for day in DAYS])
    assert (rows["known"] >= rows["booked"]).all()
    assert (rows["event"] >= rows["booked"]).all()
    assert (rows["event_known"] >= np.maximum(rows["event"], rows["known"])).all()
    assert (rows["lead"] >= 0).all()
    settles = rows["settled"] > 0
    assert (settles == (~rows["cancelled"] & (rows["segment"] == 0))).all()
    assert (rows["settled"][settles] > rows["event_known"][settles]).all()
    assert (rows["settled_amount"][settles] <= (rows["rate"] * rows["los"])[settles]).all()


def test_every_outcome_is_delivered_once(simulator: Simulator) -> None:
    """Bookings of the first day, followed to the end of their lives, over many days."""
    first = simulator.fetch(FIRST_DAY)["bookings"]["booking_id"]
    events = pd.concat([simulator.fetch(FIRST_DAY + timedelta(days=n))["booking_events"] for n in range(300)])
    assert events["event_id"].is_unique
    ends = events[events["kind"] != "reconciled"]
    assert ends["booking_id"].is_unique
    assert set(first) <= set(ends["booking_id"])
    settled = events[events["kind"] == "reconciled"]
    assert set(settled["booking_id"]) & set(first)


def test_the_caps_that_make_hot_searches_possible_are_never_reached_by_much(full: Simulator) -> None:
    """The strata rest on no probability exceeding its cap; capping must touch next to nothing of the truth."""
    day = auction_day(full.market, FIRST_DAY)
    log_odds = conversion_log_odds(full.market.world, day.searches)
    uncapped = 1 / (1 + np.exp(-log_odds))
    assert (uncapped >= CONVERSION_CAP).mean() < 0.02
    assert (conversion_probability(log_odds) <= CONVERSION_CAP).all()
    clicked = day.auctions.clicked
    assert (day.searches["click_die"][clicked] < CLICK_CAP).all()


def test_strata_do_not_bend_the_click_rate(full: Simulator) -> None:
    """The same auctions with plain dice click as often as with the dice of the strata."""
    days = [auction_day(full.market, day) for day in DAYS[:4]]
    rate = np.mean(np.concatenate([day.auctions.clicked for day in days]))
    rng = np.random.default_rng(1)
    counts = np.full(HOTELS, 1)
    for day in days:
        counts = np.bincount(day.searches["hotel"], minlength=HOTELS)
    plain = draw_searches(full.market.world, rng, FIRST_DAY, counts * 4, first_number=0)
    plain["click_die"] = rng.random(len(plain))
    log_odds = conversion_log_odds(full.market.world, plain)
    plain_rate = run_auctions(full.market.world, rng, plain, log_odds, Climate()).clicked.mean()
    assert abs(rate - plain_rate) < 4 * np.sqrt(2 * rate / len(plain))  # four standard errors


def test_the_truth_has_something_to_learn_that_is_not_additive(full: Simulator) -> None:
    """Hotels differ in conversion and cancellation, and lead time acts differently by device and kind of hotel."""
    world = full.market.world
    searches = auction_day(full.market, FIRST_DAY).searches
    chance = pd.Series(conversion_probability(conversion_log_odds(world, searches)))
    by_hotel = chance.groupby(searches["hotel"]).mean()
    assert by_hotel.quantile(0.9) > 2 * by_hotel.quantile(0.1)
    cell = chance.groupby([searches["device"], lead_buckets(searches["lead"])]).mean()
    phone_over_desktop = cell.loc[0] / cell.loc[1]
    assert phone_over_desktop["000-001"] > 1.5 * phone_over_desktop["015-030"]

    hotel, stays = np.arange(HOTELS), np.full(HOTELS, 2)
    near, far = (cancellation_log_odds(world, hotel, np.full(HOTELS, lead), stays) for lead in (20, 60))
    steps = far - near
    assert steps[~world.resort].mean() > steps[world.resort].mean() + 0.5
    assert near.std() > 0.25


def test_from_the_shock_day_on_rivals_are_cheaper_and_bid_more_and_nothing_changes_before() -> None:
    shock = DAYS[3]
    calm, war = (
        fresh(simulator_opportunities_per_day=4000, simulator_shock_day=text) for text in ("", shock.isoformat())
    )
    before = [source.fetch(shock - timedelta(days=1)) for source in (calm, war)]
    assert all(before[0][name].equals(before[1][name]) for name in before[0])
    peace, attack = (source.fetch(shock)["opportunities"] for source in (calm, war))
    assert peace["opportunity_id"].equals(attack["opportunity_id"])
    assert peace["price_micros"].equals(attack["price_micros"])
    ratio = (attack["rival_price_micros"] / peace["rival_price_micros"]).mean()
    assert ratio == pytest.approx(0.94, abs=0.002)
    assert attack["shown"].mean() < 0.85 * peace["shown"].mean()


def test_the_first_partition_already_knows_of_stays_and_cancellations(full: Simulator) -> None:
    kinds = full.fetch(FIRST_DAY)["booking_events"]["kind"].value_counts()
    assert set(kinds.index) == {"stayed", "cancelled", "reconciled"}
    assert kinds.min() > 5


def test_hotels_are_drawn_from_the_seed_alone() -> None:
    one, two = World.make(3), World.make(3)
    assert np.array_equal(one.rate, two.rate)
    assert one.popularity.sum() == pytest.approx(1)
    assert 0 < one.resort.sum() < HOTELS


@pytest.mark.parametrize("forbidden", [r"\bnow\(", r"np\.random\.(seed|rand|normal|choice)\b", r"\btime\.time\b"])
def test_no_wall_clock_and_no_global_randomness(forbidden: str) -> None:
    for path in PACKAGE.glob("*.py"):
        assert not re.search(forbidden, path.read_text()), path.name
