"""Upkeep: backups, restores, clean-ups, and the code that the platform was deployed with.

Types are written out here and not taken from the models, so that this step stays what it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table; nothing of this was written down before."""
    op.create_table(
        "upkeep",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('backup', 'restore', 'clean_up', 'deployed')", name=op.f("ck_upkeep_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upkeep")),
    )
    op.create_index(op.f("ix_upkeep_kind_market"), "upkeep", ["kind", "market"])


def downgrade() -> None:
    """Forget the upkeep."""
    op.drop_index(op.f("ix_upkeep_kind_market"), table_name="upkeep")
    op.drop_table("upkeep")
