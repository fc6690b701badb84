"""Markets that are known late and delivered out of order (R13): one of them, and that the row would notice a leak."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest

from ml.features import build
from ml.market import check
from ml.market.tables import TABLES
from tests.faults.campaign.late_market import Market
from tests.faults.campaign.rows_late import lived

NUMBER = 3


def test_the_markets_are_late_by_an_hour_to_thirty_days_and_their_days_by_weeks() -> None:
    markets = [Market.drawn(random.Random(number)) for number in range(40)]  # noqa: S311  (markets)
    delays = [
        row["known_at"] - row[TABLES[table].event_time]
        for market in markets
        for tables in market.rows.values()
        for table in ("bookings", "booking_events")
        for row in tables[table]
    ]
    assert sum(delay < timedelta(days=1) for delay in delays) > 500
    assert sum(delay > timedelta(days=20) for delay in delays) > 50
    waits = [after - day for market in markets for day, after in market.waits.items()]
    assert min(waits) >= timedelta(days=1)
    assert max(waits) > timedelta(days=30)
    assert sum(sum(market.misplaced.values()) for market in markets) > 100
    assert all([day for days in market.arrivals for day in days] != list(market.rows) for market in markets)
    assert all(sorted(day for days in market.arrivals for day in days) == list(market.rows) for market in markets)


def test_a_market_that_comes_late_and_out_of_order_ends_as_one_in_order(tmp_path: Path) -> None:
    found, counted = lived(NUMBER, tmp_path / "home")
    assert found.wrong == []
    assert len(found.proofs) == 2
    assert counted["days that came late"] > 0
    assert counted["rows under another day than they were known on, all of them in quarantine"] > 0
    assert not (tmp_path / "home").exists()


def test_a_late_day_that_counts_from_its_own_day_on_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "keep_versions", lambda _former, rows, **_: rows)
    found, _ = lived(NUMBER, tmp_path / "home")
    assert any("was decided with" in what for what in found.wrong)


def test_a_row_that_is_taken_under_another_day_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_judge_clocks", lambda *_: None)
    found, _ = lived(NUMBER, tmp_path / "home")
    assert any("in quarantine" in what for what in found.wrong)
