"""Decisions of a canary's arms are joined with the market's clicks by the auction; what cannot be joined is said and holds."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.canary import MARKET, register
from ml.core.clock import FixedClock
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.ledger import rollouts
from ml.platform import Platform
from ml.promotion.canary import slow_findings
from ml.promotion.ramp import SlowLimits
from ml.serving.event_log_lake import collect
from ml.serving.messages import Layout
from ml.steps.arm_outcomes import feed
from tests.serving.event_log_samples import Decision, Scored, segment

BEGAN = datetime(2026, 3, 2, 1, tzinfo=UTC)
DAY = date(2026, 3, 20)
HOTELS, DAYS = 6, 5
BODY = {"key": "k", "candidates": [{"id": "?", "hotel_id": "h", "check_in": "2026-04-01", "price_micros": 100_000_000}]}


class Promising:
    """An engine that says of each click that it earns 12 units, of which 80 % of the booking is kept."""

    layout = Layout("<f8", ())

    def intermediates(self, request: Any, *_: Any, **__: Any) -> list[dict[str, float]]:
        return [{"worth_micros": 12_000_000.0, "retained": 0.8} for _ in request.candidates]


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A market whose canary answers since `BEGAN`."""
    settings = load_settings(home=tmp_path, market=MARKET, rollout="canary", rollout_slow_hours=400, take_share=0.1)
    made = Platform(settings, FixedClock(BEGAN))
    made.db.migrate()
    register(made.db, MARKET)
    waiting = rollouts.queued(made.db, MARKET)[0]
    with made.db.session() as session:
        rollouts.change(
            session, waiting, at=BEGAN, state="canary", step=2, analysis=3, generation=1, baseline_share=0.25,
            canary_share=0.25,
        )  # fmt: skip
    monkeypatch.setattr("ml.serving.explain.built_in_engine", lambda _: lambda *_: Promising())
    return made


def auctions() -> list[tuple[str, str, datetime]]:
    """Arm, auction and instant: one of each arm per hotel and day."""
    return [
        (arm, f"{arm}-{hotel}-{day}", BEGAN + timedelta(days=day, hours=2 + hotel))
        for day in range(DAYS)
        for hotel in range(HOTELS)
        for arm in ("stable", "baseline", "canary")
    ]


def log(platform: Platform, *, ids: str = "{auction}", **changed: Any) -> None:
    """The service decided these auctions, and its log came into the lake."""
    folder = platform.settings.home / "events" / MARKET
    numbers = {"stable": 0, "baseline": 1, "canary": 2}
    decided = []
    for number, (arm, auction, at) in enumerate(auctions()):
        body = BODY | {"candidates": [BODY["candidates"][0] | {"id": ids.format(auction=auction, number=number)}]}  # type: ignore[dict-item]
        values: dict[str, Any] = {
            "trace_id": f"{number:032x}", "at_us": int(at.timestamp() * 1e6), "body": json.dumps(body).encode(),
            "generation": 1, "arm": numbers[arm], "arm_name": arm, "scored": Scored([1], [1.0], [0], 0, b""),
        }  # fmt: skip
        decided.append(Decision(**(values | changed)))
    segment(folder / "0.a-000001.log", decided)
    collect(folder, platform.lake, keep_days=30, at=BEGAN)


def market(platform: Platform) -> None:
    """Every auction was clicked for 1 unit; every second was booked for 300."""
    rows = pd.DataFrame(
        [
            {
                "click_id": f"c{number}", "opportunity_id": auction, "hotel_id": auction.split("-")[1], "ts": at,
                "cpc_micros": 1_000_000,
            }
            for number, (_, auction, at) in enumerate(auctions())
        ]
    )  # fmt: skip
    for day, some in rows.groupby(rows["ts"].dt.date):
        platform.lake.write("clicks", day, some)
        booked = pd.DataFrame({"click_id": [*some["click_id"][::2], None], "value_micros": 300_000_000})
        platform.lake.write("bookings", day, booked)


def test_clicks_and_bookings_of_both_small_arms_become_measures_of_the_present_analysis(platform: Platform) -> None:
    log(platform)
    market(platform)
    found = feed(platform, DAY)
    seen = rollouts.active(platform.db, MARKET)
    assert seen is not None
    known = rollouts.measures(platform.db, seen)
    assert known is not None
    assert known[0] == found
    assert (found["requests"], found["baseline_requests"], found["clicks"]) == (30, 30, 30)
    bookings = found["bookings"]
    assert bookings == 15
    # Promised 12 a click; earned a tenth of 80 % of 300 a booking.
    assert found["calibration"]["mid"] == pytest.approx(30 * 12 / (bookings * 24))
    assert found["profit"]["low"] < found["profit"]["mid"] < found["profit"]["high"]


def test_only_what_matured_and_was_told_under_this_champion_counts(platform: Platform) -> None:
    log(platform)
    market(platform)
    early = feed(platform, date(2026, 3, 11))
    assert early is not None
    assert 0 < early["requests"] < 30
    assert feed(platform, date(2026, 3, 8)) == {"bookings": 0, "why": "no click of this step is 7 days old yet"}


@pytest.mark.parametrize("changed", [{"shadow": True}, {"generation": 7}, {"arm_name": "stable"}])
def test_what_was_only_tried_or_decided_under_another_champion_or_by_the_stable_arm_is_no_outcome_of_the_canary(
    platform: Platform, changed: dict[str, Any]
) -> None:
    log(platform, **changed)
    market(platform)
    found = feed(platform, DAY)
    assert found is not None
    assert "none of 0 decisions" in found["why"]


def test_callers_who_give_ids_of_their_own_leave_the_gates_in_doubt_and_it_is_said(platform: Platform) -> None:
    log(platform, ids="itinerary-{number}")
    market(platform)
    found = feed(platform, DAY)
    assert found is not None
    assert "none of 60 decisions of the two small arms is joined with one of 90 clicks" in found["why"]
    findings = slow_findings(found, SlowLimits())
    assert {one.verdict for one in findings} == {Verdict.HOLD}
    assert all("opportunity" in one.reason or "joined" in one.reason for one in findings)


def test_without_a_canary_or_without_slow_gates_nothing_is_written(platform: Platform) -> None:
    quick = Platform(load_settings(home=platform.settings.home, market=MARKET, rollout="canary"), FixedClock(BEGAN))
    assert feed(quick, DAY) is None
    with platform.db.session() as session:
        seen = rollouts.active(session, MARKET)
        assert seen is not None
        rollouts.change(session, seen, at=BEGAN, state="rolled_back")
    assert feed(platform, DAY) is None


def test_features_that_cannot_be_read_keep_no_day_from_being_settled(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise IndexError("no such column")

    monkeypatch.setattr(Promising, "intermediates", broken)
    log(platform)
    market(platform)
    assert feed(platform, DAY) == {"bookings": 0, "why": "IndexError: no such column"}


def test_a_decision_that_no_model_made_counts_for_profit_alone(platform: Platform) -> None:
    log(platform, digest="")
    market(platform)
    found = feed(platform, DAY)
    assert found is not None
    assert "calibration" not in found
    assert np.isfinite(found["profit"]["mid"])
