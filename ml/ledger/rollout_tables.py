"""The tables of rollouts: their state and history, what is barred, what was rolled back, and the drills of it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ml.ledger.base import Base

ACTIVE = "state IN ('shadow', 'canary')"
_STANDS = "lifted_at IS NULL"


class RolloutRow(Base):
    """One candidate on its way to be champion; at most one of a market is in front of traffic."""

    __tablename__ = "rollouts"
    __table_args__ = (
        UniqueConstraint("market", "candidate", "first_decision_id"),
        ForeignKeyConstraint(["market", "candidate"], ["versions.market", "versions.digest"]),
        CheckConstraint(
            "state IN ('queued', 'shadow', 'canary', 'promoted', 'rolled_back', 'superseded')", name="state"
        ),
        CheckConstraint("revision >= 1 AND analysis >= 0 AND step >= 0", name="counts"),
        CheckConstraint(
            "baseline_share >= 0 AND canary_share >= 0 AND baseline_share + canary_share <= 1", name="shares"
        ),
        Index("uq_rollouts_active", "market", unique=True, sqlite_where=text(ACTIVE), postgresql_where=text(ACTIVE)),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    candidate: Mapped[str]
    first_decision_id: Mapped[int] = mapped_column(ForeignKey("decisions.id"))
    decision_id: Mapped[int] = mapped_column(ForeignKey("decisions.id"))
    day: Mapped[date]
    state: Mapped[str]
    step: Mapped[int]
    analysis: Mapped[int]
    generation: Mapped[int]
    revision: Mapped[int]
    salt: Mapped[str]
    baseline_share: Mapped[float]
    canary_share: Mapped[float]
    policy_digest: Mapped[str]
    watched_ms: Mapped[int] = mapped_column(BigInteger)
    held_ms: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str]
    judgement: Mapped[Any]
    began_at: Mapped[datetime]
    ticked_at: Mapped[datetime]


class RolloutEventRow(Base):
    """A change of a rollout's state, step or analysis, with the numbers it rested on; never changed."""

    __tablename__ = "rollout_events"
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    step: Mapped[int]
    analysis: Mapped[int]
    generation: Mapped[int]
    reason: Mapped[str]
    judgement: Mapped[Any]
    at: Mapped[datetime]


class RolloutMeasureRow(Base):
    """What matured outcomes say of one analysis of a rollout, as far as they are known."""

    __tablename__ = "rollout_measures"
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    analysis: Mapped[int] = mapped_column(primary_key=True)
    measures: Mapped[Any]
    measured_at: Mapped[datetime]


class BarRow(Base):
    """A bundle that is not offered again, or (digest `*`) a market in which nothing is, until a person lifts it."""

    __tablename__ = "bars"
    __table_args__ = (
        CheckConstraint("(lifted_at IS NULL) = (lifted_by = '')", name="lifted"),
        Index(
            "uq_bars_standing",
            "market",
            "digest",
            unique=True,
            sqlite_where=text(_STANDS),
            postgresql_where=text(_STANDS),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    digest: Mapped[str]
    reason: Mapped[str]
    barred_by: Mapped[str]
    barred_at: Mapped[datetime]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str]
    lifted_why: Mapped[str]


class RollbackRow(Base):
    """A canary that was stopped (generations equal), or a champion that was taken back (a new generation)."""

    __tablename__ = "rollbacks"
    __table_args__ = (
        UniqueConstraint("decision_id"),
        UniqueConstraint("rollout_id"),
        CheckConstraint("(rollout_id IS NULL) <> (decision_id IS NULL)", name="what"),
        Index(None, "market", "rolled_back_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    rollout_id: Mapped[int | None] = mapped_column(ForeignKey("rollouts.id"))
    decision_id: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"))
    from_generation: Mapped[int]
    to_generation: Mapped[int]
    failed: Mapped[str]
    restored: Mapped[str]
    automatic: Mapped[bool]
    rolled_back_by: Mapped[str]
    why: Mapped[str]
    rolled_back_at: Mapped[datetime]


class DrillRow(Base):
    """A rehearsal of rolling back and forward: whether it went well and how long it took."""

    __tablename__ = "drills"
    __table_args__ = (Index(None, "market", "drilled_at"), CheckConstraint("took_ms >= 0", name="took"))
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    drilled_at: Mapped[datetime]
    took_ms: Mapped[int]
    ok: Mapped[bool]
    details: Mapped[Any]
