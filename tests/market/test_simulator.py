"""The simulated market: a function of seed, day and bids, plausible in its aggregates, with something to learn."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import NoData
from ml.core.settings import Settings
from ml.lake.parquet import encode
from ml.market.buckets import lead_buckets
from ml.market.simulator.conversion import cancellation_log_odds, conversion_log_odds, conversion_probability
from ml.market.simulator.day import Market, contests, origin_bookings, resolve
from ml.market.simulator.demand import CLICK_CAP, CONVERSION_CAP
from ml.market.simulator.fates import kept_share
from ml.market.simulator.partners import NAMES
from ml.market.simulator.source import FIRST_DAY, Simulator
from ml.market.simulator.world import World

DAYS = [FIRST_DAY + timedelta(days=n) for n in range(14)]
PACKAGE = Path(__file__).parents[2] / "ml" / "market" / "simulator"
DIRECT = len(NAMES)

Fortnight = dict[str, pd.DataFrame]
Fresh = Callable[..., Simulator]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """A simulator in a working folder of its own."""

    def make(**settings: object) -> Simulator:
        return Simulator.from_settings(Settings(home=tmp_path_factory.mktemp("home"), **settings))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="module")
def full(fresh: Fresh) -> Simulator:
    return fresh()


@pytest.fixture(scope="module")
def fortnight(full: Simulator) -> Fortnight:
    """Two weeks at full traffic."""
    frames = [full.fetch(day) for day in DAYS]
    return {name: pd.concat([frame[name] for frame in frames], ignore_index=True) for name in full.tables}


def test_a_day_fetched_alone_has_the_bytes_of_a_day_fetched_in_a_row(simulator: Simulator, fresh: Fresh) -> None:
    for day in (DAYS[9], DAYS[0], DAYS[4]):
        alone = fresh(simulator_opportunities_per_day=2000, simulator_hotels=60).fetch(day)
        in_a_row = simulator.fetch(day)
        assert {name: encode(frame) for name, frame in alone.items()} == {
            name: encode(frame) for name, frame in in_a_row.items()
        }


def test_another_seed_is_another_market(fresh: Fresh) -> None:
    one, two = (fresh(seed=seed, simulator_opportunities_per_day=500).fetch(FIRST_DAY) for seed in (1, 2))
    assert not one["hotels"].equals(two["hotels"])
    assert not one["opportunities"].equals(two["opportunities"])


def test_before_the_first_day_there_is_no_data(simulator: Simulator) -> None:
    assert simulator.first_day() == FIRST_DAY
    assert simulator.last_day() is None  # type: ignore[func-returns-value]
    with pytest.raises(NoData, match=str(FIRST_DAY)):
        simulator.fetch(FIRST_DAY - timedelta(days=1))


def test_volumes_and_rates_are_those_of_a_metasearch_market(fortnight: Fortnight) -> None:
    opportunities, clicks, bookings = (fortnight[name] for name in ("opportunities", "clicks", "bookings"))
    per_day = {name: len(frame) / len(DAYS) for name, frame in fortnight.items()}
    through_clicks = bookings[bookings["click_id"].notna()]
    assert 12_000 < per_day["opportunities"] < 22_000
    assert per_day["clicks"] > 450
    assert len(through_clicks) / len(DAYS) > 15
    assert 240 < (bookings["segment"] == "direct").sum() / len(DAYS) < 380
    assert 0.4 < opportunities["shown"].mean() < 0.7
    assert 0.03 < len(clicks) / opportunities["shown"].sum() < 0.09
    assert 0.025 < len(through_clicks) / len(clicks) < 0.06
    assert 0.3 < clicks["cpc_micros"].mean() / 1e6 < 1.0


def test_every_partner_has_its_share_of_the_market(fortnight: Fortnight) -> None:
    assert Simulator.partners == NAMES == ("google", "trivago", "tripadvisor")
    shares = fortnight["opportunities"]["partner"].value_counts(normalize=True)
    assert shares["google"] == pytest.approx(0.55, abs=0.02)
    assert shares["tripadvisor"] == pytest.approx(0.17, abs=0.02)
    booked = fortnight["bookings"]["segment"].value_counts()
    assert set(booked.index) == {*NAMES, "direct"}


def test_demand_is_sparse_and_heavy_tailed(fortnight: Fortnight) -> None:
    """Of the cells of a partner's daily report about 97 % have no click; a tenth of the hotels has most searches."""
    cell = ["partner", "user_country", "hotel_id", "device", "check_in", "los_nights"]
    searched = fortnight["opportunities"].assign(day=fortnight["opportunities"]["ts"].dt.date)
    clicked = searched[searched["opportunity_id"].isin(fortnight["clicks"]["opportunity_id"])]
    with_click = len(clicked.drop_duplicates(["day", *cell])) / len(searched.drop_duplicates(["day", *cell]))
    assert 0.02 < with_click < 0.05
    per_hotel = searched["hotel_id"].value_counts()
    assert per_hotel.head(len(per_hotel) // 10).sum() > 0.4 * per_hotel.sum()


def test_bookings_come_from_clicks_we_know_some_days_late(fortnight: Fortnight) -> None:
    late = fortnight["bookings"].merge(fortnight["clicks"], on="click_id", suffixes=("", "_click"))
    wait = (late["booked_at"] - late["ts"]).dt.total_seconds() / 86_400
    assert (wait >= 0).all()
    assert 0.5 < (wait < 0.25).mean() < 0.9
    assert (wait > 1).mean() > 0.1
    assert (late["known_at"] >= late["booked_at"]).all()
    assert (late["known_at"].dt.date > late["booked_at"].dt.date).any()  # reported after midnight


def test_eight_in_a_hundred_bookings_are_of_another_hotel_of_the_clicked_hotels_city(full: Simulator) -> None:
    market = Market(full.market.world, 7, opportunities_per_day=400_000)
    resolved = [resolve(market, day, {}, bookable_only=True) for day in DAYS[:8]]
    moved = []
    for day, found in zip(DAYS[:8], resolved, strict=True):
        rows = origin_bookings(market, day, found)
        rows = rows[rows["segment"] != DIRECT]
        clicked = found.searches["hotel"][np.searchsorted(found.searches["number"], rows["number"])]
        assert (market.world.city[clicked] == market.world.city[rows["hotel"]]).all()
        moved.append(clicked != rows["hotel"])
    assert np.concatenate(moved).mean() == pytest.approx(0.07, abs=0.02)  # some stay where they were


def test_outcomes_come_after_their_booking_and_every_booking_has_one(full: Simulator) -> None:
    rows = np.concatenate([origin_bookings(full.market, day, full.resolved(day)) for day in DAYS])
    assert (rows["known"] >= rows["booked"]).all()
    assert (rows["event"] >= rows["booked"]).all()
    assert (rows["event_known"] >= np.maximum(rows["event"], rows["known"])).all()
    assert (rows["lead"] >= 0).all()
    settles = rows["settled"] > 0
    assert (settles == (~rows["cancelled"] & (rows["segment"] != DIRECT))).all()
    assert (rows["settled"][settles] > rows["event_known"][settles]).all()
    assert (rows["settled_amount"][settles] <= (rows["rate"] * rows["los"])[settles]).all()


def test_every_outcome_is_delivered_once(fresh: Fresh) -> None:
    """Bookings of the first day, followed over the weeks in which most of them end."""
    small = fresh(simulator_opportunities_per_day=100, simulator_hotels=20)
    days = [small.fetch(FIRST_DAY + timedelta(days=n)) for n in range(70)]
    first = days[0]["bookings"]
    over = first[first["lead_days"] + first["los_nights"] < 65]["booking_id"]
    events = pd.concat([day["booking_events"] for day in days])
    assert events["event_id"].is_unique
    ends = events[events["kind"] != "reconciled"]
    assert ends["booking_id"].is_unique
    assert len(over) > 50
    assert set(over) <= set(ends["booking_id"])
    assert (events["kind"] == "reconciled").any()


def test_the_caps_that_make_hot_searches_possible_are_never_reached_by_much(full: Simulator) -> None:
    """The strata rest on no probability exceeding its cap; capping must touch next to nothing of the truth."""
    resolved = full.resolved(FIRST_DAY)
    log_odds = conversion_log_odds(full.market.world, resolved.searches)
    assert (1 / (1 + np.exp(-log_odds)) >= CONVERSION_CAP).mean() < 0.02
    assert (resolved.outcomes["conversion"] <= CONVERSION_CAP + 1e-6).all()
    assert (resolved.outcomes["click_chance"] <= CLICK_CAP + 1e-6).all()


def test_the_searches_that_could_book_have_alone_the_outcomes_that_they_have_among_all(full: Simulator) -> None:
    every, few = (resolve(full.market, FIRST_DAY, {}, bookable_only=only) for only in (False, True))
    place = np.searchsorted(every.searches["number"], few.searches["number"])
    assert 50 < len(few.searches) < 0.02 * len(every.searches)
    assert every.searches[place].tobytes() == few.searches.tobytes()
    assert every.outcomes[place].tobytes() == few.outcomes.tobytes()
    assert (origin_bookings(full.market, FIRST_DAY, every) == origin_bookings(full.market, FIRST_DAY, few)).all()


def test_the_truth_of_clicks_and_bookings_is_what_happens_on_the_mean(full: Simulator) -> None:
    """Clicks against their probability, and bookings against that of a click that books, over both strata."""
    market = Market(full.market.world, 7, opportunities_per_day=300_000)
    found = resolve(market, FIRST_DAY, {})
    expected = found.outcomes["click_chance"].sum(dtype=float)
    assert found.outcomes["clicked"].sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    bookings = (found.outcomes["click_chance"] * found.outcomes["conversion"]).sum(dtype=float)
    through_clicks = (origin_bookings(market, FIRST_DAY, found)["segment"] != DIRECT).sum()
    assert through_clicks == pytest.approx(bookings, abs=4 * np.sqrt(bookings))


def test_the_share_of_bookings_kept_is_the_mean_over_guests(full: Simulator) -> None:
    market = Market(full.market.world, 7, opportunities_per_day=1_500_000)
    expected, kept = [], []
    for day in DAYS[:4]:
        (contest,) = (part for part in [next(contests(market, day, bookable_only=True))])
        found = resolve(market, day, {}, bookable_only=True)
        rows = origin_bookings(market, day, found)
        rows = rows[(rows["segment"] != DIRECT) & (rows["booked"] // 86_400_000_000 == rows["origin"])]
        place = np.searchsorted(found.searches["number"], rows["number"])
        same = found.searches["hotel"][place] == rows["hotel"]
        expected.append(kept_share(market.world, found.searches[place][same]))
        kept.append(~rows["cancelled"][same])
        assert (contest.value > 0).all()
    chance, seen = np.concatenate(expected), np.concatenate(kept)
    assert len(seen) > 1500
    assert abs(seen.mean() - chance.mean()) < 4 * np.sqrt((chance * (1 - chance)).sum()) / len(seen)


def test_the_truth_has_something_to_learn_that_is_not_additive(full: Simulator) -> None:
    """Hotels differ in conversion and cancellation, and lead time acts differently by device and kind of hotel."""
    world = full.market.world
    searches = full.resolved(FIRST_DAY).searches
    chance = pd.Series(conversion_probability(conversion_log_odds(world, searches)))
    by_hotel = chance.groupby(searches["hotel"]).mean()
    assert by_hotel.quantile(0.9) > 2 * by_hotel.quantile(0.1)
    bucket = lead_buckets(searches["lead"])
    phone, desktop = (
        chance[searches["device"] == device].groupby(bucket[searches["device"] == device]).mean() for device in (0, 1)
    )
    phone_over_desktop = phone / desktop
    assert phone_over_desktop["000-001"] > 1.5 * phone_over_desktop["015-030"]

    hotel, stays = np.arange(world.hotels), np.full(world.hotels, 2)
    near, far = (cancellation_log_odds(world, hotel, np.full(world.hotels, lead), stays) for lead in (20, 60))
    steps = far - near
    assert steps[~world.resort].mean() > steps[world.resort].mean() + 0.5
    assert near.std() > 0.25


def test_the_first_partition_already_knows_of_stays_and_cancellations(full: Simulator) -> None:
    kinds = full.fetch(FIRST_DAY)["booking_events"]["kind"].value_counts()
    assert set(kinds.index) == {"stayed", "cancelled", "reconciled"}
    assert kinds.min() > 5


def test_hotels_are_drawn_from_the_seed_alone() -> None:
    one, two = World.make(3, 60), World.make(3, 60)
    assert np.array_equal(one.rate, two.rate)
    assert one.popularity[~one.new].sum() == pytest.approx(1)
    assert 0 < one.resort.sum() < one.hotels


@pytest.mark.parametrize("forbidden", [r"\bnow\(", r"np\.random\.(seed|rand|normal|choice)\b", r"\btime\.time\b"])
def test_no_wall_clock_and_no_global_randomness(forbidden: str) -> None:
    paths = list(PACKAGE.rglob("*.py"))
    assert len(paths) > 10
    for path in paths:
        assert not re.search(forbidden, path.read_text()), path.name
