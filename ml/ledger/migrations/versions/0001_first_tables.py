"""The first tables: partitions, stages, watermarks, versions, decisions, champion, incidents, outbox, reports.

Types are written out here and not taken from the models, so that this step stays what it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "champions",
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("generation >= 1", name=op.f("ck_champions_generation")),
        sa.PrimaryKeyConstraint("market", name=op.f("pk_champions")),
    )
    op.create_table(
        "drift_reports",
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("report_key", sa.String(), nullable=False),
        sa.Column("numbers", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('PASS', 'HOLD', 'FAIL')", name=op.f("ck_drift_reports_verdict")),
        sa.PrimaryKeyConstraint("market", "day", name=op.f("pk_drift_reports")),
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_day", sa.Date(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolution", sa.String(), nullable=False),
        sa.CheckConstraint("severity IN ('critical', 'warning', 'info')", name=op.f("ck_incidents_severity")),
        sa.CheckConstraint("(resolved_at IS NULL) = (resolved_day IS NULL)", name=op.f("ck_incidents_resolved")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    op.create_index(
        "uq_incidents_open",
        "incidents",
        ["market", "cause"],
        unique=True,
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_table(
        "partitions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("replaced", sa.String(), nullable=True),
        sa.Column("rows_in", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.Integer(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("landed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("accepted + quarantined = rows_in", name=op.f("ck_partitions_rows_add_up")),
        sa.CheckConstraint("accepted >= 0 AND quarantined >= 0", name=op.f("ck_partitions_rows_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partitions")),
        sa.UniqueConstraint(
            "market", "table_name", "day", "revision", name=op.f("uq_partitions_market_table_name_day_revision")
        ),
    )
    op.create_table(
        "publications",
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("partner", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("bid_rows", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("bid_rows >= 0", name=op.f("ck_publications_bid_rows")),
        sa.PrimaryKeyConstraint("market", "partner", "day", name=op.f("pk_publications")),
    )
    op.create_table(
        "stages",
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('done', 'stopped', 'held')", name=op.f("ck_stages_status")),
        sa.PrimaryKeyConstraint("market", "stage", "day", name=op.f("pk_stages")),
    )
    op.create_table(
        "versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("data_digest", sa.String(), nullable=False),
        sa.Column("trained_through", sa.Date(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("mlflow_run_id", sa.String(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
        sa.UniqueConstraint("market", "digest", name=op.f("uq_versions_market_digest")),
    )
    op.create_table(
        "watermarks",
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("view", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("advanced_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("market", "view", name=op.f("pk_watermarks")),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("candidate", sa.String(), nullable=False),
        sa.Column("champion", sa.String(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("gates", sa.Text(), nullable=False),
        sa.Column("policy_digest", sa.String(), nullable=False),
        sa.Column("approval", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('PASS', 'HOLD', 'FAIL')", name=op.f("ck_decisions_verdict")),
        sa.CheckConstraint("generation >= 0", name=op.f("ck_decisions_generation")),
        sa.ForeignKeyConstraint(
            ["market", "candidate"],
            ["versions.market", "versions.digest"],
            name=op.f("fk_decisions_market_candidate_versions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint(
            "market", "day", "candidate", "generation", name=op.f("uq_decisions_market_day_candidate_generation")
        ),
    )
    op.create_index(op.f("ix_decisions_market_candidate"), "decisions", ["market", "candidate"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("recipients", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("body_text", sa.String(), nullable=False),
        sa.Column("body_html", sa.String(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=True),
        sa.Column("market_day", sa.Date(), nullable=True),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name=op.f("fk_outbox_incident_id_incidents")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("key", name=op.f("uq_outbox_key")),
    )
    op.create_index(op.f("ix_outbox_incident_id"), "outbox", ["incident_id"], unique=False)
    op.create_index(op.f("ix_outbox_market_day"), "outbox", ["market_day"], unique=False)
    op.create_index(op.f("ix_outbox_sent_at_next_at"), "outbox", ["sent_at", "next_at"], unique=False)
    op.create_table(
        "outbox_attachments",
        sa.Column("mail_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("cid", sa.String(), nullable=False),
        sa.Column("mime", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["mail_id"], ["outbox.id"], name=op.f("fk_outbox_attachments_mail_id_outbox")),
        sa.PrimaryKeyConstraint("mail_id", "position", name=op.f("pk_outbox_attachments")),
    )
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("decision_id", sa.Integer(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("generation >= 1", name=op.f("ck_promotions_generation")),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name=op.f("fk_promotions_decision_id_decisions")),
        sa.ForeignKeyConstraint(
            ["market", "digest"],
            ["versions.market", "versions.digest"],
            name=op.f("fk_promotions_market_digest_versions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
        sa.UniqueConstraint("decision_id", name=op.f("uq_promotions_decision_id")),
        sa.UniqueConstraint("market", "generation", name=op.f("uq_promotions_market_generation")),
    )


def downgrade() -> None:
    """Drop every table, referring ones first."""
    op.drop_table("promotions")
    op.drop_table("outbox_attachments")
    op.drop_table("outbox")
    op.drop_table("decisions")
    op.drop_table("watermarks")
    op.drop_table("versions")
    op.drop_table("stages")
    op.drop_table("publications")
    op.drop_table("partitions")
    op.drop_table("incidents")
    op.drop_table("drift_reports")
    op.drop_table("champions")
