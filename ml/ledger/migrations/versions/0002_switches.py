"""Kill switches: who stopped the bids where, and which publications were made by one.

Types are written out here and not taken from the models, so that this step stays what it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of switches, and the column that tells a publication made by one from the others."""
    op.create_table(
        "switches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("partner", sa.String(), nullable=False),
        sa.Column("point_of_sale", sa.String(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.String(), nullable=False),
        sa.Column("released_why", sa.String(), nullable=False),
        sa.CheckConstraint("level BETWEEN 0 AND 3", name=op.f("ck_switches_level")),
        sa.CheckConstraint("(released_at IS NULL) = (released_by = '')", name=op.f("ck_switches_released")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_switches")),
    )
    op.create_index(
        "uq_switches_active",
        "switches",
        ["market", "partner", "point_of_sale"],
        unique=True,
        sqlite_where=sa.text("released_at IS NULL"),
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.add_column("publications", sa.Column("switches", sa.Text(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Forget the switches."""
    op.drop_column("publications", "switches")
    op.drop_index("uq_switches_active", "switches")
    op.drop_table("switches")
