"""The bids that are wanted follow what the market was seen to do, within the budget and the floor that are set."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml import pipeline
from ml.bidding.policy import BidPolicy
from ml.bidding.worth import click_cells
from ml.core.clock import SystemClock
from ml.core.errors import UsageError
from ml.core.settings import load_settings
from ml.platform import Platform
from ml.steps.portfolio import Wanted, wanted_bids
from ml.steps.rows import recent_bookings, recent_traffic

POLICY = BidPolicy(target_cost_share=0.06, max_bid_micros=5_000_000, max_change=0.3)
DAYS = 6


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, date]:
    """A few days of a simulated market, imported."""
    home = tmp_path_factory.mktemp("portfolio")
    platform = open_at(home)
    platform.db.migrate()
    first = platform.source.first_day()
    assert first is not None
    last = first + timedelta(days=DAYS - 1)
    pipeline.import_history(platform, first, last)
    return home, last


def open_at(home: Path, **settings: Any) -> Platform:
    loaded = load_settings(source="simulator", home=home, simulator_opportunities_per_day=12_000, **settings)
    return Platform(loaded, SystemClock())


def wanted(market: tuple[Path, date], *, p_click: float | None = 0.07, **settings: Any) -> tuple[Wanted, pd.DataFrame]:
    """What is wanted of models that know the market's averages only."""
    home, day = market
    platform = open_at(home, **settings)
    traffic = recent_traffic(platform, day, days=DAYS).assign(p_book=0.04)
    if p_click is not None:
        traffic["p_click"] = p_click / traffic["position"].astype(float)
    bookings = recent_bookings(platform, day, days=DAYS)
    bookings = bookings.assign(net_value_micros=bookings["value_micros"] * 0.8)
    cells = click_cells(bookings, traffic)
    return wanted_bids(platform, day, cells, traffic, policy=POLICY), cells


def test_the_market_is_bid_for_by_what_was_seen_of_it(market: tuple[Path, date]) -> None:
    found, cells = wanted(market)
    assert found.said["response"] == "learned"
    assert found.landscape is not None
    assert len(found.bids_micros) == len(cells) == len(found.landscape)
    share = found.bids_micros / found.value_micros
    assert 0.1 < float(np.average(share, weights=cells["clicks_seen"])) < 1.0
    assert found.said["expected_profit_micros"] > 0


def test_a_budget_is_kept_and_its_price_goes_on_to_the_words(market: tuple[Path, date]) -> None:
    free, _ = wanted(market)
    budget = free.said["expected_cost_micros"] // 2
    held, _ = wanted(market, daily_budget_micros=budget)
    assert held.said["expected_cost_micros"] <= budget
    assert held.said["prices"]["daily budget"] > 0
    assert (held.cost_weight > 1).all()


def test_a_floor_that_cannot_hold_is_named_with_the_nearest_that_can(market: tuple[Path, date]) -> None:
    with pytest.raises(UsageError, match="POAS floor of 1e"):
        wanted(market, poas_floor=1e9)


def test_where_nobody_can_tell_what_a_place_is_worth_a_share_of_the_worth_is_bid(market: tuple[Path, date]) -> None:
    found, cells = wanted(market, p_click=None)
    assert found.landscape is None
    assert found.bids_micros == pytest.approx(0.06 * 0.04 * cells["net_value_micros"].to_numpy(dtype=float))


def test_next_to_no_clicks_teach_nothing(market: tuple[Path, date]) -> None:
    found, _ = wanted(market, p_click=1e-5)
    assert found.landscape is None
    assert found.said == {"response": "too few clicks to know it yet"}
