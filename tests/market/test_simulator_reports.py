"""Partner-shaped reports: late, censored, restated, and in the end equal to what was delivered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from ml.core.errors import NoData
from ml.core.settings import Settings
from ml.core.units import day_start
from ml.lake.parquet import encode
from ml.market.simulator.partner_reports import REPORTS
from ml.market.simulator.partners import NAMES
from ml.market.simulator.reports import CENSORED_AS, CENSORED_SHARE, REASONS, SIMULATED_MULTIPLIERS, counted_at
from ml.market.simulator.source import FIRST_DAY, Simulator

DAY = FIRST_DAY + timedelta(days=1)
LATER = day_start(DAY) + timedelta(days=40)

Frames = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Simulator:
    home = tmp_path_factory.mktemp("reports")
    return Simulator.from_settings(Settings(home=home, simulator_opportunities_per_day=6000, simulator_hotels=60))  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def final(market: Simulator) -> Frames:
    return market.partner_reports(DAY, LATER)


def of(partner: str, frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["partner"] == partner]


def test_every_partner_reports() -> None:
    assert {name.split("_")[0] for name in REPORTS} == set(NAMES)


@pytest.mark.parametrize(
    ("report", "partner", "eligible"),
    [
        ("google_performance", "google", "hotel_eligible_impressions"),
        ("trivago_performance", "trivago", "eligible_impressions"),
        ("tripadvisor_silos", "tripadvisor", "eligible_impressions"),
    ],
)
def test_a_final_report_adds_up_to_what_was_delivered(
    market: Simulator, final: Frames, report: str, partner: str, eligible: str
) -> None:
    delivered, table = market.fetch(DAY), final[report]
    searched, clicked = of(partner, delivered["opportunities"]), of(partner, delivered["clicks"])
    assert table[eligible].sum() == len(searched)
    assert table["impressions"].sum() == searched["shown"].sum()
    assert table["clicks"].sum() == len(clicked)
    assert table["cost_micros"].sum() == clicked["cpc_micros"].sum()


def test_clicks_come_within_the_day_and_conversions_days_after_it(market: Simulator) -> None:
    hours = [6, 12, 30, 80, 24 * 40]
    told = [market.partner_reports(DAY, day_start(DAY) + timedelta(hours=hour)) for hour in hours]
    clicks = [sum(frames[name]["clicks"].sum() for name in _sums()) for frames in told]
    conversions = [sum(frames[name]["conversions"].sum() for name in _sums()) for frames in told]
    assert clicks[0] < clicks[1] < clicks[2] < clicks[3] == clicks[4]  # the last 1 % when it is final
    assert clicks[2] > 0.97 * clicks[3]
    assert conversions == sorted(conversions)
    assert conversions[2] < conversions[4]


def _sums() -> list[str]:
    return ["google_performance", "trivago_performance", "tripadvisor_silos"]


def test_between_two_refreshes_a_report_does_not_change(market: Simulator) -> None:
    one, two, three = (
        market.partner_reports(DAY, day_start(DAY) + timedelta(hours=hour)) for hour in (9.5, 12.9, 13.1)
    )
    assert {name: encode(frame) for name, frame in one.items()} == {name: encode(frame) for name, frame in two.items()}
    assert not one["google_performance"].equals(three["google_performance"])


def test_refreshes_are_every_four_hours_from_five_in_california() -> None:
    told = {counted_at(datetime(2026, 3, 1, hour, 59, tzinfo=UTC)).hour for hour in range(24)}
    assert told == {1, 5, 9, 13, 17, 21}
    assert counted_at(datetime(2026, 3, 1, 0, 30, tzinfo=UTC)) == datetime(2026, 2, 28, 21, tzinfo=UTC)


def test_a_small_impression_share_is_hidden(final: Frames) -> None:
    table = final["google_performance"]
    real = table["impressions"] / table["hotel_eligible_impressions"]
    low = real < CENSORED_SHARE
    assert low.any()
    assert (table.loc[low, "search_impression_share"] == CENSORED_AS).all()
    assert (table.loc[~low, "search_impression_share"] == real[~low]).all()


def test_about_97_of_100_cells_of_the_finest_report_have_no_click(final: Frames) -> None:
    assert 0.94 < (final["google_performance"]["clicks"] == 0).mean() < 0.99


def test_every_missed_impression_has_one_reason(final: Frames, market: Simulator) -> None:
    table = final["google_missed_impressions"]
    searched = of("google", market.fetch(DAY)["opportunities"])
    assert table[[f"missed_{reason}" for reason in REASONS]].sum().sum() == (~searched["shown"]).sum()


def test_beat_meet_and_lose_are_shares_of_the_searches_with_a_rival(final: Frames) -> None:
    table = final["trivago_performance"]
    whole = table[["beat", "meet", "lose"]].sum(axis=1)
    assert (whole <= 1 + 1e-9).all()
    assert whole.mean() > 0.95
    assert table["lose"].mean() > table["beat"].mean()  # the cheapest of six rivals is hard to beat


def test_simulation_points_are_noisy_and_rise_with_the_bid(final: Frames) -> None:
    points = final["tripadvisor_bid_simulation"]
    by_multiplier = points.groupby("multiplier")[["impressions", "clicks", "cost_micros"]].sum()
    assert tuple(by_multiplier.index) == SIMULATED_MULTIPLIERS
    assert (by_multiplier["impressions"].diff().dropna() >= 0).all()
    assert by_multiplier["cost_micros"].iloc[-1] > 1.5 * by_multiplier["cost_micros"].iloc[0]
    own = points[points["multiplier"] == 1.0]["impressions"].sum()
    assert own == final["tripadvisor_silos"]["impressions"].sum()
    assert points.loc[points["clicks"] > 0, "clicks"].is_unique


def test_a_report_of_a_day_that_has_not_begun_is_no_data(market: Simulator) -> None:
    with pytest.raises(NoData, match="no partner tells anything of 2025-01-07 by 2025-01-07 00:59"):
        market.partner_reports(DAY, day_start(DAY) + timedelta(minutes=59))
