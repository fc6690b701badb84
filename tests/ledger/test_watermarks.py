from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from ml.ledger import watermarks
from ml.ledger.database import Database

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)


def test_a_watermark_moves_forward_and_never_back(db: Database) -> None:
    assert watermarks.get(db, "m", "agent_history") is None
    watermarks.advance(db, "m", "agent_history", DAY, AT)
    watermarks.advance(db, "m", "agent_history", DAY - timedelta(days=1), AT)
    assert watermarks.get(db, "m", "agent_history") == DAY
    watermarks.advance(db, "m", "agent_history", DAY + timedelta(days=1), AT)
    assert watermarks.get(db, "m", "agent_history") == DAY + timedelta(days=1)


def test_each_market_and_view_has_its_own(db: Database) -> None:
    watermarks.advance(db, "m", "b", DAY, AT)
    watermarks.advance(db, "m", "a", DAY + timedelta(days=1), AT)
    watermarks.advance(db, "other", "a", DAY + timedelta(days=2), AT)
    assert watermarks.all_views(db, "m") == {"a": DAY + timedelta(days=1), "b": DAY}


def test_of_advances_that_race_the_latest_day_stays(
    db: Database, together: Callable[[Callable[[int], None], int], list[None]]
) -> None:
    ahead = [[(7 * n + 3 * me) % 30 for n in range(8)] for me in range(4)]

    def advance(me: int) -> None:
        for days in ahead[me]:
            watermarks.advance(db, "m", "v", DAY + timedelta(days=days), AT)

    together(advance, 4)
    assert watermarks.get(db, "m", "v") == DAY + timedelta(days=max(map(max, ahead)))
