"""The row of a market day: what its steps recorded, its money, and a dash for what is not known."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ml.cli import reports
from ml.core.clock import FixedClock
from ml.core.settings import load_settings
from ml.ledger import stages
from ml.market.scorecard import Scorecard, keep
from ml.platform import Platform
from ml.status import DAY_COLUMNS, day_row, overview

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 3, tzinfo=UTC)
MONEY = {"spend_micros": 231_120_000, "bookings": 27, "profit_micros": -12_500_000}


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = Platform(load_settings(home=tmp_path), FixedClock(AT))
    made.db.migrate()
    return made


def settled(platform: Platform, money: object) -> None:
    key = stages.StageKey(platform.market, "settle", DAY)
    result = {"outcomes": 3} if money is None else {"outcomes": 3, "money": money}
    stages.record(platform.db, key, status="done", result=result, at=AT)


def test_the_row_has_the_days_money_and_its_share_of_the_best(platform: Platform) -> None:
    settled(platform, MONEY)
    keep(platform.blobs, platform.market, Scorecard(DAY, profit_micros=870, o2_micros=1_000))
    row = day_row(platform, DAY)
    assert tuple(row) == DAY_COLUMNS
    assert {name: row[name] for name in MONEY} == MONEY
    assert row["share_of_o2"] == pytest.approx(0.87)
    assert overview(platform, days=5)["days"] == [row]


@pytest.mark.parametrize("money", [None, dict.fromkeys(MONEY)])
def test_what_is_not_known_is_a_dash(platform: Platform, money: object) -> None:
    settled(platform, money)
    row = day_row(platform, DAY)
    assert {row[name] for name in (*MONEY, "share_of_o2")} == {"-"}


def test_a_scorecard_that_cannot_be_read_takes_nothing_else_with_it(platform: Platform) -> None:
    settled(platform, MONEY)
    platform.blobs.put(f"reports/{platform.market}/scorecard/{DAY}.json", b"{")
    row = day_row(platform, DAY)
    assert (row["bookings"], row["share_of_o2"]) == (27, "-")


def test_status_tells_money_in_the_markets_currency_and_json_in_micros(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    settled(platform, MONEY)
    keep(platform.blobs, platform.market, Scorecard(DAY, profit_micros=870, o2_micros=1_000))
    reports.status(platform, as_json=False)
    assert "spend 231.12 EUR, bookings 27, profit -12.50 EUR, of O2 87%" in capsys.readouterr().out
    reports.status(platform, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["currency"] == "EUR"
    assert told["days"][0]["spend_micros"] == 231_120_000
