from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from ml.promotion.evidence_bids import Monotonicity, SparseHotels
from ml.promotion.gates.monotonicity import Monotonicity as Gate
from ml.promotion.measure_probes import (
    UNKNOWN_HOTEL,
    measure_monotonicity,
    measure_sparse_hotels,
    rising_bids,
    rising_curves,
)

ROWS = 400


class Value:
    outputs: ClassVar[tuple[str, ...]] = ("p_cancel", "net_value_micros")

    def __init__(self, net: Callable[[pd.DataFrame], Any]) -> None:
        self.net = net

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"p_cancel": 0.2, "net_value_micros": self.net(rows)}, index=rows.index)


class Conversion:
    outputs: ClassVar[tuple[str, ...]] = ("p_book",)

    def __init__(self, p: Callable[[pd.DataFrame], Any]) -> None:
        self.p = p

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"p_book": self.p(rows)}, index=rows.index)


def bookings() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    nights, rate = rng.integers(1, 8, ROWS), rng.integers(40, 300, ROWS) * 1_000_000
    return pd.DataFrame({"los_nights": nights, "rate_micros": rate, "value_micros": nights * rate})


def traffic() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    price = rng.integers(40, 300, ROWS) * 1_000_000
    rival = pd.Series((price * rng.uniform(0.8, 1.2, ROWS)).astype(np.int64), dtype="Int64")
    rival[::10] = pd.NA
    return pd.DataFrame({"price_micros": price, "rival_price_micros": rival})


def gap(rows: pd.DataFrame) -> Any:
    rival = (
        rows["rival_price_micros"].astype("Float64").fillna(rows["price_micros"].astype(float)).to_numpy(dtype=float)
    )
    return np.log(rows["price_micros"].to_numpy(dtype=float) / rival)


def asked(net: Callable[[pd.DataFrame], Any], p: Callable[[pd.DataFrame], Any]) -> Monotonicity:
    return measure_monotonicity(
        {"value": Value(net), "conversion": Conversion(p)}, traffic=traffic(), bookings=bookings()
    )  # type: ignore[dict-item]


def kept(rows: pd.DataFrame) -> Any:
    return 0.8 * rows["value_micros"].astype(float)


def sane(rows: pd.DataFrame) -> Any:
    return 0.04 * np.exp(-gap(rows))


def broken(found: Monotonicity) -> list[str]:
    """Names of the probes that the gate does not pass by itself."""
    gate = Gate()
    return [p.name for p in found.probes if gate.examine_part(Monotonicity((p,))).verdict != "PASS"]


def test_sane_models_break_no_property() -> None:
    assert broken(asked(kept, sane)) == []


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (lambda r: 0.8 * r["rate_micros"].astype(float), "net value in the nights at the same price a night"),
        (lambda r: kept(r) * r["los_nights"].astype(float), "net value in the nights at the same price a night"),
        (lambda r: np.minimum(kept(r), 3e8), "net value in the currency of its amounts"),
        (lambda r: 1.35 * r["value_micros"].astype(float), "net value against the gross value of the stay"),
        (lambda r: kept(r) * np.where(r["value_micros"] > 500_000_000, 0.4, 1.0), "net value in the value of the stay"),
    ],
    ids=["a night sent as a stay", "a stay times its nights", "money with a ceiling", "another currency", "falls"],
)
def test_a_value_that_cannot_be_is_named(net: Callable[[pd.DataFrame], Any], name: str) -> None:
    assert name in broken(asked(net, sane))


@pytest.mark.parametrize(
    ("p", "name"),
    [
        (lambda r: 0.04 * np.exp(4 * gap(r)), "bookings in the price of the cheapest rival"),
        (
            lambda r: np.clip(4e6 / r["price_micros"].astype(float), 0, 1) ** 2,
            "bookings against the currency of the prices",
        ),
        (lambda r: 1.2 + 0 * gap(r), "bookings per click"),
    ],
    ids=["dearer books more", "depends on the currency", "no probability"],
)
def test_a_conversion_that_cannot_be_is_named(p: Callable[[pd.DataFrame], Any], name: str) -> None:
    assert name in broken(asked(kept, p))


def test_a_market_without_traffic_is_asked_of_its_bookings_alone() -> None:
    found = measure_monotonicity({"value": Value(kept)}, traffic=None, bookings=bookings())  # type: ignore[dict-item]
    assert broken(found) == []
    assert len(found.probes) == 4


def test_bids_that_fall_as_worth_rises_are_seen_within_a_kind_only() -> None:
    worth, ones = np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4)
    assert rising_bids(list("aaaa"), worth, np.array([1.0, 2.0, 0.1, 4.0]), weights=ones).broken == 0.25
    assert rising_bids(list("aabb"), worth, np.array([1.0, 2.0, 0.1, 4.0]), weights=ones).broken == 0.0


def test_curves_that_fall_are_seen() -> None:
    rising, falling = np.array([[0.0, 1.0, 2.0]]), np.array([[0.0, 1.0, 0.9]])
    assert rising_curves(rising, rising).broken == 0.0
    assert rising_curves(rising, falling).broken == 0.5


HOTELS, CLICKS = 300, 12_000


def sparse(predict: Callable[[pd.DataFrame], Any], clicks: pd.DataFrame) -> SparseHotels:
    return measure_sparse_hotels(
        clicks, np.ones(len(clicks)), predict, bid_share=0.6, later=clicks[:3_000], later_share=np.ones(3_000), seed=1
    )


def market() -> tuple[pd.DataFrame, pd.Series[float]]:
    """Clicks of hotels whose true multipliers spread by 0.45, and each hotel's raw ratio."""
    rng = np.random.default_rng(4)
    hotel = np.minimum(rng.geometric(0.012, CLICKS), HOTELS)
    true = np.exp(rng.normal(0, 0.45, HOTELS + 1))
    clicks = pd.DataFrame({"hotel_id": [f"h{n}" for n in hotel], "booked": rng.random(CLICKS) < 0.03 * true[hotel]})
    return clicks, clicks.groupby("hotel_id")["booked"].mean() / clicks["booked"].mean()


def test_raw_ratios_repeat_their_bookings_whole_and_shrunk_ones_a_part() -> None:
    clicks, raw = market()
    count = clicks.groupby("hotel_id").size() * clicks["booked"].mean()
    shrunk = (raw * count + 4.5) / (count + 4.5)

    def by(multipliers: pd.Series[float]) -> Callable[[pd.DataFrame], Any]:
        return lambda rows: 0.03 * rows["hotel_id"].map(multipliers).fillna(1.0).to_numpy(dtype=float)

    ours, theirs, none = sparse(by(shrunk), clicks), sparse(by(raw), clicks), sparse(by(raw * 0 + 1), clicks)
    assert ours.follows is not None
    assert ours.ought is not None
    assert ours.follows == pytest.approx(ours.ought, abs=0.1)
    assert theirs.follows == pytest.approx(1.0, abs=0.01)
    assert none.follows == pytest.approx(0.0, abs=1e-9)
    assert theirs.outside_share is not None
    assert theirs.outside_share > 0.1


def test_a_hotel_is_blinded_by_a_name_that_nobody_has() -> None:
    clicks, _ = market()
    assert UNKNOWN_HOTEL not in set(clicks["hotel_id"])
