"""The table of what keeps the platform itself in order: backups, clean-ups, and which code it was deployed with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from ml.ledger.base import Base


class UpkeepRow(Base):
    """Something that was done for the platform itself, and what came of it; never changed."""

    __tablename__ = "upkeep"
    __table_args__ = (
        CheckConstraint("kind IN ('backup', 'restore', 'clean_up', 'deployed')", name="kind"),
        Index(None, "kind", "market"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    market: Mapped[str]
    done_at: Mapped[datetime]
    result: Mapped[Any]
