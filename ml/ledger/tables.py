"""The tables of the platform database. Only modules of this package see these classes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ml.ledger import incident_tables as incident_tables  # more tables of the same metadata
from ml.ledger import rollout_tables as rollout_tables
from ml.ledger import upkeep_tables as upkeep_tables
from ml.ledger.base import Base as Base


class PartitionRow(Base):
    """One landing of one table's market day; the highest revision is the current one, none is ever changed."""

    __tablename__ = "partitions"
    __table_args__ = (
        UniqueConstraint("market", "table_name", "day", "revision"),
        CheckConstraint("accepted + quarantined = rows_in", name="rows_add_up"),
        CheckConstraint("accepted >= 0 AND quarantined >= 0", name="rows_not_negative"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    table_name: Mapped[str]
    day: Mapped[date]
    revision: Mapped[int]
    digest: Mapped[str]
    replaced: Mapped[str | None]
    rows_in: Mapped[int]
    accepted: Mapped[int]
    quarantined: Mapped[int]
    reasons: Mapped[Any]
    landed_at: Mapped[datetime]


class StageRow(Base):
    """The last result of one lifecycle step of one market day."""

    __tablename__ = "stages"
    __table_args__ = (CheckConstraint("status IN ('done', 'stopped', 'held')", name="status"),)
    market: Mapped[str] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    status: Mapped[str]
    result: Mapped[Any]
    run_id: Mapped[str]
    recorded_at: Mapped[datetime]


class WatermarkRow(Base):
    """The last market day that a feature view holds in the online store."""

    __tablename__ = "watermarks"
    market: Mapped[str] = mapped_column(primary_key=True)
    view: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date]
    advanced_at: Mapped[datetime]


class VersionRow(Base):
    """A registered bundle of bid models."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("market", "digest"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    digest: Mapped[str]
    day: Mapped[date]
    uri: Mapped[str]
    data_digest: Mapped[str]
    trained_through: Mapped[date]
    metrics: Mapped[Any]
    mlflow_run_id: Mapped[str]
    registered_at: Mapped[datetime]


class TrainingSetRow(Base):
    """The rows that one model of a version was fitted on: their digest, and the queries that made them."""

    __tablename__ = "training_sets"
    __table_args__ = (
        ForeignKeyConstraint(["market", "version"], ["versions.market", "versions.digest"]),
        CheckConstraint("row_count >= 0", name="row_count"),
    )
    market: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    row_count: Mapped[int]
    as_of: Mapped[datetime]
    query: Mapped[str] = mapped_column(Text)


class DecisionRow(Base):
    """A gate decision with all its evidence; only the approval is ever added to it."""

    __tablename__ = "decisions"
    __table_args__ = (
        UniqueConstraint("market", "day", "candidate", "generation"),
        ForeignKeyConstraint(["market", "candidate"], ["versions.market", "versions.digest"]),
        CheckConstraint("verdict IN ('PASS', 'HOLD', 'FAIL')", name="verdict"),
        CheckConstraint("generation >= 0", name="generation"),
        Index(None, "market", "candidate"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    day: Mapped[date]
    candidate: Mapped[str]
    champion: Mapped[str | None]
    generation: Mapped[int]
    verdict: Mapped[str]
    gates: Mapped[Any]
    policy_digest: Mapped[str]
    approval: Mapped[Any]
    recorded_at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(server_default="promotion")


class PromotionRow(Base):
    """One move of the champion alias: which generation, which bundle, from which day, by which decision."""

    __tablename__ = "promotions"
    __table_args__ = (
        UniqueConstraint("market", "generation"),
        UniqueConstraint("decision_id"),
        ForeignKeyConstraint(["market", "digest"], ["versions.market", "versions.digest"]),
        CheckConstraint("generation >= 1", name="generation"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    generation: Mapped[int]
    digest: Mapped[str]
    since: Mapped[date]
    decision_id: Mapped[int] = mapped_column(ForeignKey("decisions.id"))
    moved_at: Mapped[datetime]


class ChampionRow(Base):
    """The champion alias of a market: it moves by compare-and-set on its generation."""

    __tablename__ = "champions"
    __table_args__ = (CheckConstraint("generation >= 1", name="generation"),)
    market: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int]


class WaiverRow(Base):
    """A gate that a person lets one candidate pass over until an instant; never changed or removed."""

    __tablename__ = "waivers"
    __table_args__ = (
        ForeignKeyConstraint(["market", "candidate"], ["versions.market", "versions.digest"]),
        Index(None, "market", "candidate"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    gate: Mapped[str]
    candidate: Mapped[str]
    why: Mapped[str] = mapped_column(Text)
    waived_by: Mapped[str]
    waived_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class MailRow(Base):
    """A message to send by a channel; its key makes the wish unique, its lease lets one sender at a time try."""

    __tablename__ = "outbox"
    __table_args__ = (UniqueConstraint("key"), Index(None, "sent_at", "next_at"))
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str]
    recipients: Mapped[str]
    subject: Mapped[str]
    body_text: Mapped[str]
    body_html: Mapped[str]
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id"), index=True)
    market_day: Mapped[date | None] = mapped_column(index=True)
    message_id: Mapped[str]
    created_at: Mapped[datetime]
    next_at: Mapped[datetime]
    attempts: Mapped[int]
    last_error: Mapped[str]
    sent_at: Mapped[datetime | None]
    channel: Mapped[str] = mapped_column(server_default="mail")


class AttachmentRow(Base):
    """A file of a mail, in the order in which it was given."""

    __tablename__ = "outbox_attachments"
    mail_id: Mapped[int] = mapped_column(ForeignKey("outbox.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    cid: Mapped[str]
    mime: Mapped[str]
    data: Mapped[bytes]


class PublicationRow(Base):
    """The bids published to a partner for a market day."""

    __tablename__ = "publications"
    __table_args__ = (CheckConstraint("bid_rows >= 0", name="bid_rows"),)
    market: Mapped[str] = mapped_column(primary_key=True)
    partner: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    version: Mapped[str]
    generation: Mapped[int]
    bid_rows: Mapped[int]
    digest: Mapped[str]
    uri: Mapped[str]
    published_at: Mapped[datetime]
    switches: Mapped[Any] = mapped_column(server_default="[]")


class SwitchRow(Base):
    """A kill switch that somebody pulled; at most one stands for a market and scope, and no scope is empty text."""

    __tablename__ = "switches"
    __table_args__ = (
        CheckConstraint("level BETWEEN 0 AND 3", name="level"),
        CheckConstraint("(released_at IS NULL) = (released_by = '')", name="released"),
        Index(
            "uq_switches_active",
            "market",
            "partner",
            "point_of_sale",
            unique=True,
            sqlite_where=text("released_at IS NULL"),
            postgresql_where=text("released_at IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    partner: Mapped[str]
    point_of_sale: Mapped[str]
    level: Mapped[int]
    day: Mapped[date]
    why: Mapped[str]
    set_by: Mapped[str]
    set_at: Mapped[datetime]
    released_at: Mapped[datetime | None]
    released_by: Mapped[str]
    released_why: Mapped[str]


class DriftReportRow(Base):
    """The drift verdict of a market day, with its numbers and the key of its HTML report."""

    __tablename__ = "drift_reports"
    __table_args__ = (CheckConstraint("verdict IN ('PASS', 'HOLD', 'FAIL')", name="verdict"),)
    market: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    verdict: Mapped[str]
    reasons: Mapped[Any]
    report_key: Mapped[str]
    numbers: Mapped[Any]
    recorded_at: Mapped[datetime]
