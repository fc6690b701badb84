"""Published bids for the eye: what changed, what weighs most, and spend beside its plan, from the files as they stand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from ml.bidding.publish import publish_table
from ml.core.clock import FixedClock
from ml.core.errors import CorruptArtefact
from ml.core.settings import load_settings
from ml.ledger import publications
from ml.ledger.publications import Publication
from ml.platform import Platform
from ml.published import changes, spend_through_the_day, top_hotels

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 3, tzinfo=UTC)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = Platform(load_settings(home=tmp_path), FixedClock(AT))
    made.db.migrate()
    return made


def published(platform: Platform, day: date, bids: dict[str, int], **more: object) -> Publication:
    rows = {
        "partner": "google", "market": "m", "hotel_id": list(bids), "device": "mobile", "lead_bucket": "0",
        "los_bucket": "1", "clicks_seen": 10, "p_book": 0.1, "net_value_micros": 100_000_000, "bid_micros": list(bids.values()),
    }  # fmt: skip
    made = publish_table(
        platform.blobs, pd.DataFrame(rows | more), market=platform.market, partner="google", day=day, version="v" * 64,
        generation=1, policy="p" * 64,
    )  # fmt: skip
    told = Publication(platform.market, "google", day, "a" * 64, 1, made.rows, made.digest, made.uri)  # type: ignore[arg-type]
    publications.record(platform.db, told, AT)
    return told


def test_each_bid_is_held_against_the_one_of_the_publication_before(platform: Platform) -> None:
    published(platform, DAY - timedelta(days=3), {"same": 100, "up": 100, "down": 100, "gone": 100})
    found = changes(platform, published(platform, DAY, {"same": 101, "up": 115, "down": 30, "new": 5, "new too": 7}))
    assert found is not None
    assert found["since"] == "2026-02-27"
    assert (found["cells"], found["new"], found["gone"], found["up"], found["down"]) == (3, 2, 1, 1, 1)
    assert found["median"] == pytest.approx(0.15)
    shares = {one["label"]: one["share"] for one in found["bins"]}
    assert {label for label, share in shares.items() if share} == {"same", "+10% to +20%", "under -50%"}
    assert sum(shares.values()) == pytest.approx(1)


def test_a_first_publication_has_no_changes(platform: Platform) -> None:
    assert changes(platform, published(platform, DAY, {"h": 100})) is None


def test_a_table_without_bids_has_neither_changes_nor_hotels(platform: Platform) -> None:
    published(platform, DAY - timedelta(days=1), {"h": 100})
    told = published(platform, DAY, {"h": 1})
    frame = pd.DataFrame({"segment": ["direct"], "net_value_micros": [5]})
    made = publish_table(
        platform.blobs, frame, market=platform.market, partner="google", day=DAY, version="v" * 64, generation=1,
        policy="p" * 64,
    )  # fmt: skip
    other = Publication(told.market, "google", DAY, told.version, 1, 1, made.digest, made.uri)
    assert changes(platform, other) is None and top_hotels(platform, other, 5) == []


def test_the_heaviest_hotel_comes_first_with_its_mean_bid_and_worth(platform: Platform) -> None:
    told = published(platform, DAY, {"small": 100, "large": 300})
    assert top_hotels(platform, told, 1) == [
        {"hotel_id": "large", "cells": 1, "shown": 10, "bid_micros": 300, "worth_micros": 10_000_000}
    ]


def test_a_file_that_is_not_its_manifests_is_refused(platform: Platform) -> None:
    told = published(platform, DAY, {"h": 100})
    platform.blobs.put(f"{told.uri}/bids.parquet", b"damaged")
    with pytest.raises(CorruptArtefact, match="not those of their manifest"):
        top_hotels(platform, told, 3)


def test_spend_adds_up_by_hour_beside_a_plan_spread_as_the_week_before(platform: Platform) -> None:
    def clicks(day: date, *hours: int) -> None:
        ts = [pd.Timestamp(day, tz="UTC") + pd.Timedelta(hours=hour, minutes=59) for hour in hours]
        platform.lake.write("clicks", day, pd.DataFrame({"partner": "google", "ts": ts, "cpc_micros": 10}))

    clicks(DAY - timedelta(days=1), 6, 6, 6, 18)
    clicks(DAY, 0, 23)
    [row] = spend_through_the_day(platform, DAY, {"google": 100})
    assert (row["spent"][0], row["spent"][22], row["spent"][23]) == (10, 10, 20)
    assert (row["planned"][5], row["planned"][6], row["planned"][18]) == (0, 75, 100)


def test_a_day_without_clicks_has_a_plan_and_no_spend(platform: Platform) -> None:
    [row] = spend_through_the_day(platform, DAY, {"trivago": 240})
    assert row["spent"] == [None] * 24
    assert row["planned"][11] == 120


def test_nothing_planned_and_nothing_spent_is_no_row(platform: Platform) -> None:
    assert spend_through_the_day(platform, DAY, {}) == []
