"""Scoring a story: once, by a process of its own, and never the reason why a demo fails."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.scenario import Scenario, choose
from local.scorecard import score_days
from local.stack import Stack
from ml.core.clock import FixedClock
from ml.core.settings import load_settings
from ml.market.scorecard import Scorecard, cards, keep
from ml.platform import Platform


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(load_settings(home=tmp_path), FixedClock(datetime(2026, 3, 9, tzinfo=UTC)))


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


@pytest.fixture
def story() -> Scenario:
    return choose("simulator", "", days=2)


def test_a_market_whose_truth_nobody_knows_is_not_scored(platform: Platform, stack: Stack, tmp_path: Path) -> None:
    assert score_days(platform, stack, choose("hotel_bookings", str(tmp_path), days=2)) == ""
    assert not stack.logs.exists()


def test_days_that_are_scored_are_not_scored_again(platform: Platform, stack: Stack, story: Scenario) -> None:
    kept = {day: Scorecard(day, 1, 2) for day in story.days}
    for card in kept.values():
        keep(platform.blobs, platform.market, card)
    assert score_days(platform, stack, story) == ""
    assert not stack.logs.exists()
    assert cards(platform.blobs, platform.market, story.days) == kept


def test_days_that_cannot_be_scored_leave_a_reason_and_no_card(
    platform: Platform, stack: Stack, story: Scenario
) -> None:
    keep(platform.blobs, platform.market, Scorecard(story.days[0], 1, 2))
    assert "2026-03-02 has not happened on the simulated market" in score_days(platform, stack, story)
    assert len(cards(platform.blobs, platform.market, story.days)) == 1
