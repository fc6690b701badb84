"""What a day's bids are expected to cost is published with them, and caps what a partner may charge."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml import pipeline
from ml.bidding.say import Expected, SaidBids
from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, stages, versions
from ml.market.buckets import LEAD_BUCKETS, LOS_BUCKETS
from ml.market.tables import DEVICES
from ml.platform import Platform
from ml.promotion.bundle import Bundle
from ml.steps import portfolio, publish, switched

AT = datetime(2026, 3, 6, tzinfo=UTC)
LIVE = Digest("c" * 64)
EXPECTED = Expected(clicks=40.0, cost_micros=10_000_000, profit_micros=15_000_000)


class World:
    """A champion whose bids are the same in every cell, and expected to do `expected`."""

    def __init__(self, platform: Platform) -> None:
        first = platform.source.first_day()
        assert first is not None
        self.platform, self.days = platform, [first + timedelta(days=n) for n in range(4)]
        self.expected: Expected | None = EXPECTED

    def build(self, *_: Any, **__: Any) -> dict[str, SaidBids]:
        cells = pd.MultiIndex.from_product(
            [["h001", "h002"], DEVICES, LEAD_BUCKETS, LOS_BUCKETS],
            names=["hotel_id", "device", "lead_bucket", "los_bucket"],
        ).to_frame(index=False)
        table = cells.assign(
            partner="google", market="m", clicks_seen=2, p_book=0.03, net_value_micros=4e8, bid_micros=500_000
        )
        return {"google": replace(switched.say_as_is(self.platform, "google", table), expected=self.expected)}

    def publish(self, day: date) -> dict[str, Any]:
        key = stages.StageKey(self.platform.market, "ingest", day)
        stages.record(self.platform.db, key, status="done", result={}, at=AT)
        return pipeline.publish_bids(self.platform, day)

    def manifest(self, day: date) -> dict[str, Any]:
        uri = f"bids/{self.platform.market}/google/{day.isoformat()}"
        found: dict[str, Any] = json.loads(self.platform.blobs.get(f"{uri}/manifest.json"))
        return found


def open_world(home: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> World:
    loaded = load_settings(source="simulator", home=home, smtp_port=9, **settings)
    world = World(Platform(loaded, FixedClock(AT)))
    db, market, day = world.platform.db, world.platform.market, world.days[0]
    db.migrate()
    versions.register(db, versions.Version(LIVE, market, day, "u", Digest("d" * 64), day, {}, ""), AT)
    decision = decisions.Decision(market, day, LIVE, None, 0, Verdict.PASS, [], Digest("e" * 64), None)
    found = decisions.record(db, decision, AT)
    champion.move(db, market, digest=LIVE, expected_generation=0, decision_id=found, day=day, at=AT)
    monkeypatch.setattr("ml.promotion.bundle.read_bundle", lambda *_: Bundle(LIVE, {}, {}))
    monkeypatch.setattr("ml.promotion.bundle.load_models", lambda _, **_types: {"value": "the model"})
    monkeypatch.setattr(publish, "build_bids", world.build)
    monkeypatch.setattr(switched, "build_bids", world.build)
    return world


def test_a_publication_says_what_is_expected_and_the_budget_that_caps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = open_world(tmp_path, monkeypatch)
    result = world.publish(world.days[0])
    told = {"clicks": 40.0, "cost_micros": 10_000_000, "profit_micros": 15_000_000}
    assert result["expected"] == {"google": told}
    assert world.manifest(world.days[0])["expected"] == told
    assert world.manifest(world.days[0])["daily_budget_micros"] == 12_000_000


def test_the_cap_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = open_world(tmp_path, monkeypatch, spend_cap=1.5)
    world.publish(world.days[0])
    assert world.manifest(world.days[0])["daily_budget_micros"] == 15_000_000


def test_where_nothing_is_expected_yet_there_is_no_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = open_world(tmp_path, monkeypatch)
    world.expected = None
    assert world.publish(world.days[0])["expected"] == {}
    assert not {"expected", "daily_budget_micros"} & set(world.manifest(world.days[0]))


def test_bids_of_which_nothing_is_expected_keep_to_the_budget_that_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = open_world(tmp_path, monkeypatch)
    world.publish(world.days[0])
    world.expected = None
    world.publish(world.days[1])
    once = world.manifest(world.days[1])
    assert once["daily_budget_micros"] == 12_000_000
    world.publish(world.days[1])
    assert world.manifest(world.days[1]) == once


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_kill_switch_does_not_lift_the_cap_on_spend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    world = open_world(tmp_path, monkeypatch)
    world.publish(world.days[0])
    pipeline.pull_switch(world.platform, level, why="too high", by="anna")
    assert world.manifest(world.days[0])["daily_budget_micros"] == 12_000_000
    world.publish(world.days[1])
    last = switched.standing(world.platform, "google", world.days[1])
    assert last is not None
    assert world.manifest(last.day)["daily_budget_micros"] == 12_000_000


def test_a_day_that_was_held_does_not_thin_the_plan_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = open_world(tmp_path, monkeypatch)
    for day in world.days:
        world.platform.lake.write("opportunities", day, pd.DataFrame({"x": [1]}))
    monkeypatch.setattr(portfolio, "held_days", lambda *_: [world.days[1]])
    assert portfolio.days_seen(world.platform, world.days[2]) == 2
