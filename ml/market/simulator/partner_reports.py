"""The reports of each partner, in its own words. To add one: a function, and one line in `REPORTS`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ml.market.simulator.reports import Report, Seen, beat_meet_lose, bid_simulation, missed, total

_GOOGLE_CELL = [
    "hotel_id",
    "country",
    "device",
    "check_in",
    "hotel_booking_window_days",
    "hotel_length_of_stay",
    "hotel_date_selection_type",
    "hotel_price_bucket",
]


def google_performance(seen: Seen) -> pd.DataFrame:
    """Google's hotel performance view at its finest grain, in its field names."""
    gap = seen.rows["price"] / seen.rows["rival_price"] - 1
    alone = ~np.isfinite(seen.rows["rival_price"])
    named = seen.rows.assign(
        hotel_booking_window_days=seen.rows["lead_days"],
        hotel_length_of_stay=seen.rows["los_nights"],
        hotel_date_selection_type=np.where(seen.rows["default_date"], "DEFAULT_SELECTION", "USER_SELECTED"),
        hotel_price_bucket=np.select(
            [alone, gap < -0.0005, gap.abs() <= 0.0005],
            ["ONLY_PARTNER_SHOWN", "LOWEST_UNIQUE", "LOWEST_TIED"],
            "NOT_LOWEST",
        ),
    )
    table = total(_with(seen, named), _GOOGLE_CELL)
    return table.rename(
        columns={
            "hotel_id": "partner_hotel_id",
            "check_in": "hotel_check_in_date",
            "eligible_impressions": "hotel_eligible_impressions",
            "impression_share": "search_impression_share",
        }
    )


def google_bid_simulation(seen: Seen) -> pd.DataFrame:
    """Google's bid simulation points by hotel."""
    return bid_simulation(seen, ["hotel_id"])


def google_missed_impressions(seen: Seen) -> pd.DataFrame:
    """Why eligible impressions were missed, by hotel and device, after the taxonomy of Microsoft's reports."""
    return missed(seen, ["hotel_id", "device"])


def trivago_performance(seen: Seen) -> pd.DataFrame:
    """trivago's report by property and point of sale, with beat, meet and lose."""
    cell = ["hotel_id", "country"]
    return total(seen, cell).merge(beat_meet_lose(seen, cell), on=cell, validate="1:1")


def tripadvisor_silos(seen: Seen) -> pd.DataFrame:
    """Tripadvisor's report by silo, a point of sale and a device, and length of stay."""
    return total(seen, ["country", "device", "los_bucket"]).rename(columns={"country": "silo_country"})


def tripadvisor_bid_simulation(seen: Seen) -> pd.DataFrame:
    """What other bids would have brought, by silo; each click costs its bid."""
    return bid_simulation(seen, ["country", "device"], first_price=True)


def _with(seen: Seen, rows: pd.DataFrame) -> Seen:
    return Seen(rows, seen.needed, seen.click, seen.partner, seen.counted_at, seen.noise)


REPORTS: Mapping[str, Report] = {
    "google_performance": google_performance,
    "google_bid_simulation": google_bid_simulation,
    "google_missed_impressions": google_missed_impressions,
    "trivago_performance": trivago_performance,
    "tripadvisor_silos": tripadvisor_silos,
    "tripadvisor_bid_simulation": tripadvisor_bid_simulation,
}
"""Every report by name; the first part of the name is the partner."""
