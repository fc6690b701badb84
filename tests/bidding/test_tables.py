"""Value tables and bid tables: every cell of the traffic is priced, sparse cells lean on their parents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.bidding.cells import shrunk_at, shrunk_means
from ml.bidding.policy import BidPolicy
from ml.bidding.publish import publish_table, read_table
from ml.bidding.table import CLICK_LEVELS, bid_table, value_table
from ml.bidding.worth import click_cells
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
                "price_micros": 100_000_000,
                "los_nights": 1,
            }
            for hotel, lead, los in cells
            for _ in range(clicks)
        ]
    )


def bids(known: pd.DataFrame, seen: pd.DataFrame, previous: pd.DataFrame | None = None) -> pd.DataFrame:
    """The table of bids where nothing is known yet of how the market answers."""
    cells = click_cells(known, seen)
    wanted = POLICY.share_of_worth(
        cells["net_value_micros"].to_numpy(dtype=float), cells["p_book"].to_numpy(dtype=float)
    )
    return bid_table(cells, wanted, previous=previous, policy=POLICY)


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


def test_a_cell_that_was_never_seen_has_the_estimate_of_the_nearest_coarser_one() -> None:
    rows = pd.DataFrame({"lead": ["a"] * 400 + ["b"] * 400, "hotel": ["x"] * 800, "y": [0.5] * 400 + [0.9] * 400})
    at = pd.DataFrame({"lead": ["b", "a", "c"], "hotel": ["new", "x", "x"]})
    found = shrunk_at(rows, "y", levels=("lead", "hotel"), at=at)
    assert found == pytest.approx([0.9, 0.5, 0.7], abs=0.02)


def test_every_cell_of_the_traffic_gets_a_bid_even_where_no_booking_was_seen() -> None:
    known = bookings({("h1", "000-001", "01"): (50, 100.0)})
    table = bids(known, traffic(("h1", "002-007", "03-04"), ("h9", "181+", "08+")))
    assert len(table) == 2
    assert (table["bid_micros"] > 0).all()
    assert not table.duplicated(list(CLICK_LEVELS)).any()


def test_a_longer_and_dearer_stay_is_worth_more_by_its_own_nights_and_price() -> None:
    known = bookings({("h1", "000-001", "01"): (500, 100.0)})
    short = traffic(("h1", "000-001", "01"))
    long = traffic(("h1", "000-001", "05-07")).assign(los_nights=6, price_micros=200_000_000)
    worth = click_cells(known, pd.concat([short, long]))["net_value_micros"].to_numpy(dtype=float)
    assert worth[1] / worth[0] == pytest.approx(12, rel=0.01)
    assert worth[0] == pytest.approx(100e6 * 0.8, rel=0.01), "a fifth of the value is cancelled"


def test_a_cell_is_worth_what_its_likely_clicks_are_worth() -> None:
    known = bookings({("h1", "000-001", "01"): (500, 100.0)})
    likely = traffic(("h1", "000-001", "01"), p_book=0.02, clicks=10).assign(p_click=0.09)
    unlikely = traffic(("h1", "000-001", "01"), p_book=0.10, clicks=10).assign(p_click=0.01)
    cells = click_cells(known, pd.concat([likely, unlikely]))
    assert cells["p_book"].item() == pytest.approx(0.9 * 0.02 + 0.1 * 0.10)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_a_search_that_cannot_be_valued_stops_the_table(bad: float) -> None:
    known = bookings({("h1", "000-001", "01"): (5, 100.0)})
    with pytest.raises(ValueError, match="search"):
        click_cells(known, traffic(("h1", "000-001", "01"), p_book=bad))


def test_yesterdays_bid_holds_todays_near_it() -> None:
    known = bookings({("h1", "000-001", "01"): (50, 100.0)})
    first = bids(known, traffic(("h1", "000-001", "01")))
    second = bids(known, traffic(("h1", "000-001", "01"), p_book=0.09), previous=first)
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
