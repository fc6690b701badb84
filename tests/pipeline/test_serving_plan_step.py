"""Each publication leaves a plan for the bid service: of the bids that stand, as the kill switches let them out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml import pipeline
from ml.bidding.serving_plan import ServingPlan
from ml.bidding.worth import CLICK_LEVELS
from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.errors import StaleGeneration
from ml.core.settings import load_settings
from ml.ledger import publications, stages
from ml.market.buckets import LEAD_BUCKETS, LOS_BUCKETS
from ml.market.tables import DEVICES
from ml.platform import Platform
from ml.steps import publish, serving_plan, switched

AT = datetime(2026, 3, 6, tzinfo=UTC)
PARTNERS = ("google", "trivago", "tripadvisor")
VERSION = Digest("c" * 64)
RETENTION = pd.DataFrame({"lead_bucket": [""], "los_bucket": [""], "hotel_id": [""], "retained": [0.75]})


def table(partner: str, micros: int) -> pd.DataFrame:
    cells = pd.MultiIndex.from_product(
        [["h1", "h2"], DEVICES, LEAD_BUCKETS, LOS_BUCKETS], names=["hotel_id", "device", "lead_bucket", "los_bucket"]
    ).to_frame(index=False)
    market = cells["hotel_id"].map({"h1": "DE", "h2": "FR"})
    return cells.assign(
        partner=partner, market=market, clicks_seen=2, p_book=0.03, net_value_micros=400_000_000, bid_micros=micros
    )


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    found = Platform(load_settings(source="simulator", home=tmp_path, smtp_port=9), FixedClock(AT))
    found.db.migrate()
    return found


@pytest.fixture
def days(platform: Platform) -> list[date]:
    first = platform.source.first_day()
    assert first is not None
    found = [first + timedelta(days=n) for n in range(3)]
    for day in found:
        stages.record(platform.db, stages.StageKey(platform.market, "drift", day), status="done", result={}, at=AT)
    return found


def out(platform: Platform, day: date, micros: int, *, generation: int = 1) -> Digest | None:
    for partner in PARTNERS:
        publish.publish_said(
            platform, day, partner, switched.say_as_is(platform, partner, table(partner, micros)),
            version=VERSION, generation=generation, policy=publish.bid_policy(platform),
        )  # fmt: skip
    return serving_plan.publish_plan(platform, day, retention=RETENTION)


def ask(plan: ServingPlan | None, **cell: str) -> tuple[int, int, int]:
    """Bid at the worth of the cell's average click, last bid, cap."""
    assert plan is not None
    base = {"partner": "google", "market": "DE", "hotel_id": "h1", "device": DEVICES[0]}
    base |= {"lead_bucket": LEAD_BUCKETS[0], "los_bucket": LOS_BUCKETS[0]} | cell
    found = plan.of({name: np.array([base[name]]) for name in CLICK_LEVELS})
    bid = min(round(0.03 * 400e6 * plan.take_share * found.shading[0]), int(found.cap_micros[0]))
    return bid, int(found.last_bid_micros[0]), int(found.cap_micros[0])


def test_the_plan_says_the_bids_that_stand_and_is_found_at_once(platform: Platform, days: list[date]) -> None:
    digest = out(platform, days[0], 600_000)
    assert digest == serving_plan.latest_plan(platform)
    plan = serving_plan.plan_on(platform, days[0].isoformat())
    assert plan is not None
    said = switched.say_as_is(platform, "google", table("google", 600_000)).table["bid_micros"].iloc[0]
    assert ask(plan) == (said, said, platform.settings.max_bid_micros)
    assert (plan.digest, plan.generation, plan.day) == (digest, 1, days[0])
    assert ask(plan, hotel_id="h9")[1] == -1


def test_the_plan_is_nobodys_bids(platform: Platform, days: list[date]) -> None:
    out(platform, days[0], 600_000)
    listed = publications.for_day(platform.db, platform.market, days[0])
    assert [one.partner for one in listed] == sorted(PARTNERS)


def test_the_same_bids_again_write_the_same_plan_and_former_plans_stay(platform: Platform, days: list[date]) -> None:
    first = out(platform, days[0], 600_000)
    assert out(platform, days[0], 600_000) == first
    second = out(platform, days[0], 700_000)
    assert second != first and serving_plan.latest_plan(platform) == second
    assert first is not None and serving_plan.plan(platform, first).digest == first


@pytest.mark.parametrize("scope", [{}, {"partner": "google"}, {"point_of_sale": "DE"}])
def test_a_pause_reaches_the_plan_at_once_and_unknown_cells_too(
    platform: Platform, days: list[date], scope: dict[str, str]
) -> None:
    before = out(platform, days[-1], 600_000)
    pipeline.pull_switch(platform, 3, why="too high", by="anna", **scope)
    plan = serving_plan.plan_on(platform, days[-1].isoformat())
    assert plan is not None and plan.digest != before
    for cell in ({}, {"hotel_id": "h9"}, {"device": "watch", "los_bucket": "?"}):
        assert ask(plan, **cell)[0] == 0 and ask(plan, **cell)[2] == 0
    outside = {"partner": "trivago"} if "partner" in scope else {"market": "FR", "hotel_id": "h2"}
    assert (ask(plan, **outside)[0] > 0) == bool(scope)


def test_bids_that_a_switch_keeps_are_not_passed_whatever_a_newer_model_says(
    platform: Platform, days: list[date]
) -> None:
    out(platform, days[0], 300_000)
    out(platform, days[-1], 900_000)
    pipeline.pull_switch(platform, 0, why="too high", by="anna")
    plan = serving_plan.plan_on(platform, days[-1].isoformat())
    bid, last, cap = ask(plan)
    assert bid == last == cap
    assert ask(plan, hotel_id="h9")[2] in {0, platform.settings.max_bid_micros}


def test_a_newer_champions_plan_is_not_overwritten(platform: Platform, days: list[date]) -> None:
    newer = out(platform, days[0], 600_000, generation=2)
    with pytest.raises(StaleGeneration):
        out(platform, days[0], 700_000, generation=1)
    assert serving_plan.latest_plan(platform) == newer


def test_a_switch_before_the_first_plan_writes_none(platform: Platform, days: list[date]) -> None:
    for partner in PARTNERS:
        publish.publish_said(
            platform, days[-1], partner, switched.say_as_is(platform, partner, table(partner, 600_000)),
            version=VERSION, generation=1, policy=publish.bid_policy(platform),
        )  # fmt: skip
    pipeline.pull_switch(platform, 3, why="too high", by="anna")
    assert serving_plan.latest_plan(platform) is None


def test_a_market_that_bids_to_nobody_has_no_plan(tmp_path: Path) -> None:
    settings: Any = load_settings(source="hotel_bookings", home=tmp_path, data=str(tmp_path))
    platform = Platform(settings, FixedClock(AT))
    platform.db.migrate()
    assert serving_plan.publish_plan(platform, date(2016, 3, 1), retention=RETENTION) is None
