from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ml.ledger import upkeep
from ml.ledger.database import Database
from ml.ledger.upkeep import Upkeep

AT = datetime(2026, 3, 2, tzinfo=UTC)


def test_the_last_of_a_kind_and_market_is_found(db: Database) -> None:
    for hour, (kind, market) in enumerate([("backup", ""), ("clean_up", "m"), ("clean_up", "n"), ("clean_up", "m")]):
        upkeep.record(db, Upkeep(kind, market, AT + timedelta(hours=hour), {"number": hour}))  # type: ignore[arg-type]
    found = upkeep.last(db, "clean_up", "m")
    assert found == Upkeep("clean_up", "m", AT + timedelta(hours=3), {"number": 3})
    assert upkeep.last(db, "backup") == Upkeep("backup", "", AT, {"number": 0})
    assert upkeep.last(db, "restore") is None
