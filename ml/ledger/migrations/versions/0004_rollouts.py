"""Rollouts: candidates on their way to be champion, what is barred, what was rolled back, and drills of it.

Types are written out here and not taken from the models, so that this step stays what it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables, and the column that tells a decision to roll back from one to promote."""
    op.add_column("decisions", sa.Column("kind", sa.String(), nullable=False, server_default="promotion"))
    _create_rollouts()
    op.create_table(
        "rollout_events",
        sa.Column("rollout_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("analysis", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("judgement", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name=op.f("fk_rollout_events_rollout_id_rollouts")),
        sa.PrimaryKeyConstraint("rollout_id", "revision", name=op.f("pk_rollout_events")),
    )
    op.create_table(
        "rollout_measures",
        sa.Column("rollout_id", sa.Integer(), nullable=False),
        sa.Column("analysis", sa.Integer(), nullable=False),
        sa.Column("measures", sa.Text(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name=op.f("fk_rollout_measures_rollout_id_rollouts")),
        sa.PrimaryKeyConstraint("rollout_id", "analysis", name=op.f("pk_rollout_measures")),
    )
    op.create_table(
        "bars",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("barred_by", sa.String(), nullable=False),
        sa.Column("barred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lifted_by", sa.String(), nullable=False),
        sa.Column("lifted_why", sa.String(), nullable=False),
        sa.CheckConstraint("(lifted_at IS NULL) = (lifted_by = '')", name=op.f("ck_bars_lifted")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bars")),
    )
    op.create_index(
        "uq_bars_standing",
        "bars",
        ["market", "digest"],
        unique=True,
        sqlite_where=sa.text("lifted_at IS NULL"),
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    _create_rollbacks()


def _create_rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("candidate", sa.String(), nullable=False),
        sa.Column("first_decision_id", sa.Integer(), nullable=False),
        sa.Column("decision_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("analysis", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("salt", sa.String(), nullable=False),
        sa.Column("baseline_share", sa.Double(), nullable=False),
        sa.Column("canary_share", sa.Double(), nullable=False),
        sa.Column("policy_digest", sa.String(), nullable=False),
        sa.Column("watched_ms", sa.BigInteger(), nullable=False),
        sa.Column("held_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("judgement", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ticked_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'shadow', 'canary', 'promoted', 'rolled_back', 'superseded')",
            name=op.f("ck_rollouts_state"),
        ),
        sa.CheckConstraint("revision >= 1 AND analysis >= 0 AND step >= 0", name=op.f("ck_rollouts_counts")),
        sa.CheckConstraint(
            "baseline_share >= 0 AND canary_share >= 0 AND baseline_share + canary_share <= 1",
            name=op.f("ck_rollouts_shares"),
        ),
        sa.ForeignKeyConstraint(
            ["market", "candidate"],
            ["versions.market", "versions.digest"],
            name=op.f("fk_rollouts_market_candidate_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["first_decision_id"], ["decisions.id"], name=op.f("fk_rollouts_first_decision_id_decisions")
        ),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name=op.f("fk_rollouts_decision_id_decisions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
        sa.UniqueConstraint(
            "market", "candidate", "first_decision_id", name=op.f("uq_rollouts_market_candidate_first_decision_id")
        ),
    )
    active = sa.text("state IN ('shadow', 'canary')")
    op.create_index(
        "uq_rollouts_active", "rollouts", ["market"], unique=True, sqlite_where=active, postgresql_where=active
    )


def _create_rollbacks() -> None:
    op.create_table(
        "rollbacks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("rollout_id", sa.Integer(), nullable=True),
        sa.Column("decision_id", sa.Integer(), nullable=True),
        sa.Column("from_generation", sa.Integer(), nullable=False),
        sa.Column("to_generation", sa.Integer(), nullable=False),
        sa.Column("failed", sa.String(), nullable=False),
        sa.Column("restored", sa.String(), nullable=False),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("rolled_back_by", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("rolled_back_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(rollout_id IS NULL) <> (decision_id IS NULL)", name=op.f("ck_rollbacks_what")),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name=op.f("fk_rollbacks_rollout_id_rollouts")),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name=op.f("fk_rollbacks_decision_id_decisions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollbacks")),
        sa.UniqueConstraint("decision_id", name=op.f("uq_rollbacks_decision_id")),
        sa.UniqueConstraint("rollout_id", name=op.f("uq_rollbacks_rollout_id")),
    )
    op.create_index(op.f("ix_rollbacks_market_rolled_back_at"), "rollbacks", ["market", "rolled_back_at"])
    op.create_table(
        "drills",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("drilled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("took_ms", sa.Integer(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.CheckConstraint("took_ms >= 0", name=op.f("ck_drills_took")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drills")),
    )
    op.create_index(op.f("ix_drills_market_drilled_at"), "drills", ["market", "drilled_at"])


def downgrade() -> None:
    """Forget the rollouts."""
    for table in ("drills", "rollbacks", "bars", "rollout_measures", "rollout_events", "rollouts"):
        op.drop_table(table)
    op.drop_column("decisions", "kind")
