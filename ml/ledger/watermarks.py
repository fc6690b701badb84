"""How far each feature view reached the online store; a watermark never moves back."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import select

from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import insert
from ml.ledger.tables import WatermarkRow


def get(store: Store, market: str, view: str) -> date | None:
    """The last market day a feature view holds; None before the first."""
    query = select(WatermarkRow.day).where(WatermarkRow.market == market, WatermarkRow.view == view)
    with reading(store) as session:
        return session.scalars(query).first()


def all_views(store: Store, market: str) -> dict[str, date]:
    """The watermark of every feature view of a market."""
    query = select(WatermarkRow.view, WatermarkRow.day).where(WatermarkRow.market == market).order_by(WatermarkRow.view)
    with reading(store) as session:
        return {row.view: row.day for row in session.execute(query)}


def advance(store: Store, market: str, view: str, day: date, at: datetime) -> None:
    """Move a watermark forward to `day`; a day that is not later changes nothing."""
    with writing(store) as session:
        statement = insert(session, WatermarkRow).values(market=market, view=view, day=day, advanced_at=at)
        new = statement.excluded
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["market", "view"],
                set_={"day": new.day, "advanced_at": new.advanced_at},
                where=WatermarkRow.day < new.day,
            )
        )
