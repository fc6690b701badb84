"""The closing table of the demo."""

from __future__ import annotations

import pytest

from local import screen

ROW = {
    "day": "2026-03-02",
    "landed": 119_140,
    "features": 12_791,
    "drift": "HOLD",
    "retrained": "yes: the drift incident has no newer version",
    "gates": "PASS",
    "champion": "80f56bd1",
    "published": 118_757,
    "mails": 12,
    "spend_micros": 12_231_120_000,
    "bookings": 1_227,
    "profit_micros": -10_301_500_000,
    "share_of_o2": 0.874,
}


def test_the_closing_table_fits_a_terminal_of_120_columns_and_cuts_nothing_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen.table([ROW, ROW | dict.fromkeys(("spend_micros", "profit_micros", "share_of_o2"), "-")], currency="EUR")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    assert not [line for line in lines if "…" in line]
    row = next(line for line in lines if "2026-03-02" in line)
    assert [cell in row for cell in ("12 231", "1 227", "-10 302", "87%")] == [True] * 4


def test_money_that_is_not_known_is_a_dash_in_the_closing_table(capsys: pytest.CaptureFixture[str]) -> None:
    screen.table(
        [ROW | dict.fromkeys(("spend_micros", "bookings", "profit_micros", "share_of_o2"), "-")], currency="EUR"
    )
    row = next(line for line in capsys.readouterr().out.splitlines() if "2026-03-02" in line)
    assert row.split()[-4:] == ["-"] * 4


def test_the_closing_table_tells_why_there_was_a_retrain_and_not_why_there_was_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [ROW | {"retrained": "yes: too old"}, ROW | {"retrained": "no: the newest version is 1 day old"}]
    screen.table(rows, currency="EUR")
    said = capsys.readouterr().out
    assert "yes: too old" in said
    assert "newest" not in said
    assert len([line for line in said.splitlines() if "2026-03-02" in line]) == 2
