"""Value tables and bid tables: every cell of the traffic is priced, sparse cells lean on their parents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.bidding.cells import shrunk_means
from ml.bidding.policy import BidPolicy
from ml.bidding.publish import publish_table, read_table
from ml.bidding.table import CLICK_LEVELS, bid_table, value_table
from ml.core.errors import CorruptArtefact, NoData
from ml.lake.blobs import open_blobs

POLICY = BidPolicy(target_cost_share=0.06, max_bid_micros=5_000_000, max_change=0.3)


def bookings(cells: dict[tuple[str, str, str], tuple[int, float]]) -> pd.DataFrame:
    """`cells` maps (hotel, lead, los) to (bookings, net value in units)."""
    return pd.DataFrame(
        [
            {
                "hotel_id": hotel,
                "lead_bucket": lead,
                "los_bucket": los,
                "p_cancel": 0.2,
                "net_value_micros": value * 1e6,
                "value_micros": value * 1.25e6,
            }
            for (hotel, lead, los), (n, value) in cells.items()
            for _ in range(n)
        ]
    )


def traffic(*cells: tuple[str, str, str], p_book: float = 0.03, clicks: int = 50) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "partner": "google",
                "market": "DE",
                "hotel_id": hotel,
                "device": "mobile",
                "lead_bucket": lead,
                "los_bucket": los,
                "p_book": p_book,
            }
            for hotel, lead, los in cells
            for _ in range(clicks)
        ]
    )


def test_a_cell_with_much_of_its_own_keeps_its_mean_and_one_with_little_leans_on_its_parent() -> None:
    rows = bookings({("h1", "000-001", "01"): (2_000, 100.0), ("h1", "000-001", "02"): (1, 1_000.0)})
    means = shrunk_means(rows, ["net_value_micros"], levels=("hotel_id", "lead_bucket", "los_bucket"))
    big, small = means["net_value_micros"].to_numpy() / 1e6
    assert big == pytest.approx(100.0, rel=0.01)
    assert small < 200.0, "one booking of 1,000 must not set a value of 1,000"


def test_shrinkage_is_the_posterior_mean_of_the_formula() -> None:
    rows = pd.DataFrame({"hotel_id": ["a"] * 20 + ["b"] * 20, "y": [1.0] * 20 + [3.0] * 20})
    means = shrunk_means(rows, ["y"], levels=("hotel_id",), prior_rows=20)
    assert means["y"].tolist() == [1.5, 2.5]


def test_every_cell_of_the_traffic_gets_a_bid_even_where_no_booking_was_seen() -> None:
    values = value_table(bookings({("h1", "000-001", "01"): (50, 100.0)}))
    table = bid_table(values, traffic(("h1", "002-007", "03-04"), ("h9", "181+", "08+")), previous=None, policy=POLICY)
    assert len(table) == 2
    assert (table["bid_micros"] > 0).all()
    assert not table.duplicated(list(CLICK_LEVELS)).any()


def test_yesterdays_bid_holds_todays_near_it() -> None:
    values = value_table(bookings({("h1", "000-001", "01"): (50, 100.0)}))
    today = traffic(("h1", "000-001", "01"))
    first = bid_table(values, today, previous=None, policy=POLICY)
    tripled = value_table(bookings({("h1", "000-001", "01"): (50, 300.0)}))
    second = bid_table(tripled, today, previous=first, policy=POLICY)
    assert second["bid_micros"].item() == pytest.approx(first["bid_micros"].item() * 1.3, abs=1)


def test_nothing_to_learn_from_is_an_error_that_says_so() -> None:
    empty = bookings({("h1", "000-001", "01"): (1, 1.0)}).iloc[:0]
    with pytest.raises(NoData, match="no recent booking"):
        value_table(empty)


def test_publishing_twice_leaves_the_same_bytes_and_a_damaged_file_is_found(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path / "blobs"), cache=tmp_path / "cache")
    values = value_table(bookings({("h1", "000-001", "01"): (50, 100.0)}))
    import datetime as dt

    given = {
        "market": "m",
        "partner": "google",
        "day": dt.date(2026, 3, 1),
        "version": "v",
        "generation": 1,
        "policy": POLICY.digest(),
    }
    first = publish_table(blobs, values, **given)
    again = publish_table(blobs, values, **given)
    assert first == again
    pd.testing.assert_frame_equal(read_table(blobs, first.uri), values)
    csv = pd.read_csv(tmp_path / "blobs" / first.uri / "bids.csv")
    assert np.allclose(csv["net_value_micros"], values["net_value_micros"])
    blobs.put(f"{first.uri}/bids.parquet", b"damaged")
    with pytest.raises(CorruptArtefact, match="digest"):
        read_table(blobs, first.uri)
