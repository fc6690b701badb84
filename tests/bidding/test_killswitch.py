"""Each level of the kill switch sends bids that are no worse than those it is named after."""

from __future__ import annotations

import pandas as pd
import pytest

from ml.bidding.killswitch import LEVELS, Scope, Tables, switch
from ml.bidding.table import CLICK_LEVELS
from ml.core.errors import NoData, UsageError


def bids(amounts: dict[str, int], *, partner: str = "google", market: str = "DE") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                **dict.fromkeys(CLICK_LEVELS, "x"),
                "partner": partner,
                "market": market,
                "hotel_id": hotel,
                "bid_micros": bid,
                "clicks_seen": 10,
            }
            for hotel, bid in amounts.items()
        ]
    )


TABLES = Tables(
    current=bids({"a": 900, "b": 400, "new": 700}),
    last_good=bids({"b": 380, "a": 300}),
    champion=bids({"a": 350, "b": 390, "gone": 1}),
    baseline=bids({"a": 400, "b": 900}),
)


def sent(level: int, tables: Tables = TABLES, scope: Scope | None = None) -> dict[str, int]:
    table = switch(level, tables, scope).table
    return dict(zip(table["hotel_id"], table["bid_micros"], strict=True))


def test_freeze_sends_the_last_good_bids_and_nothing_for_cells_they_do_not_know() -> None:
    assert sent(0) == {"a": 300, "b": 380, "new": 0}


def test_revert_sends_the_champions() -> None:
    assert sent(1) == {"a": 350, "b": 390, "new": 0}


def test_safe_bids_are_the_smaller_of_the_last_good_and_six_tenths_of_the_baseline() -> None:
    assert sent(2) == {"a": 240, "b": 380, "new": 0}


def test_pause_stops_one_partner_or_market_and_leaves_the_others() -> None:
    both = pd.concat([TABLES.current, bids({"c": 50}, partner="trivago", market="FR")], ignore_index=True)
    tables = Tables(both)
    assert sent(3, tables) == {"a": 0, "b": 0, "new": 0, "c": 0}
    assert sent(3, tables, Scope(partner="google")) == {"a": 0, "b": 0, "new": 0, "c": 50}
    assert sent(3, tables, Scope(market="FR")) == {"a": 900, "b": 400, "new": 700, "c": 0}
    with pytest.raises(UsageError, match="no bids are out for the partner 'bing'"):
        switch(3, tables, Scope(partner="bing"))


@pytest.mark.parametrize("level", LEVELS)
def test_a_rehearsal_changes_nothing_and_says_what_would_be_spent(level: int) -> None:
    before = TABLES.current.copy()
    found = switch(level, TABLES)
    pd.testing.assert_frame_equal(TABLES.current, before)
    after = found.table["bid_micros"].sum()
    assert found.spend_ratio == pytest.approx(after / 2_000)
    assert found.changed == 3
    assert found.name == LEVELS[level][0]
    assert found.table["bid_micros"].dtype == "int64"


def test_safe_bids_never_exceed_frozen_ones() -> None:
    frozen, safe = sent(0), sent(2)
    assert all(safe[hotel] <= frozen[hotel] for hotel in frozen)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_level_whose_table_is_missing_says_so_and_names_the_one_that_always_works(level: int) -> None:
    with pytest.raises(NoData, match=r"use level 3 \(pause\)"):
        switch(level, Tables(TABLES.current))


def test_an_unknown_level_names_the_known_ones_and_no_bids_cannot_be_switched() -> None:
    with pytest.raises(UsageError, match=r"no kill switch level 4.*2 \(safe\)"):
        switch(4, TABLES)
    with pytest.raises(NoData, match="no bids to switch off"):
        switch(3, Tables(TABLES.current.iloc[:0]))
