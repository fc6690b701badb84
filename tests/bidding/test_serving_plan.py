"""The bid service's plan says of every cell what was published for it, and of an unknown one what the nearest coarser says."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.bidding import serving_plan
from ml.bidding.serving_plan import NOT_PUBLISHED, ServingPlan, load_plan, make_plan, no_plan, retention_table
from ml.bidding.worth import CLICK_LEVELS, click_cells, retained_share
from ml.core.digests import digest_bytes
from ml.core.errors import CorruptArtefact, NoData
from ml.lake.local import LocalBlobs

TAKE, CAP = 0.12, 5_000_000
BOOKINGS = pd.DataFrame(
    [
        {"hotel_id": hotel, "lead_bucket": lead, "los_bucket": los, "value_micros": 1e8, "net_value_micros": net * 1e8}
        for hotel, lead, los, net in [
            ("h1", "000-001", "01", 0.9),
            ("h1", "031-090", "01", 0.5),
            ("h2", "000-001", "01", 0.8),
            ("h2", "031-090", "02", 0.4),
        ]
        * 15
    ]
)


def cells(**columns: Any) -> pd.DataFrame:
    base = {
        "partner": "google", "market": "DE", "hotel_id": "h1", "device": "mobile", "lead_bucket": "000-001",
        "los_bucket": "01", "clicks_seen": 4, "p_book": 0.03, "net_value_micros": 200_000_000, "bid_micros": 400_000,
    }  # fmt: skip
    length = max((len(column) for column in columns.values() if isinstance(column, list)), default=1)
    return pd.DataFrame({name: columns.get(name, value) for name, value in base.items()}, index=range(length))


def asked(table: pd.DataFrame, **other: str) -> dict[str, Any]:
    return {
        name: np.array(table[name].tolist() if name not in other else [other[name]] * len(table))
        for name in CLICK_LEVELS
    }


def made(
    table: pd.DataFrame, *, held: list[bool] | None = None, scopes: list[tuple[str, str]] | None = None
) -> ServingPlan:
    data = make_plan(
        [table],
        held=[np.array(held if held is not None else [False] * len(table))],
        held_scopes=scopes or [],
        retention=retention_table(BOOKINGS),
        market="m",
        day=date(2026, 3, 6),
        generation=3,
        take_share=TAKE,
        max_bid_micros=CAP,
    )
    return load_plan(data, digest_bytes(data))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(1, 700_000), st.floats(1e-4, 0.9), st.integers(10**6, 10**10)), min_size=1, max_size=30
    )
)
def test_a_cell_whose_searches_are_average_gets_the_bid_that_was_published(rows: list[tuple[int, float, int]]) -> None:
    bids, p_book, value = (list(column) for column in zip(*rows, strict=True))
    table = cells(hotel_id=[f"h{n}" for n in range(len(rows))], bid_micros=bids, p_book=p_book, net_value_micros=value)
    found = made(table).of(asked(table))
    worth = table["p_book"].to_numpy() * table["net_value_micros"].to_numpy() * TAKE
    assert np.rint(worth * found.shading).astype(int).tolist() == np.minimum(bids, np.rint(worth)).astype(int).tolist()
    assert found.last_bid_micros.tolist() == bids
    assert (found.cap_micros == CAP).all()


def test_worth_from_searches_and_the_plan_is_worth_from_the_publication() -> None:
    searches = cells(hotel_id=["h1", "h2", "h2"], lead_bucket=["000-001", "031-090", "031-090"])[
        list(CLICK_LEVELS)
    ].assign(price_micros=80_000_000, los_nights=2, p_book=[0.02, 0.03, 0.03])
    published = click_cells(BOOKINGS, searches).assign(bid_micros=[60_000, 70_000])
    rows = made(published).of(asked(published))
    worth = np.array([0.02, 0.03]) * 80_000_000 * 2 * rows.retained * TAKE
    assert np.rint(worth * rows.shading).tolist() == [60_000, 70_000]


def test_what_is_retained_is_the_value_models_share_at_known_and_unknown_hotels() -> None:
    keys = [
        (lead, los, hotel)
        for lead in ("000-001", "031-090", "181+")
        for los in ("01", "02", "08+")
        for hotel in ("h1", "h2", "h9")
    ]
    at = pd.DataFrame(keys, columns=["lead_bucket", "los_bucket", "hotel_id"])
    table = cells(**{name: at[name].tolist() for name in at}).head(len(at))
    want = retained_share(BOOKINGS, at)
    known = made(table).of(asked(table)).retained
    unknown = made(cells()).of(asked(table)).retained
    np.testing.assert_array_equal(known, want)
    np.testing.assert_array_equal(unknown, want)


def test_an_unknown_hotel_has_the_shading_of_its_cells_and_no_published_bid() -> None:
    table = cells(hotel_id=["h1", "h2"], clicks_seen=[1, 3], bid_micros=[100_000, 300_000])
    plan = made(table)
    found = plan.of(asked(table.head(1), hotel_id="h9"))
    worth = 0.03 * 200_000_000 * TAKE
    assert found.shading[0] == pytest.approx((100_000 + 3 * 300_000) / (4 * worth))
    assert found.last_bid_micros.tolist() == [NOT_PUBLISHED]
    assert found.cap_micros.tolist() == [CAP]


def test_the_hotel_is_dropped_first_then_the_device_then_the_dates_then_the_market() -> None:
    table = cells(device=["mobile", "desktop"], market=["DE", "FR"], bid_micros=[100_000, 300_000], p_book=0.03)
    plan, worth = made(table), 0.03 * 200_000_000 * TAKE
    shading = lambda **other: plan.of(asked(table.head(1), **other)).shading[0] * worth  # noqa: E731
    assert shading(hotel_id="h9", device="tablet") == pytest.approx(100_000)
    assert shading(market="FR") == pytest.approx(300_000)
    assert shading(market="FR", lead_bucket="") == pytest.approx(300_000)
    assert shading(market="IT") == pytest.approx(200_000)
    assert shading(partner="other", market="FR") == pytest.approx(300_000)
    assert shading(partner="", market="") == pytest.approx(200_000)


def test_known_and_unknown_cells_may_be_asked_for_together() -> None:
    table = cells(hotel_id=["h1", "h2"], bid_micros=[100_000, 300_000])
    mixed = pd.concat([table, table.assign(hotel_id="h9")], ignore_index=True)
    found = made(table).of(asked(mixed))
    alone = [made(table).of(asked(mixed.iloc[[row]])) for row in range(4)]
    for name in ("retained", "shading", "last_bid_micros", "cap_micros"):
        assert getattr(found, name).tolist() == [getattr(one, name)[0] for one in alone]


def test_no_bid_passes_what_a_kill_switch_keeps_and_it_starts_none() -> None:
    table = cells(market=["DE", "FR"], bid_micros=[100_000, 300_000])
    plan = made(table, held=[True, False], scopes=[("google", "DE")])
    assert plan.of(asked(table)).cap_micros.tolist() == [100_000, CAP]
    assert plan.of(asked(table, hotel_id="h9")).cap_micros.tolist() == [0, CAP]
    assert plan.of(asked(table, device="tablet", lead_bucket="x")).cap_micros.tolist() == [0, CAP]


@pytest.mark.parametrize("scope", [("google", "IT"), ("", "IT"), ("trivago", ""), ("", "")])
def test_where_no_bids_are_out_a_kill_switch_keeps_it_so(scope: tuple[str, str]) -> None:
    table = cells()
    plan = made(table, held=[scope == ("", "")], scopes=[scope])
    wanted = {"partner": scope[0] or "google", "market": scope[1] or "IT"}
    assert plan.of(asked(table, **wanted)).cap_micros.tolist() == [0]
    if scope == ("", "IT"):
        assert plan.of(asked(table, partner="new", market="IT")).cap_micros.tolist() == [0]
    if scope != ("", ""):
        assert plan.of(asked(table)).cap_micros.tolist() == [CAP]


def test_a_cell_that_is_worth_nothing_or_is_bid_above_its_worth_has_a_share_of_at_most_all() -> None:
    table = cells(hotel_id=["h1", "h2", "h3"], p_book=[0.0, 0.001, 0.03], bid_micros=[50_000, 90_000, 0])
    assert made(table).of(asked(table)).shading.tolist() == [0.0, 1.0, 0.0]


def test_a_worth_that_is_not_finite_stops_the_plan() -> None:
    with pytest.raises(ValueError, match="finite"):
        made(cells(p_book=[float("nan")]))


def test_equal_bids_write_equal_bytes_under_their_digest(tmp_path: Path) -> None:
    blobs, table = LocalBlobs(tmp_path), cells(hotel_id=["h2", "h1"])
    data = [
        make_plan(
            [table], held=[np.array([False, False])], held_scopes=[], retention=retention_table(BOOKINGS), market="m",
            day=date(2026, 3, 6), generation=3, take_share=TAKE, max_bid_micros=CAP,
        )
        for _ in range(2)
    ]  # fmt: skip
    assert data[0] == data[1]
    digest, key = serving_plan.write_plan(blobs, "m", data[0])
    plan = serving_plan.read_plan(blobs, "m", digest)
    assert (plan.digest, plan.take_share, plan.max_bid_micros, plan.generation) == (digest, TAKE, CAP, 3)
    pd.testing.assert_frame_equal(serving_plan.retention_of(data[0]), retention_table(BOOKINGS))
    blobs.put(key, data[0].replace(b"400000", b"400001"))
    with pytest.raises(CorruptArtefact, match="has the digest"):
        serving_plan.read_plan(blobs, "m", digest)
    with pytest.raises(NoData):
        serving_plan.read_plan(blobs, "m", "f" * 64)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format_version":2}', b"\xff\xfe"])
def test_bytes_that_are_no_plan_are_named(data: bytes) -> None:
    with pytest.raises(CorruptArtefact, match="cannot be read"):
        load_plan(data, digest_bytes(data))


def test_without_a_plan_no_cell_is_bid_on_and_the_policys_cap_holds() -> None:
    plan = no_plan(market="m", take_share=TAKE, max_bid_micros=CAP)
    found = plan.of(asked(cells(hotel_id=["h1", "h2"])))
    assert (plan.digest, plan.max_bid_micros) == ("", CAP)
    assert found.shading.tolist() == [0.0, 0.0] and found.retained.tolist() == [1.0, 1.0]
    assert found.last_bid_micros.tolist() == [NOT_PUBLISHED] * 2 and found.cap_micros.tolist() == [CAP] * 2


def test_a_plan_of_another_format_or_with_columns_of_two_lengths_is_refused() -> None:
    data = make_plan(
        [cells()], held=[np.array([False])], held_scopes=[], retention=retention_table(BOOKINGS), market="m",
        day=date(2026, 3, 6), generation=3, take_share=TAKE, max_bid_micros=CAP,
    )  # fmt: skip
    for wrong in (
        data.replace(b'"format_version":1', b'"format_version":9'),
        data.replace(b'"shading":[', b'"shading":[1,'),
    ):
        assert wrong != data
        with pytest.raises(CorruptArtefact, match="cannot be read"):
            load_plan(wrong, digest_bytes(wrong))
