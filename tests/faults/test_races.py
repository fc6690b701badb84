"""Two processes at once: one wins, the other is told, and the ledger is whole. `benchmarks.promotion_faults` runs a thousand."""

from __future__ import annotations

from pathlib import Path

from benchmarks.promotion_faults import RACES, TOLD, races
from ml.ledger.database import Database


def test_two_processes_that_race_leave_the_ledger_whole(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Database.open(url).migrate()
    ends, wrong = races(url, len(RACES))
    assert wrong == []
    assert set(ends) <= TOLD
    assert sum(ends.values()) == 2 * len(RACES)
