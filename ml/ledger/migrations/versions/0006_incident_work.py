"""Incidents that people work on: owner, money at stake, acknowledged, snoozed, reopened, notes; channels of the outbox.

Types are written out here and not taken from the models, so that this step stays what it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_COLUMNS = (
    ("owner", sa.String(), ""),
    ("at_stake_micros", sa.BigInteger(), None),
    ("acknowledged_at", sa.DateTime(timezone=True), None),
    ("acknowledged_by", sa.String(), ""),
    ("snoozed_until", sa.DateTime(timezone=True), None),
    ("reopened", sa.Integer(), "0"),
    ("last_reopened_at", sa.DateTime(timezone=True), None),
    ("alarmed_at", sa.DateTime(timezone=True), None),
    ("escalated_at", sa.DateTime(timezone=True), None),
)


def upgrade() -> None:
    """Add the columns and tables; every incident from before was open once, and every message was a mail."""
    for name, kind, default in _COLUMNS:
        op.add_column("incidents", sa.Column(name, kind, nullable=default is None, server_default=default))
    op.add_column("outbox", sa.Column("channel", sa.String(), nullable=False, server_default="mail"))
    op.create_table(
        "incident_spans",
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("resolved_day", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_incident_spans_incident_id_incidents")
        ),
        sa.PrimaryKeyConstraint("incident_id", "number", name=op.f("pk_incident_spans")),
    )
    op.execute(
        "INSERT INTO incident_spans (incident_id, number, first_day, resolved_day) "
        "SELECT id, 0, first_day, resolved_day FROM incidents"
    )
    op.create_table(
        "incident_notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("noted_by", sa.String(), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_incident_notes_incident_id_incidents")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_notes")),
    )
    op.create_index(op.f("ix_incident_notes_incident_id"), "incident_notes", ["incident_id"])


def downgrade() -> None:
    """Forget the work on incidents; the incidents stay, and what waits for another channel than mail goes."""
    op.drop_index(op.f("ix_incident_notes_incident_id"), table_name="incident_notes")
    op.drop_table("incident_notes")
    op.drop_table("incident_spans")
    op.execute("DELETE FROM outbox WHERE channel <> 'mail'")
    op.drop_column("outbox", "channel")
    for name, _, _ in reversed(_COLUMNS):
        op.drop_column("incidents", name)
